"""Writes assign/testdata/scipy.json: optimal costs of random matrices by SciPy.

    python3 ref/scipy_assign_values.py > assign/testdata/scipy.json

The matrices are not stored. Both sides make them from a 64-bit linear
congruential generator: state = state * 6364136223846793005 + 1442695040888963407,
value = (state >> 33) / 2**31, row by row. Needs numpy and scipy; written with
SciPy 1.10.1.
"""

import json
import sys

import numpy as np
from scipy.optimize import linear_sum_assignment


def draws(seed, count):
    state, out = seed, np.empty(count)
    for k in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[k] = (state >> 33) / 2**31
    return out


def uniform(seed, n, m):
    return draws(seed, n * m).reshape(n, m)


def integers(seed, n, m):
    return np.floor(10 * uniform(seed, n, m))


def heavy(seed, n, m):
    """Ten orders of magnitude."""
    return 10 ** (10 * uniform(seed, n, m) - 5)


def points(seed, n, m):
    """Squared distances of n and m points of the unit square, float32."""
    x = draws(seed, 2 * (n + m)).reshape(n + m, 2).astype(np.float32).astype(float)
    return ((x[:n, None, :] - x[None, n:, :]) ** 2).sum(-1)


def signed_blocks(seed, n, m):
    """Rows and columns with large offsets of both signs."""
    u = uniform(seed, n, m)
    return u + 1000.0 * (np.arange(n)[:, None] % 3) - 500.0 * (np.arange(m)[None, :] % 2)


def clustered(seed, n, m):
    """Two levels, and next to nothing between the entries of one."""
    u = uniform(seed, n, m)
    return np.floor(2 * u) + 1e-9 * u


def duplicated(seed, n, m):
    """Every third row is the first of three."""
    return uniform(seed, n, m)[np.arange(n) // 3 * 3]


def forbidden(seed, n, m):
    """One pair in four is forbidden, and one in eight costs 1e9."""
    u = uniform(seed, n, m)
    return np.where(u < 0.25, np.inf, np.where(u < 0.375, 1e9 * (1 + u), u))


cases = []
for family in (uniform, integers, heavy, points, signed_blocks, clustered, duplicated, forbidden):
    for n, m in ((1, 1), (5, 5), (30, 30), (30, 47), (47, 30), (120, 120), (300, 300)):
        seed = 1000 * n + m
        if family is forbidden and n == 1:
            continue
        cost = family(seed, n, m)
        rows, cols = linear_sum_assignment(cost)
        cases.append({"family": family.__name__, "seed": seed, "n": n, "m": m,
                      "cost": float(cost[rows, cols].sum())})
json.dump({"source": "scipy 1.10.1, linear_sum_assignment", "cases": cases}, sys.stdout, indent=1)
print()
