"""Which gauge tells, without labels, that more training gives nothing?

Probes the checkpoints of runs that were trained with --gauge-every and --keep, and compares what the gauges
said at each with the accuracy of the probes: Spearman's correlation over the checkpoints of each run, and what
stopping by a rule would have cost. Prints the tables of docs/results/stop-signal.md.

    python3 ref/stop_signal.py split fashion-mnist DIR   # training images 50,001 to 60,000 become the test split
    python3 ref/stop_signal.py probe ./nat DIR RUN ... --limit 4000 --every 2 --cache probes.jsonl
    python3 ref/stop_signal.py table RUN ... --cache probes.jsonl

Needs nothing but the standard library and nat.
"""

import argparse
import gzip
import json
import os
import shutil
import struct
import subprocess
import tempfile

# What a reading says of one group of rows, by its name in metrics.jsonl.
GAUGES = ["information", "efficiency", "score", "effective_rank", "matched_cosine", "alignment"]
PROBES = ["knn", "linear"]


def split(source, folder):
    os.makedirs(folder, exist_ok=True)
    read = lambda name: gzip.open(os.path.join(source, name)).read()
    images, labels = read("train-images-idx3-ubyte.gz"), read("train-labels-idx1-ubyte.gz")
    for name, lo, hi in (("train", 0, 50000), ("t10k", 50000, 60000)):
        parts = {
            "images-idx3": images[:4] + struct.pack(">III", hi - lo, 28, 28) + images[16 + 784 * lo : 16 + 784 * hi],
            "labels-idx1": labels[:4] + struct.pack(">I", hi - lo) + labels[8 + lo : 8 + hi],
        }
        for kind, content in parts.items():
            with gzip.open(os.path.join(folder, f"{name}-{kind}-ubyte.gz"), "wb", compresslevel=1) as f:
                f.write(content)


def readings(run):
    """The epochs of a run that have gauges: step -> the line of metrics.jsonl."""
    with open(os.path.join(run, "metrics.jsonl")) as f:
        lines = [json.loads(line) for line in f if '"event":"epoch"' in line]
    return {e["step"]: e for e in lines if "held_out" in e}


def probe(nat, data, run, step, limit):
    """Accuracies of one checkpoint: a copy of the run that has no other."""
    name = f"step-{step:08d}"
    with tempfile.TemporaryDirectory() as copy:
        for part in ("run.json", "metrics.jsonl", "targets.safetensors"):
            shutil.copy(os.path.join(run, part), copy)
        shutil.copytree(os.path.join(run, "checkpoints", name), os.path.join(copy, "checkpoints", name))
        out = subprocess.run(
            [nat, "eval", copy, data, "--probes", "knn,linear", "--layers", "embedding", "--limit", str(limit),
             "--json"],
            check=True, capture_output=True, text=True).stdout
    row = next(r for r in json.loads(out)["rows"] if r["name"] == "run")
    return {p: row[p] for p in PROBES}


def cached(path):
    try:
        with open(path) as f:
            return {(r["run"], r["step"]): r for r in map(json.loads, f)}
    except FileNotFoundError:
        return {}


def probe_runs(args):
    done = cached(args.cache)
    for run in args.runs:
        steps = sorted(readings(run))
        chosen = set(steps[:: args.every]) | {steps[-1]}
        for step in sorted(chosen):
            if (run, step) in done:
                continue
            row = {"run": run, "step": step, **probe(args.nat, args.data, run, step, args.limit)}
            with open(args.cache, "a") as f:
                f.write(json.dumps(row) + "\n")
            print(row, flush=True)


def ranks(x):
    order = sorted(range(len(x)), key=lambda i: x[i])
    out = [0.0] * len(x)
    i = 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and x[order[j + 1]] == x[order[i]]:
            j += 1
        for k in range(i, j + 1):
            out[order[k]] = (i + j) / 2
        i = j + 1
    return out


def spearman(x, y):
    a, b = ranks(x), ranks(y)
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    cov = sum((p - ma) * (q - mb) for p, q in zip(a, b))
    var = sum((p - ma) ** 2 for p in a) * sum((q - mb) ** 2 for q in b)
    return cov / var**0.5 if var else float("nan")


def shown_correlation(x, y):
    r = spearman(x, y)
    return f"{r:+.2f}" if r == r else ""


def series(run, probes):
    """Everything known of the checkpoints of a run, as columns."""
    gauged = readings(run)
    steps = [s for s in sorted(gauged) if (run, s) in probes]
    columns = {"epoch": [gauged[s]["epoch"] + 1 for s in steps]}
    for name in PROBES:
        columns[name] = [probes[run, s][name] for s in steps]
    for group, label in (("held_out", "held-out"), ("train", "training")):
        for g in GAUGES:
            columns[f"{g.replace('_', ' ')}, {label}"] = [gauged[s][group][g] for s in steps]
    columns["assignment gap"] = [gauged[s]["train"].get("assignment_gap", 0) for s in steps]
    columns["loss"] = [gauged[s]["loss"] for s in steps]
    columns["efficiency lost by held-out rows"] = [
        gauged[s]["train"]["efficiency"] - gauged[s]["held_out"]["efficiency"] for s in steps]
    columns["alignment lost by held-out rows"] = [
        gauged[s]["held_out"]["alignment"] - gauged[s]["train"]["alignment"] for s in steps]
    return columns


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for r in rows:
        print("| " + " | ".join(str(c) for c in r) + " |")
    print()


def print_tables(args):
    probes = cached(args.cache)
    for run in args.runs:
        c = series(run, probes)
        print(f"### {os.path.basename(run)}\n")
        shown = PROBES + ["score, held-out", "efficiency, held-out", "effective rank, held-out", "alignment, held-out",
                          "efficiency, training", "alignment, training", "assignment gap", "loss"]
        table(["epoch"] + shown, [[c["epoch"][i]] + [f"{c[s][i]:.3f}" for s in shown] for i in range(len(c["epoch"]))])
    print("### Spearman's correlation with accuracy over the checkpoints of a run\n")
    names = [k for k in series(args.runs[0], probes) if k not in PROBES]
    for target in PROBES:
        rows = []
        for name in names:
            per_run = [series(run, probes) for run in args.runs]
            rows.append([name] + [shown_correlation(c[name], c[target]) for c in per_run])
        print(f"{target}:\n")
        table(["gauge"] + [os.path.basename(r) for r in args.runs], rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="what", required=True)
    s = sub.add_parser("split")
    s.add_argument("source")
    s.add_argument("folder")
    s = sub.add_parser("probe")
    s.add_argument("nat")
    s.add_argument("data")
    s.add_argument("runs", nargs="+")
    s.add_argument("--limit", type=int, default=4000)
    s.add_argument("--every", type=int, default=1, help="probe every so manieth reading")
    s.add_argument("--cache", required=True)
    s = sub.add_parser("table")
    s.add_argument("runs", nargs="+")
    s.add_argument("--cache", required=True)
    args = p.parse_args()
    if args.what == "split":
        split(args.source, args.folder)
    elif args.what == "probe":
        probe_runs(args)
    else:
        print_tables(args)


if __name__ == "__main__":
    main()
