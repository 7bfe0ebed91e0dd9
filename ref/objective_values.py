#!/usr/bin/env python3
"""Prints losses and gradients of the objectives on made-up embeddings, for objective/values_test.go.

Needs torch. Every loss is written from its definition, in distances and logarithms of probabilities, in float64; gradients
are autograd's through the normalisation, so only their tangent part counts.
"""
import itertools
import math
import torch

torch.set_default_dtype(torch.float64)
V, B, D = 2, 4, 3


def embeddings():
    """Row i of V*B has sin(1 + 3i + k) + cos(i k) / 2, k = 0, 1, 2, before it is divided by its norm."""
    x = torch.tensor([[math.sin(1 + 3 * i + k) + math.cos(i * k) / 2 for k in range(D)] for i in range(V * B)])
    return (x / x.norm(dim=1, keepdim=True)).requires_grad_()


def noise():
    return torch.tensor([[math.cos(2 + 5 * i + 2 * k) for k in range(D)] for i in range(V * B)])


def unit(z):
    return z / z.norm(dim=1, keepdim=True)


def infonce(z, temperature):
    s = unit(z) @ unit(z).T / temperature
    terms = []
    for a in range(len(z)):
        for p in range(len(z)):
            if p != a and p % B == a % B:
                candidates = [p] + [n for n in range(len(z)) if n % B != a % B]
                terms.append(-torch.log_softmax(s[a, candidates], 0)[0])
    return torch.stack(terms).mean()


def infomax(z, sigma, views):
    u = unit(z)[: views * B]
    noisy = u + sigma * noise()[: views * B]
    k = torch.exp(-torch.cdist(noisy, u) ** 2 / (2 * sigma**2))
    terms = []
    for i in range(views * B):
        candidates = [j for j in range(views * B) if views == 1 or j // B != i // B]
        own = [j for j in candidates if j % B == i % B]
        terms.append(-torch.log(k[i, own].sum() / k[i, candidates].sum()))
    return torch.stack(terms).mean()


def align_uniform(z, weight):
    u = unit(z).reshape(V, B, D)
    align = (u[0] - u[1]).square().sum(1).mean()
    uniform = torch.stack([torch.pdist(v).square().mul(-2).exp().mean().log() for v in u]).mean()
    return align + weight * uniform


def classifier(z, temperature):
    """Prototype c has cos(1 + c + 2k) as its coordinate k, and the class of point b is b mod 3."""
    w = torch.tensor([[math.cos(1 + c + 2 * k) for k in range(D)] for c in range(3)])
    labels = torch.tensor([(i % B) % 3 for i in range(V * B)])
    return torch.nn.functional.cross_entropy(unit(z) @ w.T / temperature, labels)


def softmax(z, temperature):
    """Targets are the first views of all points, paired at the least cost."""
    c = embeddings().detach()[:B]
    labels = torch.tensor([i % B for i in range(V * B)])
    cosines = (unit(z) @ c.T).detach().reshape(V, B, B).sum(0)
    best = max(itertools.permutations(range(B)), key=lambda p: sum(cosines[b, p[b]].item() for b in range(B)))
    return torch.nn.functional.cross_entropy(unit(z) @ c[list(best)].T / temperature, labels)


def show(name, loss):
    z = embeddings()
    value = loss(z)
    (g,) = torch.autograd.grad(value, z)
    print(f'"{name}": {{{value.item():.10f}, []float64{{{", ".join(f"{x:.8f}" for x in g.flatten())}}}}},')


show("infonce", lambda z: infonce(z, 0.2))
show("infonce, temperature 1", lambda z: infonce(z, 1.0))
show("infomax", lambda z: infomax(z, 0.4, 1))
show("infomax, two views", lambda z: infomax(z, 0.4, 2))
show("align-uniform", lambda z: align_uniform(z, 1.5))
show("classifier", lambda z: classifier(z, 0.1))
show("softmax", lambda z: softmax(z, 0.2))
