#!/usr/bin/env python3
"""Numbers of a second implementation for the tests of package encoder.

Trains the presets mlp, convnet, dcgan32, resnet18 (with either stem) and alexnet
(without dropout), and the decoders of convnet and dcgan32, for ten steps in PyTorch
(float64), from weights and inputs that both sides compute from one integer formula, and prints as JSON: per parameter, the norm and some entries of the first gradient;
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

DIM, STEPS, MOMENTUM = 16, 10, 0.9
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


def conv(i, o, k, s=2, p=1):
    return [nn.Conv2d(i, o, k, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU()]


def hidden(i, o):
    return [nn.Linear(i, o, bias=False), nn.BatchNorm1d(o), nn.ReLU()]


class Block(nn.Module):
    """A residual block; where the shape changes, a 1x1 convolution is the shortcut."""

    def __init__(self, i, o, s):
        super().__init__()
        self.short = nn.Sequential(nn.Conv2d(i, o, 1, s, bias=False), nn.BatchNorm2d(o)) if i != o else nn.Sequential()
        self.main = nn.Sequential(*conv(i, o, 3, s), *conv(o, o, 3, 1)[:2])

    def forward(self, x):
        return F.relu(self.main(x) + self.short(x))


class Sobel(nn.Module):
    """Horizontal and vertical Sobel filter of the mean of the channels."""

    def forward(self, x):
        across = torch.tensor([[1., 0, -1], [2, 0, -2], [1, 0, -1]], dtype=x.dtype)
        return F.conv2d(x.mean(1, keepdim=True), torch.stack([across, across.T])[:, None], padding=1)


def resnet18(side):
    if side < 64:
        stem = conv(3, 64, 3, 1, 1)
    else:
        stem = conv(3, 64, 7, 2, 3) + [nn.MaxPool2d(3, 2, 1)]
    blocks, i = [], 64
    for o, s in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        blocks.append(Block(i, o, s))
        i = o
    return stem + blocks + [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, DIM)]


def alexnet():
    """The layers in the order of the paper's code, which pools before the ReLU."""
    def pooled(i, o, k, s, p):
        c, bn, relu = conv(i, o, k, s, p)
        return [c, bn, nn.MaxPool2d(3, 2), relu]
    return [Sobel(), *pooled(2, 96, 11, 4, 2), *pooled(96, 256, 5, 1, 2), *conv(256, 384, 3, 1), *conv(384, 384, 3, 1),
            *pooled(384, 256, 3, 1, 1), nn.Flatten(), *hidden(256, 4096), *hidden(4096, 4096), nn.Linear(4096, DIM)]


def up(i, o, k, extra=0, s=2, p=1):
    return [nn.ConvTranspose2d(i, o, k, s, p, extra, bias=False), nn.BatchNorm2d(o), nn.ReLU()]


def decoder(name):
    """From DIM values back to an image, with a leaky ReLU and a sigmoid at the end to have these as well."""
    if name == "convnet":
        return nn.Sequential(*hidden(DIM, 256), *hidden(256, 2048), nn.Unflatten(1, (128, 4, 4)), *up(128, 64, 3), *up(64, 32, 3, 1),
                             nn.ConvTranspose2d(32, 1, 3, 2, 1, 1), nn.LeakyReLU(0.2), nn.Sigmoid(), nn.Flatten())
    return nn.Sequential(*hidden(DIM, 1024), *hidden(1024, 4096), nn.Unflatten(1, (256, 4, 4)), *up(256, 128, 4), *up(128, 64, 4),
                         nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.LeakyReLU(0.2), nn.Sigmoid(), nn.Flatten())


def build(name, side):
    """The network and the number of channels of its input."""
    if name.endswith(" decoder"):
        return decoder(name.removesuffix(" decoder")), DIM
    if name == "mlp":
        return nn.Sequential(*hidden(784, 1024), *hidden(1024, 1024), nn.Linear(1024, DIM)), 1
    if name == "convnet":
        return nn.Sequential(*conv(1, 32, 3), *conv(32, 64, 3), *conv(64, 128, 3), nn.Flatten(),
                             *hidden(128 * 16, 256), nn.Linear(256, DIM)), 1
    if name == "dcgan32":
        return nn.Sequential(*conv(3, 64, 4), *conv(64, 128, 4), *conv(128, 256, 4), nn.Flatten(),
                             *hidden(4096, 1024), nn.Linear(1024, DIM)), 3
    return nn.Sequential(*(resnet18(side) if name == "resnet18" else alexnet())), 3


class Layout:
    """For each parameter, in params: name as in Go, fan-in, and functions from and to the Go layout.

    Go stores conv weights [kernel, kernel, in, out], transposed ones [kernel, kernel, out, in], dense
    weights [in, out], and flattens [height, width, channel] where PyTorch flattens [channel, height, width].
    It names the layers of a block after it, shortcut first, as in block3.shortcut.conv1.
    """

    def __init__(self, net):
        self.params, self.channels = [], None
        self.image = next((m.unflattened_size for m in net if isinstance(m, nn.Unflatten)), None)
        self.last = [m for m in net if isinstance(m, nn.Linear)][-1]  # whose output an Unflatten takes
        self.walk(net, "")

    def walk(self, net, prefix):
        count = {"conv": 0, "convtranspose": 0, "dense": 0, "bn": 0, "block": 0}

        def name(stem):
            count[stem] += 1
            return f"{prefix}{stem}{count[stem]}"

        for m in net:
            if isinstance(m, Block):
                block = name("block")
                self.walk(m.short, block + ".shortcut.")
                self.walk(m.main, block + ".")
            elif isinstance(m, nn.Conv2d):
                self.conv(m, name("conv"))
            elif isinstance(m, nn.ConvTranspose2d):
                self.transposed(m, name("convtranspose"))
            elif isinstance(m, nn.Linear):
                self.dense(m, name("dense"))
            elif isinstance(m, nn.BatchNorm1d) and self.image and count["dense"] == 2:
                n, c, side = name("bn"), self.image[0], self.image[1]
                for role in ("weight", "bias"):
                    self.params.append((f"{n}.{role}", getattr(m, role), 0, lambda a: a.reshape(side, side, c).transpose(2, 0, 1).reshape(-1),
                                        lambda g: g.reshape(c, side, side).transpose(1, 2, 0).reshape(-1)))
            elif isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                n = name("bn")
                for role in ("weight", "bias"):
                    self.params.append((f"{n}.{role}", getattr(m, role), 0, lambda a: a, lambda g: g))
            elif isinstance(m, nn.AdaptiveAvgPool2d):
                self.channels = None

    def conv(self, m, name):
        self.channels = m.out_channels
        o, i, k, _ = m.weight.shape
        self.params.append((f"{name}.weight", m.weight, i * k * k,
                            lambda a: a.reshape(k, k, i, o).transpose(3, 2, 0, 1), lambda g: g.transpose(2, 3, 1, 0)))

    def transposed(self, m, name):
        i, o, k, _ = m.weight.shape
        fan_in = max(1, k * k * i // m.stride[0] ** 2)
        self.params.append((f"{name}.weight", m.weight, fan_in,
                            lambda a: a.reshape(k, k, o, i).transpose(3, 2, 0, 1), lambda g: g.transpose(2, 3, 1, 0)))
        if m.bias is not None:
            self.params.append((f"{name}.bias", m.bias, fan_in, lambda a: a, lambda g: g))

    def dense(self, m, name):
        o, i = m.weight.shape
        if self.channels:
            c, side = self.channels, int(round((i / self.channels) ** 0.5))
            to = lambda a: a.reshape(side, side, c, o).transpose(3, 2, 0, 1).reshape(o, i)
            fro = lambda g: g.reshape(o, c, side, side).transpose(2, 3, 1, 0)
            self.channels = None
        elif self.image and m is self.last:
            c, side = self.image[0], self.image[1]
            to = lambda a: a.reshape(i, side, side, c).transpose(3, 1, 2, 0).reshape(o, i)
            fro = lambda g: g.reshape(c, side, side, i).transpose(3, 1, 2, 0)
        else:
            to, fro = (lambda a: a.reshape(i, o).T), (lambda g: g.T)
        self.params.append((f"{name}.weight", m.weight, i, to, fro))
        if m.bias is not None:
            self.params.append((f"{name}.bias", m.bias, i, lambda a: a, lambda g: g))


def initial(index, name, n, fan_in):
    """Weights at the scale of the usual start; batch norm away from the identity, to be tested."""
    u = uniform(index, n)
    if fan_in:
        return u / np.sqrt(fan_in)
    return 1 + 0.25 * u if name.endswith("weight") else 0.25 * u


def spread(n):
    """Indices of the entries that are written down."""
    return sorted({0, min(1, n - 1), n // 3, n // 2, (5 * n) // 7, n - 1})


def entries(a):
    flat = a.reshape(-1)
    return {str(i): float(flat[i]) for i in spread(flat.size)}


def network(name, batch, side, lr):
    net, c = build(name, side)
    h, w, c = (1, 1, side * side * c) if name == "mlp" else (side, side, c)
    decodes = name.endswith(" decoder")
    if decodes:
        h = w = 1
    net.double()
    params = Layout(net).params
    with torch.no_grad():
        for index, (pname, p, fan_in, to, _) in enumerate(params):
            value = single(initial(index, pname, p.numel(), fan_in)).numpy()
            p.copy_(torch.from_numpy(np.ascontiguousarray(to(value))))
    x = single(uniform(INPUTS, batch * h * w * c)).reshape(batch, h, w, c).permute(0, 3, 1, 2)
    if h == 1:
        x = x.reshape(batch, -1)
    if decodes:  # to an image of a formula, which is flat in the layout of Go
        channels = next(m for m in reversed(net) if isinstance(m, nn.ConvTranspose2d)).out_channels
        image = single(uniform(TARGETS, batch * side * side * channels))
        output = lambda: net(x).reshape(batch, -1, side, side).permute(0, 2, 3, 1).reshape(batch, -1)
        target = image.reshape(batch, -1)
    else:
        target = uniform(TARGETS, batch * DIM).reshape(batch, DIM)
        target = single(target / np.linalg.norm(target, axis=1, keepdims=True))
        output = lambda: F.normalize(net(x), dim=1)
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=MOMENTUM, nesterov=True)
    losses, grads = [], {}
    for step in range(STEPS):
        opt.zero_grad()
        loss = (output() - target).square().sum(1).mean()
        loss.backward()
        if step == 0:
            for pname, p, _, _, fro in params:
                g = np.ascontiguousarray(fro(p.grad.numpy()))
                grads[pname] = {"norm": float(np.linalg.norm(g)), "entries": entries(g)}
        opt.step()
        losses.append(float(loss))
    net.eval()
    with torch.no_grad():
        z = output().numpy()
    return {"preset": name, "input": [h, w, c], "batch": batch, "lr": lr, "parameters": sum(p.numel() for p in net.parameters()),
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


# Preset, batch, side of the images, learning rate: small enough for a test.
NETWORKS = {
    "mlp": ("mlp", 12, 28, 0.05), "convnet": ("convnet", 12, 28, 0.05), "dcgan32": ("dcgan32", 12, 32, 0.05),
    "resnet18 3x3 stem": ("resnet18", 8, 16, 0.002), "resnet18 7x7 stem": ("resnet18", 10, 64, 0.002), "alexnet": ("alexnet", 8, 64, 0.002),
    "convnet decoder": ("convnet decoder", 10, 28, 0.001), "dcgan32 decoder": ("dcgan32 decoder", 12, 32, 0.0005),
}


def main():
    networks = {name: network(*args) for name, args in NETWORKS.items()}
    print(json.dumps({"torch": torch.__version__, "dim": DIM, "momentum": MOMENTUM, "networks": networks, "optimizers": optimizers()}, indent=1))


if __name__ == "__main__":
    main()
