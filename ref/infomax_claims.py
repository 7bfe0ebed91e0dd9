#!/usr/bin/env python3
"""The trained experiments of docs/results/infomax.md, as Markdown tables.

    ref/infomax_claims.py SECTION ... --data FASHION-MNIST --out DIR [--seeds 2] [--nat PATH]

SECTION is linear, structure, proxy, or twist, which comes after proxy. FASHION-MNIST is the folder with the four IDX files (plain or .gz); linear does
not need it. DIR keeps the runs and the arrays: what is there already is not computed again. Needs Go, to build nat
(or --nat), and NumPy; /usr/bin/python3 has it with Debian's python3-numpy. Half an hour on two cores for all sections.
"""
import argparse
import gzip
import json
import pathlib
import resource
import shutil
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from speed import ROOT, output, table  # noqa: E402

LIMIT = 20000  # images that networks are trained on
EPOCHS = 10
NOISE = "0.1,0.2,0.3,0.5"
PROXY_LIMIT, PROXY_EPOCHS, PROXY_NOISE = 10000, 6, "0.2,0.3,0.4"


class Lab:
    """Runs nat, and remembers what it said."""

    def __init__(self, args):
        self.args, self.out = args, pathlib.Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.nat = args.nat
        if not self.nat:
            self.nat = self.out / "nat"
            subprocess.run(["go", "build", "-o", self.nat.resolve(), "./cmd/nat"], cwd=ROOT, check=True)

    def ask(self, name, *command):
        """The JSON of a command, from DIR/NAME.json if it has been asked before."""
        path = self.out / f"{name}.json"
        if not path.exists():
            print("  " + " ".join(map(str, command)), file=sys.stderr)
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            said = json.loads(output(self.nat, *command, "--json", "-q"))
            said["cpu_seconds"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
            path.write_text(json.dumps(said))
        return json.loads(path.read_text())

    def train(self, name, data, *options):
        """A run, and what nat train said of it; one that was broken off is begun again."""
        run = self.out / name
        again = ["--overwrite"] if run.exists() else []
        return run, self.ask(f"{name}-train", "train", data, "--out", run, *again, *options)

    def seeds(self):
        return range(1, self.args.seeds + 1)


def mean(values, digits=3):
    """The mean of a few seeds, and their range if there are several."""
    values = list(values)
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def at_noise(measured, sigma):
    return next(x for x in measured["information"] if x["noise"] == sigma)


# linear: a bad start, mended by training.

def gaussian(path, n, dim, least, rng):
    """n rows of a normal law whose deviations along random axes fall from 1 to least; returns its covariance's root."""
    axes, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    root = axes * np.geomspace(1, least, dim) @ axes.T
    x = rng.normal(size=(n, dim)) @ root
    np.save(path, x.astype(np.float32))
    return x, root


def weights(run, checkpoint):
    """The tensors of a checkpoint, and the mean and deviation that its network divides its input by."""
    blob = (run / "checkpoints" / checkpoint / "weights.safetensors").read_bytes()
    size = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:8 + size])
    norm = json.loads(header.pop("__metadata__")["normalizer"])
    found = {}
    for name, t in header.items():
        lo, hi = t["data_offsets"]
        found[name] = np.frombuffer(blob[8 + size + lo:8 + size + hi], "<f4").reshape(t["shape"]).astype(float)
    return found, np.array(norm["mean"]), np.array(norm["std"])


def linear(lab):
    """A linear encoder on data with unequal directions: the singular values of the map from white data, before and after."""
    n, dim, d = 20000, 32, 8
    print(f"\n{n:,} rows of a normal law in {dim} dimensions whose deviations fall from 1 to LEAST along random axes; a linear encoder to "
          f"d = {d}, --augment none, 40 epochs; measured on 4,000 other rows at noise 0.2 and 0.3. Singular values of A from whitened data to z, largest over smallest.")
    rows = []
    for least in (1, .1, .01):
        for seed in lab.seeds():
            name = f"linear-{least}-{seed}"
            path, other = lab.out / f"{name}.npy", lab.out / f"{name}-other.npy"
            rng = np.random.default_rng(seed)
            x, root = gaussian(path, n, dim, least, rng)
            test = rng.normal(size=(4000, dim)) @ root
            run, _ = lab.train(name, path, "--encoder", "linear", "--dim", d, "--epochs", 40, "--augment", "none", "--keep", 1000, "--seed", seed)
            last = (run / "latest").read_text().strip()
            for when, checkpoint in (("before", "step-00000000"), ("after", last)):
                w, m, s = weights(run, checkpoint)
                a = w["dense1.weight"].T / s @ root
                singular = np.linalg.svd(a, compute_uv=False)
                z = (test - m) / s @ w["dense1.weight"] + w["dense1.bias"]
                file = lab.out / f"{name}-{when}.npy"
                np.save(file, (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32))
                r = lab.ask(f"{name}-{when}-measure", "measure", file, "--noise", "0.2,0.3", "--pairs", 0)
                low, high = at_noise(r, .2), at_noise(r, .3)
                rows.append([f"{least:g}", str(seed), when, " ".join(f"{v:.2f}" for v in singular / singular[0]), f"{singular[0] / singular[-1]:.2f}",
                             f"{r['wasserstein']['value']:.4f} ({r['wasserstein']['null_mean']:.4f})", f"{r['wasserstein']['score']:.4f}"] +
                            [f"{x['nats']:.3f} ± {x['stderr']:.3f} ({x['efficiency']:.3f})" for x in (low, high)])
    table(["LEAST", "seed", "", "singular values, the largest 1", "largest / smallest", "Wasserstein (uniform)", "score", "nats at .2 (efficiency)",
           "nats at .3 (efficiency)"], rows, 4)


# structure: equal information, unequal usefulness.

def idx(path):
    path = path if path.exists() else path.with_name(path.name + ".gz")
    blob = path.read_bytes()
    return gzip.decompress(blob) if path.suffix == ".gz" else blob


def shuffled(lab):
    """The same images with one fixed permutation of their pixels."""
    folder = lab.out / "shuffled"
    if not folder.exists():
        data, temp = pathlib.Path(lab.args.data), lab.out / "shuffled.tmp"
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir()
        order = np.random.default_rng(1).permutation(28 * 28)
        for part in ("train", "t10k"):
            blob = idx(data / f"{part}-images-idx3-ubyte")
            pixels = np.frombuffer(blob[16:], np.uint8).reshape(-1, 28 * 28)[:, order]
            (temp / f"{part}-images-idx3-ubyte").write_bytes(blob[:16] + pixels.tobytes())
            (temp / f"{part}-labels-idx1-ubyte").write_bytes(idx(data / f"{part}-labels-idx1-ubyte"))
        temp.rename(folder)
    return folder


def judged(lab, run, data, name, probes="knn,linear"):
    """What measure and eval say of the embeddings of the test images."""
    m = lab.ask(f"{name}-measure", "measure", run, data, "--split", "test", "--noise", NOISE, "--pairs", 0)
    e = lab.ask(f"{name}-eval", "eval", run, data, "--probes", probes, "--layers", "embedding", "--limit", 10000)
    return m, {(r["name"], r["layer"]): r for r in e["rows"]}


def structure(lab):
    print(f"\nTrained on {LIMIT:,} images for {EPOCHS} epochs, --augment none, d = 64; measured on the 10,000 test images, probes fitted on 10,000 "
          f"training images and tested on the test images; mean of {lab.args.seeds} seeds (lowest..highest).")
    rows = []
    for encoder in ("convnet", "mlp"):
        for what in ("images", "shuffled"):
            data = lab.args.data if what == "images" else shuffled(lab)
            found = {"untrained": [], "nat": []}
            for seed in lab.seeds():
                common = ("--encoder", encoder, "--limit", LIMIT, "--augment", "none", "--seed", seed)
                for kind, options in (("untrained", ("--epochs", 1, "--lr", 1e-30)), ("nat", ("--epochs", EPOCHS, "--loss", "square"))):
                    name = f"structure-{encoder}-{what}-{kind}-{seed}"
                    run, _ = lab.train(name, data, *common, *options)
                    m, e = judged(lab, run, data, name)
                    found[kind].append((m, e["run", "embedding"]))
            for kind, results in found.items():
                rows.append([encoder, what, kind] + [mean(at_noise(m, s)["nats"] for m, _ in results) for s in (.1, .2, .3)] +
                            [mean((m["wasserstein"]["score"] for m, _ in results), 4), mean(m["effective_rank"] for m, _ in results)] +
                            [mean(e[p] for _, e in results) for p in ("knn", "linear")])
    table(["network", "data", "", "nats at .1", "at .2", "at .3", "score", "effective rank", "kNN", "linear"], rows, 3)


# proxy: noise as targets beside the information itself as the objective, for the same steps; and their embeddings, twisted.

def labels(lab):
    """The classes of the test images, one a line."""
    path = lab.out / "test-labels.txt"
    if not path.exists():
        path.write_text("".join(f"{y}\n" for y in idx(pathlib.Path(lab.args.data) / "t10k-labels-idx1-ubyte")[8:]))
    return path


def embedded(lab, run, name):
    """The embeddings of the test images as an array."""
    z = lab.out / f"{name}.npy"
    lab.ask(f"{name}-embed", "embed", run, lab.args.data, "--split", "test", "-o", z, "--overwrite")
    return z


OBJECTIVES = (("untrained", ("--epochs", 1, "--lr", 1e-30)), ("nat", ("--epochs", PROXY_EPOCHS, "--loss", "square")),
              ("infomax", ("--epochs", PROXY_EPOCHS, "--objective", "infomax")))


def proxy(lab):
    print(f"\nconvnet on {PROXY_LIMIT:,} images, {PROXY_EPOCHS} epochs, d = 64; measured on the 10,000 test images; probes fitted on 8,000 of them and "
          f"tested on the other 2,000; mean of {lab.args.seeds} seeds (lowest..highest). CPU: seconds of the whole training, all cores.")
    rows = []
    for views, options in (("2 views", ("--augment", "auto,brightness=.4")), ("no views", ("--augment", "none"))):
        for objective, more in OBJECTIVES if views == "2 views" else OBJECTIVES[1:]:
            found = []
            for seed in lab.seeds():
                name = f"proxy-{objective}-{views.replace(' ', '')}-{seed}"
                run, t = lab.train(name, lab.args.data, "--encoder", "convnet", "--limit", PROXY_LIMIT, "--seed", seed, *options, *more)
                z = embedded(lab, run, name)
                m = lab.ask(f"{name}-measure", "measure", z, "--noise", PROXY_NOISE, "--pairs", 0)
                p = lab.ask(f"{name}-probe", "infomax", "twist", z, "--labels", labels(lab), "--strengths", 0, "--noise", .3)["rows"][0]
                found.append((t, m, p))
            alignment = mean((t["held_out"]["alignment"] for t, _, _ in found)) if views == "2 views" else ""
            rows.append([views, objective] + [mean(at_noise(m, s)["nats"] for _, m, _ in found) for s in (.2, .3, .4)] +
                        [mean((m["wasserstein"]["score"] for _, m, _ in found), 4), mean((m["effective_rank"] for _, m, _ in found), 1), alignment] +
                        [mean(p[k] for _, _, p in found) for k in ("knn", "linear")] + [mean((t["cpu_seconds"] for t, _, _ in found), 0)])
    table(["", "objective", "nats at .2", "at .3", "at .4", "score", "effective rank", "alignment", "kNN", "linear", "CPU s"], rows, 2)


def twist(lab):
    """The embeddings of proxy, two views, twisted."""
    print("\nEmbeddings of the 10,000 test images by the runs with two views, seed 1, twisted (8 rounds), at noise 0.3; probes fitted on 8,000 and tested on 2,000.")
    rows = []
    for objective, _ in OBJECTIVES[1:]:
        name = f"proxy-{objective}-2views-1"
        r = lab.ask(f"{name}-twist", "infomax", "twist", lab.out / f"{name}.npy", "--labels", labels(lab), "--strengths", "0,0.1,0.2,0.4,0.8,1.6", "--noise", .3,
                    "--svg", lab.out / f"{name}-twist.svg", "--overwrite")
        rows += [[objective, f"{x['strength']:g}", f"{x['nats']:.4f} ± {x['stderr']:.4f}", f"{x['wang_isola']:.4f}", f"{x['knn']:.3f}", f"{x['linear']:.3f}"]
                 for x in r["rows"]]
    table(["objective", "strength", "nats", "Wang-Isola", "kNN", "linear"], rows, 1)


SECTIONS = {f.__name__: f for f in (linear, structure, proxy, twist)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("sections", nargs="+", metavar="SECTION", choices=list(SECTIONS))
    p.add_argument("--data", help="folder with Fashion-MNIST's IDX files")
    p.add_argument("--out", required=True, help="folder for runs and arrays")
    p.add_argument("--seeds", type=int, default=2)
    p.add_argument("--nat", help="a nat to use instead of building one")
    args = p.parse_args()
    if not args.data and set(args.sections) != {"linear"}:
        p.error("--data FASHION-MNIST is needed for " + ", ".join(s for s in args.sections if s != "linear"))
    lab = Lab(args)
    print(output(lab.nat, "version").strip())
    for name in args.sections:
        print(f"{name}:", file=sys.stderr)
        SECTIONS[name](lab)


if __name__ == "__main__":
    main()
