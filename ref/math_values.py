"""Print the check values of docs/math.md, computed independently of the Go code.

    python3 ref/math_values.py        (needs NumPy and SciPy)

Capacity (7), number of neighbours (19), the three-point figure (21), local
minima on the circle (22), the floor of uniformity (23) and the level of one
random match (24).
"""

import itertools
import math

import numpy as np
from scipy import integrate, optimize, special, stats


def log_l(k, d):
    """log of L(k) = Gamma(d/2) (2/k)^(d/2-1) I_{d/2-1}(k), by quadrature of
    the mean of exp(k t) over the first coordinate t of a uniform point."""
    if d == 2:
        return math.log(special.ive(0, k)) + k
    t, w = special.roots_jacobi(200, (d - 3) / 2, (d - 3) / 2)
    top = k * t.max()
    return top + math.log(np.sum(w * np.exp(k * t - top)) / np.sum(w))


def capacity(d, sigma):
    """C = 1/sigma^2 - E[log L(r/sigma^2)], (r/sigma)^2 noncentral chi-square."""
    law = stats.ncx2(d, 1 / sigma**2)
    lo, hi = law.ppf(1e-13), law.ppf(1 - 1e-13)
    x, w = np.polynomial.legendre.leggauss(400)
    x, w = lo + (hi - lo) * (x + 1) / 2, w * (hi - lo) / 2
    values = np.array([log_l(math.sqrt(v) / sigma, d) for v in x])
    return 1 / sigma**2 - np.sum(w * law.pdf(x) * values)


def derangements(k):
    a, b = 1, 0
    for i in range(2, k + 1):
        a, b = b, (i - 1) * (a + b)
    return b if k > 0 else 1


def circle_minima(n, delta):
    """Local minima for each batch size, of n points on the circle and the same
    points rotated by delta degrees."""
    angle = np.arange(n) * 2 * np.pi / n
    cost = 2 - 2 * np.cos(angle[:, None] - (angle[None, :] + math.radians(delta)))
    perms = np.array(list(itertools.permutations(range(n))))
    total = cost[np.arange(n), perms].sum(1)
    moved = (perms[:, None, :] != perms[None, :, :]).sum(2)
    return [int(sum(not np.any(total[(moved[i] <= b) & (moved[i] > 0)] < total[i] - 1e-9) for i in range(len(perms))))
            for b in range(2, n + 1)]


def best_cosine(b, d):
    """Median of the best of b random cosines."""
    share = 1 - 2 ** (-1 / b)
    return optimize.brentq(lambda t: special.betainc((d - 1) / 2, 0.5, 1 - t * t) / 2 - share, 0, 1)


print("(7) capacity in nats; rows d, columns sigma = .05 .1 .2 .5 1")
for d in (2, 3, 8, 16, 64, 128):
    print(f"{d:4d}", *(f"{capacity(d, s):9.5f}" for s in (0.05, 0.1, 0.2, 0.5, 1)))
print("(19) neighbours for N = 6, B = 2..6, and as quoted C(N,B) B!")
counts = [sum(math.comb(6, k) * derangements(k) for k in range(2, b + 1)) for b in range(2, 7)]
print("    ", counts, [math.comb(6, b) * math.factorial(b) for b in range(2, 7)])
print("(21) three points, local minima for B = 2 and 3 at rotations of 20, 45 and 60 degrees")
print("    ", *(circle_minima(3, delta) for delta in (20, 45, 60)))
print("(22) circle, local minima for B = 2..N")
for delta in (-10, -20):
    print("    ", delta, {n: circle_minima(n, delta) for n in (4, 5, 6)})
print("(23) floor of uniformity")
print("    ", {d: round(math.log(special.hyp0f1(d / 2, 4)) - 4, 4) for d in (2, 3, 8, 16, 32, 64, 128)})
print("(24) median of the best of b cosines")
for d, b in ((8, 256), (16, 256), (32, 256), (64, 64), (64, 256), (64, 1024), (64, 50_000), (128, 256), (2048, 256)):
    print(f"     d={d} b={b}: {best_cosine(b, d):.3f}")
