#!/usr/bin/env python3
"""The tables of docs/results/assignment.md: nat beside SciPy on this machine, in Markdown.

    ref/assign_speed.py [SECTION ...] [--threads 2] [--repeats 5] [--dim 64] [--python /usr/bin/python3] [--no-scipy]

SECTION is dense, warm, large or huge; without one, the first three, which takes about eight minutes, most of them SciPy's.
huge is 200,000 points and takes about five by itself. Let nothing else run meanwhile. Needs Go, to build nat, and for dense a Python
with SciPy (Debian: apt-get install python3-scipy gives it to /usr/bin/python3); it installs neither. --no-scipy leaves
SciPy out.

Points lie on the unit sphere: uniform; shifted to one side; in 20 tight clusters; or nearly collapsed to a point. Targets
are uniform. In dense, nat and SciPy run in turns, each time in a fresh process that takes the median of several problems;
figures are medians of those runs; SciPy has no further turn once it has had 20 seconds, and none at all where half as
many points took it five. SciPy's time is that of its solver
alone, with the matrix of float64 costs at hand; nat's is from the points, distances, proof and all. OPENBLAS_CORETYPE is taken out of SciPy's environment.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from speed import ROOT, Bench, arguments, measure, output, table  # noqa: E402

# Kind -> (centres, spread): a point is one of the centres and spread times a uniform one, normalised.
KINDS = {"uniform": (0, 0), "shifted": (1, 1), "clusters": (20, .05), "collapsed": (1, .01)}
SIZES = (256, 1024, 2048, 4096)
ENOUGH = 20  # seconds of SciPy for one row of a table
SLOW = 5  # seconds of one problem from which on SciPy is spared twice as many points


class Runner(Bench):
    def nat(self, n, kind, steps=0):
        """One size by nat: its row of JSON, and the most memory the process held, in MB."""
        command = [self.nat_path, "bench", "assign", "--sizes", n, "--kind", kind, "--dim", self.args.dim, "--steps", steps,
                   "--workers", self.args.threads, "--json", "--quiet"]
        with tempfile.TemporaryFile("w+") as out:
            child = subprocess.Popen([str(c) for c in command], stdout=out)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                sys.exit(f"{command}: exit code {child.returncode}")
            out.seek(0)
            return {**json.load(out)["rows"][0], "megabytes": usage.ru_maxrss / 1000}

    def scipy(self, n, kind):
        return json.loads(output(self.args.python, __file__, "--solve", n, kind, "--dim", self.args.dim, env=self.env))


def solve(n, kind, d):
    """SciPy's side, in a process of its own: the median over problems of a second, at least one."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(n)

    def uniform(n):
        x = rng.standard_normal((n, d))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    centres, spread = KINDS[kind]
    times, began = [], time.perf_counter()
    while not times or len(times) < 3 and n <= 1024 or time.perf_counter() - began < 1:
        x, y = uniform(n), uniform(n)
        if centres:
            x = uniform(centres)[np.arange(n) % centres] + spread * x
            x /= np.linalg.norm(x, axis=1, keepdims=True)
        cost = 2 - 2 * x @ y.T
        start = time.perf_counter()
        linear_sum_assignment(cost)
        times.append(time.perf_counter() - start)
    print(json.dumps({"median_seconds": statistics.median(times)}))


def ms(runs):
    values = [1e3 * r["median_seconds"] for r in runs]
    return f"{number(statistics.median(values))} ({number(min(values))}..{number(max(values))})"


def number(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def turns(run, kind, n, scipy):
    """Runs of nat and, if it is wanted, of SciPy, in turns."""
    ours, theirs, spent = [], [], 0
    for repeat in range(run.args.repeats if n < 4096 else min(run.args.repeats, 3)):
        print(f"  {kind} {n} {repeat + 1}", file=sys.stderr)
        ours.append(run.nat(n, kind))
        if scipy and spent < ENOUGH:
            began = time.perf_counter()
            theirs.append(run.scipy(n, kind))
            spent += time.perf_counter() - began
    return ours, theirs


def median(runs):
    return statistics.median(r["median_seconds"] for r in runs)


def dense(run):
    print("\nExact pairing of as many points as targets, milliseconds: median (lowest..highest) of runs in turns.")
    rows = []
    for kind in KINDS:
        scipy = not run.args.no_scipy
        for n in SIZES:
            ours, theirs = turns(run, kind, n, scipy)
            scipy = bool(theirs) and median(theirs) < SLOW
            rows.append([kind, f"{n:,}", ours[0]["method"], ms(ours), ms(theirs) if theirs else "",
                         number(median(theirs) / median(ours)) if theirs else "", f"{max(r['relative_gap'] for r in ours):.1g}"])
    table(["points", "n", "method", "nat, costs included", "SciPy, solver alone", "SciPy / nat", "relative gap"], rows, 3)


def benchmarks(run, pattern):
    """The milliseconds, and what else was counted, of Go benchmarks, by name."""
    text = output("go", "test", "-C", ROOT, "./assign", "-run", "^$", "-bench", pattern, "-benchtime", "500ms",
                  "-cpu", run.args.threads, "-timeout", "20m")
    found = {}
    for name, counts in re.findall(r"^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$", text, re.M):
        words = counts.split()
        found[name] = {unit: float(value) for value, unit in zip(words[::2], words[1::2])}
    return found


def warm(run):
    moved(run)
    training(run)


def moved(run):
    print("\nThe same points after each has moved by 2 % or 10 % of the spread, from the pairing and the potentials of before; "
          "milliseconds, and how many times faster than from nothing, and than SciPy's solver from nothing.")
    found = benchmarks(run, "^BenchmarkPoints(Warm)?$")
    rows = []
    for cloud, kind in (("uniform", "uniform"), ("shifted", "shifted"), ("clustered", "clusters"), ("collapsed", "collapsed")):
        for n in SIZES:
            cold = found[f"Points/{cloud}/n={n}"]["ms"]
            row = [kind, f"{n:,}", number(cold)]
            scipy = 1e3 * run.scipy(n, kind)["median_seconds"] if n == 2048 and not run.args.no_scipy else 0
            for move in ("0.02", "0.1"):
                took = found[f"PointsWarm/{cloud}/n={n}/moved={move}"]["ms"]
                row += [number(took), f"{cold / took:.1f}", number(scipy / took) if scipy else ""]
            rows.append(row)
    table(["points", "n", "from nothing", "moved by 2 %", "cold / warm", "SciPy / warm", "moved by 10 %", "cold / warm", "SciPy / warm"], rows)


def training(run):
    print("\nBatches of a training, each of 2,048 points in company they have not been in.")
    found = benchmarks(run, "^BenchmarkPointsTraining$")
    rows = []
    for name, text in (("nothing", "nothing"), ("pairing", "the pairing"), ("potentials", "the pairing and each target's last potential")):
        r = found[f"PointsTraining/n=2048/from={name}"]
        rows.append([text, f"{r['ms']:.3g}", f"{r['scans/row']:.1f}", f"{r['%kept']:.1f} %"])
    table(["begun with", "ms", "scans a row", "keep their targets"], rows)


def sizes(run, problems):
    print("\nThe solver that does not hold the matrix: seconds, and the most memory the process held.")
    rows = []
    for kind, n in problems:
        print(f"  {kind} {n}", file=sys.stderr)
        r = run.nat(n, kind, 1)
        rows.append([kind, f"{n:,}", f"{r['median_seconds']:.3g}", f"{r['megabytes']:.0f}", f"{r['relative_gap']:.1g}"])
    table(["points", "n", "s", "MB", "relative gap"], rows)


def large(run):
    sizes(run, [("uniform", n) for n in (10000, 20000, 40000, 60000)] +
          [(kind, n) for kind in ("shifted", "clusters", "collapsed") for n in (10000, 20000)])


def huge(run):
    sizes(run, [("uniform", 200000)])


SECTIONS = {f.__name__: f for f in (dense, warm, large, huge)}


def intro(run):
    if not run.args.no_scipy:
        print("SciPy " + output(run.args.python, "-c", "import scipy; print(scipy.__version__)").strip())


def main():
    p = arguments(__doc__, SECTIONS, "SciPy", "scipy")
    p.add_argument("--dim", type=int, default=64)
    p.add_argument("--solve", nargs=2, metavar=("N", "KIND"), help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.solve:
        solve(int(args.solve[0]), args.solve[1], args.dim)
    else:
        measure(p, args, Runner, intro, ("dense", "warm", "large"))


if __name__ == "__main__":
    main()
