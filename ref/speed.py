#!/usr/bin/env python3
"""The tables of docs/results/speed.md: nat beside PyTorch on this machine, in Markdown.

    ref/speed.py [SECTION ...] [--threads 2] [--repeats 5] [--python /usr/bin/python3] [--no-torch]

SECTION is train, embed, threads, gemm or conv; without one, all of them, which takes about ten minutes. Let nothing else
run meanwhile. Needs Go, to build nat, and for train and embed a Python with PyTorch (Debian: apt-get install
python3-torch gives it to /usr/bin/python3); it installs neither. --no-torch leaves PyTorch out.

What is compared runs in turns, each time in a fresh process, --repeats times; figures are medians of those runs, which
are medians of steps themselves, and the lowest and highest run stand in brackets. OPENBLAS_CORETYPE is taken out of
PyTorch's environment: where it names an older processor, it makes dense layers several times slower.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
NETWORKS = (("convnet", 256), ("mlp", 256), ("dcgan32", 256), ("resnet18", 64))
CONVOLUTIONAL = ("convnet", "dcgan32", "resnet18")


def output(*command, env=None):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


class Bench:
    """Where nat is, what was asked for, and the environment of what it stands beside."""

    def __init__(self, args, nat):
        self.args, self.nat_path = args, nat
        self.env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}


class Runner(Bench):
    def nat(self, *command):
        return json.loads(output(self.nat_path, "bench", *command, "--workers", self.args.threads, "--json", "--quiet"))

    def torch(self, encoder, batch, *more):
        script = ROOT / "ref" / "torch_speed.py"
        return json.loads(output(self.args.python, script, encoder, "--batch", batch, "--threads", self.args.threads, *more, env=self.env))

    def in_turns(self, contestants):
        """Runs a dictionary of functions in turns; returns a list of results for each."""
        results = {name: [] for name in contestants}
        for repeat in range(self.args.repeats):
            for name, run in contestants.items():
                print(f"  {repeat + 1}/{self.args.repeats} {name}", file=sys.stderr)
                results[name].append(run())
        return results


def median(runs, field="images_per_second"):
    return statistics.median(r[field] for r in runs)


def rates(runs):
    """The median of images per second, with the lowest and the highest."""
    values = [r["images_per_second"] for r in runs]
    return f"{number(statistics.median(values))} ({number(min(values))}..{number(max(values))})"


def number(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}"


def percent(x):
    return f"{100 * x:.1f} %"


def table(header, rows, text=1):
    print("\n| " + " | ".join(header) + " |")
    print("|" + "---|" * text + "---:|" * (len(header) - text))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def train(run):
    print("\nTraining steps, images per second: median (lowest..highest) of runs in turns.")
    rows = []
    for encoder, batch in NETWORKS:
        contestants = {"nat": lambda: run.nat("train", "--encoder", encoder, "--batch", batch)}
        if encoder in CONVOLUTIONAL:
            contestants["direct"] = lambda: run.nat("train", "--encoder", encoder, "--batch", batch, "--winograd=false")
        if not run.args.no_torch:
            contestants["torch"] = lambda: run.torch(encoder, batch)
        r = run.in_turns(contestants)
        nat, direct, torch = r["nat"], r.get("direct", r["nat"]), r.get("torch")
        rows.append([f"{encoder}, {batch}", rates(nat), rates(direct), rates(torch) if torch else "",
                     f"{median(nat) / median(torch):.2f}" if torch else "", f"{median(direct) / median(torch):.2f}" if torch else "",
                     number(median(nat, "gflops")), percent(median(nat, "fraction_of_peak")), percent(median(direct, "fraction_of_peak")),
                     percent(median(nat, "assignment_fraction")), number(median(nat, "peak_bytes") / 1e6), f"{median(nat, 'step_allocs'):g}"])
    table(["network, batch", "nat", "nat, no Winograd", "PyTorch", "nat / PyTorch", "no Winograd / PyTorch", "GFLOP/s (effective)", "of peak (effective)",
           "of peak, no Winograd", "assignment's share", "MB held", "allocations a step"], rows)


def embed(run):
    print("\nEmbedding (inference), images per second: median (lowest..highest) of runs in turns.")
    rows = []
    for encoder, batch in NETWORKS:
        contestants = {"embed": lambda: run.nat("embed", "--encoder", encoder, "--batch", batch),
                       "train": lambda: run.nat("train", "--encoder", encoder, "--batch", batch)}
        if not run.args.no_torch:
            contestants["torch"] = lambda: run.torch(encoder, batch, "--embed")
        r = run.in_turns(contestants)
        torch = r.get("torch")
        rows.append([f"{encoder}, {batch}", rates(r["embed"]), f"{median(r['embed']) / median(r['train']):.2f}",
                     rates(torch) if torch else "", f"{median(r['embed']) / median(torch):.2f}" if torch else "",
                     percent(median(r["embed"], "fraction_of_peak"))])
    table(["network, batch", "nat", "of nat's training rate", "PyTorch", "nat / PyTorch", "of peak (effective)"], rows)


def threads(run):
    print("\nTraining steps on one worker and on two, images per second.")
    rows = []
    for encoder, batch in NETWORKS:
        def with_workers(n):
            return lambda: json.loads(output(run.nat_path, "bench", "train", "--encoder", encoder, "--batch", batch, "--workers", n, "--json", "-q"))
        r = run.in_turns({"1": with_workers(1), "2": with_workers(2)})
        rows.append([f"{encoder}, {batch}", rates(r["1"]), rates(r["2"]), f"{median(r['2']) / median(r['1']):.2f}",
                     f"{median(r['2'], 'peak_gflops') / median(r['1'], 'peak_gflops'):.2f}"])
    table(["network, batch", "1 worker", "2 workers", "ratio", "ratio of the peaks"], rows)


def gemm(run):
    r = run.nat("gemm")
    print(f"\nMatrix products; peak {number(r['peak_gflops'])} GFLOP/s, at best {number(r['best_peak_gflops'])}.")
    table(["M x N x K", "ms", "GFLOP/s", "of peak"],
          [[row["name"], f"{1e3 * row['seconds']:.3g}", number(row["gflops"]), percent(row["fraction_of_peak"])] for row in r["rows"]])


def conv(run):
    r = run.nat("conv")
    print(f"\nConvolutions; peak {number(r['peak_gflops'])} GFLOP/s, copy {number(r['copy_gbytes_per_second'])} GB/s. "
          "+ marks what training uses. Shapes in which moving the data takes over a quarter of the arithmetic's time at the peak have the share of the copy rate.")
    rows = []
    for row in r["rows"]:
        winograd = row["algorithm"] == "winograd"
        algorithm = (row["variant"] if winograd else "direct") + (" +" if row["chosen"] else "")
        rows.append([row["encoder"], row["name"], str(row["count"]), algorithm, f"{1e3 * row['seconds']:.3g}",
                     number(row["gflops"]) + (" effective" if winograd else ""), percent(row["fraction_of_peak"]),
                     percent(row["true_fraction_of_peak"]) if winograd else "",
                     number(row["gbytes_per_second"]), percent(row["fraction_of_copy"]) if row["memory_bound"] else ""])
    table(["network", "shape and direction", "times", "algorithm", "ms", "GFLOP/s", "of peak", "computed, of peak", "GB/s", "of copy"], rows, 2)
    print("\nAll convolutions of a training step; chosen: with Winograd's algorithms where training uses them.")
    table(["network, batch", "direction", "algorithm", "ms", "GFLOP/s", "of peak"],
          [[f"{t['encoder']}, {t['batch']}", t["direction"], t["algorithm"], f"{1e3 * t['seconds']:.3g}", number(t["gflops"]),
            percent(t["fraction_of_peak"])] for t in r["totals"]], 3)


SECTIONS = {f.__name__: f for f in (train, embed, threads, gemm, conv)}


def machine(run, version):
    """Says where and of what the figures are."""
    model = platform.processor()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text())
        family = re.findall(r"cpu family\s*: (.*)", cpuinfo.read_text())
        model = f"{names[0]}, family {family[0]}" if names and family else model
    print(f"{os.cpu_count()} processors, {model}; {platform.system()} {platform.machine()}; {version['go']}, {version['kernel']} kernels; "
          f"nat {version.get('revision', '')[:7]}{' with changes' if version['modified'] else ''}; {run.args.threads} threads, "
          f"{run.args.repeats} runs of each")
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the load of this machine is {load:.1f}: something else is running, and the figures are worth little", file=sys.stderr)
    if "OPENBLAS_CORETYPE" in os.environ and with_peer(run.args):
        print(f"OPENBLAS_CORETYPE={os.environ['OPENBLAS_CORETYPE']} is taken out of {run.args.peer}'s environment", file=sys.stderr)


def arguments(doc, sections, peer, module):
    """A parser of what all such scripts take; peer is what nat stands beside, in a Python that has that module."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("sections", nargs="*", metavar="SECTION")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--python", default="/usr/bin/python3", help=f"a Python that has {peer}")
    p.add_argument(f"--no-{module}", action="store_true", help=f"leave {peer} out")
    p.set_defaults(known=sections, peer=peer, module=module)
    return p


def with_peer(args):
    return not getattr(args, f"no_{args.module}")


def measure(p, args, runner, intro, default):
    """Builds nat, says where the figures are from, and runs the sections."""
    unknown = [s for s in args.sections if s not in args.known]
    if unknown:
        p.error(f"no section {unknown[0]}: there are {', '.join(args.known)}")
    module = args.module
    if with_peer(args) and subprocess.run([args.python, "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode != 0:
        p.error(f"{args.python} has no {args.peer}: install it (Debian: apt-get install python3-{module}), name a Python that has it "
                f"with --python, or leave it out with --no-{module}")
    with tempfile.TemporaryDirectory() as tmp:
        nat = pathlib.Path(tmp) / "nat"
        subprocess.run(["go", "build", "-o", nat, "./cmd/nat"], cwd=ROOT, check=True)
        run = runner(args, nat)
        machine(run, json.loads(output(nat, "version", "--json")))
        intro(run)
        for name in args.sections or default:
            print(f"{name}:", file=sys.stderr)
            args.known[name](run)


def intro(run):
    if not run.args.no_torch:
        print(f"PyTorch {run.torch('mlp', 8, '--steps', 1)['torch']}")


if __name__ == "__main__":
    parser = arguments(__doc__, SECTIONS, "PyTorch", "torch")
    measure(parser, parser.parse_args(), Runner, intro, SECTIONS)
