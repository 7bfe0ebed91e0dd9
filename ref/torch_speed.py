#!/usr/bin/env python3
"""The networks of `nat bench train`, trained by PyTorch on the CPU: what nat's speed is compared with.

Needs PyTorch (Debian: apt-get install python3-torch, then /usr/bin/python3). ref/speed.py runs it beside nat.

  torch_speed.py ENCODER [--batch 256] [--dim 64] [--threads 2] [--steps 10] [--embed]

A step is forward, the mean squared distance of normalised embeddings to fixed unit targets, backward, and SGD with
momentum, on random inputs that are in memory. There is no assignment, which nat's step has. With --embed a step is the
inference of a batch. Prints one JSON object; times are medians of the steps after two that are not counted.
"""
import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


def conv(channels, out, kernel, stride, pad):
    return [nn.Conv2d(channels, out, kernel, stride, pad, bias=False), nn.BatchNorm2d(out), nn.ReLU()]


def hidden(units, out):
    return [nn.Linear(units, out, bias=False), nn.BatchNorm1d(out), nn.ReLU()]


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, 1x1 where the shape changes."""

    def __init__(self, channels, out, stride):
        super().__init__()
        self.body = nn.Sequential(*conv(channels, out, 3, stride, 1), *conv(out, out, 3, 1, 1)[:2])
        same = stride == 1 and channels == out
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv(channels, out, 1, stride, 0)[:2])

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


def mlp():
    return hidden(784, 1024) + hidden(1024, 1024), 1024, (784,)


def convnet():
    layers = conv(1, 32, 3, 2, 1) + conv(32, 64, 3, 2, 1) + conv(64, 128, 3, 2, 1)
    return layers + [nn.Flatten()] + hidden(128 * 4 * 4, 256), 256, (1, 28, 28)


def dcgan32():
    layers = conv(3, 64, 4, 2, 1) + conv(64, 128, 4, 2, 1) + conv(128, 256, 4, 2, 1)
    return layers + [nn.Flatten()] + hidden(256 * 4 * 4, 1024), 1024, (3, 32, 32)


def resnet18():
    layers, channels = conv(3, 64, 3, 1, 1), 64
    for out, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Residual(channels, out, first), Residual(out, out, 1)]
        channels = out
    return layers + [nn.AdaptiveAvgPool2d(1), nn.Flatten()], 512, (3, 32, 32)


ENCODERS = {f.__name__: f for f in (mlp, convnet, dcgan32, resnet18)}


def measure(steps, warmups, step):
    seconds = []
    for i in range(warmups + steps):
        start = time.perf_counter()
        step()
        if i >= warmups:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("encoder", choices=ENCODERS)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--dim", type=int, default=64)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--embed", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    layers, width, shape = ENCODERS[a.encoder]()
    net = nn.Sequential(*layers, nn.Linear(width, a.dim))
    x = torch.rand(a.batch, *shape)
    targets = F.normalize(torch.randn(a.batch, a.dim), dim=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def train():
        optimizer.zero_grad()
        (F.normalize(net(x), dim=1) - targets).square().sum(1).mean().backward()
        optimizer.step()

    def embed():
        with torch.inference_mode():
            F.normalize(net(x), dim=1)

    net.train(not a.embed)
    seconds = measure(a.steps, 2, embed if a.embed else train)
    print(json.dumps({"torch": torch.__version__, "encoder": a.encoder, "batch": a.batch, "threads": a.threads,
                      "parameters": sum(w.numel() for w in net.parameters()), "seconds": seconds,
                      "images_per_second": a.batch / seconds}))


if __name__ == "__main__":
    main()
