#!/usr/bin/env python3
"""Numbers of a second implementation for the tests of package encoder.

Trains the presets mlp, convnet and dcgan32 for ten steps in PyTorch (float64)
from weights and inputs that both sides compute from one integer formula, and
prints as JSON: per parameter, the norm and some entries of the first gradient;
the ten losses; some entries of the embedding in evaluation mode afterwards; and
the course of a small vector under SGD and AdamW.

Not needed to run any test: its output is kept in encoder/testdata/torch.json.

    python3 ref/torch_curves.py > encoder/testdata/torch.json      (torch >= 1.13)
"""
import json

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, DIM, STEPS, LR, MOMENTUM = 12, 16, 10, 0.05, 0.9
INPUTS, TARGETS, GRADS = 1000, 1001, 1002  # tensor numbers past those of parameters


def uniform(tensor, n):
    """n values in [-1, 1) of tensor number `tensor`: splitmix64 of the position, top 24 bits."""
    with np.errstate(over="ignore"):
        x = (np.uint64(tensor) << np.uint64(32)) + np.arange(n, dtype=np.uint64)
        x += np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def single(x):
    """Rounds to float32, in which the Go side holds weights and inputs."""
    return torch.from_numpy(x.astype(np.float32).astype(np.float64))


def conv(i, o, k):
    return [nn.Conv2d(i, o, k, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]


def hidden(i, o):
    return [nn.Linear(i, o, bias=False), nn.BatchNorm1d(o), nn.ReLU()]


def build(name):
    """The network and the (height, width, channels) of its input."""
    if name == "mlp":
        return nn.Sequential(*hidden(784, 1024), *hidden(1024, 1024), nn.Linear(1024, DIM)), (1, 1, 784)
    if name == "convnet":
        return nn.Sequential(*conv(1, 32, 3), *conv(32, 64, 3), *conv(64, 128, 3), nn.Flatten(),
                             *hidden(128 * 16, 256), nn.Linear(256, DIM)), (28, 28, 1)
    return nn.Sequential(*conv(3, 64, 4), *conv(64, 128, 4), *conv(128, 256, 4), nn.Flatten(),
                         *hidden(4096, 1024), nn.Linear(1024, DIM)), (32, 32, 3)


def layout(net):
    """For each parameter: name as in Go, fan-in, and functions from and to the Go layout.

    Go stores conv weights [kernel, kernel, in, out], dense weights [in, out], and flattens
    [height, width, channel] where PyTorch flattens [channel, height, width].
    """
    out, count, channels = [], {"conv": 0, "dense": 0, "bn": 0}, None
    for m in net:
        if isinstance(m, nn.Conv2d):
            count["conv"] += 1
            channels = m.out_channels
            o, i, k, _ = m.weight.shape
            out.append((f"conv{count['conv']}.weight", m.weight, i * k * k,
                        lambda a, s=(k, k, i, o): a.reshape(s).transpose(3, 2, 0, 1),
                        lambda g: g.transpose(2, 3, 1, 0)))
        elif isinstance(m, nn.Linear):
            count["dense"] += 1
            o, i = m.weight.shape
            if channels:
                side = int(round((i / channels) ** 0.5))
                to = lambda a, s=(side, side, channels, o), t=(o, i): a.reshape(s).transpose(3, 2, 0, 1).reshape(t)
                fro = lambda g, s=(o, channels, side, side): g.reshape(s).transpose(2, 3, 1, 0)
                channels = None
            else:
                to, fro = (lambda a, s=(i, o): a.reshape(s).T), (lambda g: g.T)
            out.append((f"dense{count['dense']}.weight", m.weight, i, to, fro))
            if m.bias is not None:
                out.append((f"dense{count['dense']}.bias", m.bias, i, lambda a: a, lambda g: g))
        elif isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            count["bn"] += 1
            for role in ("weight", "bias"):
                out.append((f"bn{count['bn']}.{role}", getattr(m, role), 0, lambda a: a, lambda g: g))
    return out


def initial(index, name, n, fan_in):
    """Weights at the scale of the usual start; batch norm away from the identity, to be tested."""
    u = uniform(index, n)
    if fan_in:
        return u / np.sqrt(fan_in)
    return 1 + 0.25 * u if name.endswith("weight") else 0.25 * u


def spread(n):
    """Indices of the entries that are written down."""
    return sorted({0, 1, n // 3, n // 2, (5 * n) // 7, n - 1})


def entries(a):
    flat = a.reshape(-1)
    return {str(i): float(flat[i]) for i in spread(flat.size)}


def network(name):
    net, (h, w, c) = build(name)
    net.double()
    params = layout(net)
    with torch.no_grad():
        for index, (pname, p, fan_in, to, _) in enumerate(params):
            value = single(initial(index, pname, p.numel(), fan_in)).numpy()
            p.copy_(torch.from_numpy(np.ascontiguousarray(to(value))))
    x = single(uniform(INPUTS, BATCH * h * w * c)).reshape(BATCH, h, w, c).permute(0, 3, 1, 2)
    if name == "mlp":
        x = x.reshape(BATCH, -1)
    target = uniform(TARGETS, BATCH * DIM).reshape(BATCH, DIM)
    target = single(target / np.linalg.norm(target, axis=1, keepdims=True))
    opt = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, nesterov=True)
    losses, grads = [], {}
    for step in range(STEPS):
        opt.zero_grad()
        loss = (F.normalize(net(x), dim=1) - target).square().sum(1).mean()
        loss.backward()
        if step == 0:
            for pname, p, _, _, fro in params:
                g = np.ascontiguousarray(fro(p.grad.numpy()))
                grads[pname] = {"norm": float(np.linalg.norm(g)), "entries": entries(g)}
        opt.step()
        losses.append(float(loss))
    net.eval()
    with torch.no_grad():
        z = F.normalize(net(x), dim=1).numpy()
    return {"input": [h, w, c], "parameters": sum(p.numel() for p in net.parameters()),
            "gradients": grads, "losses": losses, "evaluation": entries(z)}


def optimizers():
    """A vector of 8 under gradients of a formula for five steps of each optimiser."""
    cases = [
        ("sgd", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01), torch.optim.SGD),
        ("sgd", dict(lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0), torch.optim.SGD),
        ("sgd", dict(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.01), torch.optim.SGD),
        ("adamw", dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05), torch.optim.AdamW),
    ]
    out = []
    for kind, args, make in cases:
        p = nn.Parameter(single(uniform(0, 8)))
        opt, values = make([p], **args), []
        for step in range(5):
            p.grad = single(uniform(GRADS + step, 8))
            opt.step()
            values.append(p.detach().tolist())
        out.append({"optimizer": kind, **args, "values": values})
    return out


def main():
    result = {"torch": torch.__version__, "batch": BATCH, "dim": DIM, "lr": LR, "momentum": MOMENTUM,
              "networks": {name: network(name) for name in ("mlp", "convnet", "dcgan32")}, "optimizers": optimizers()}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
