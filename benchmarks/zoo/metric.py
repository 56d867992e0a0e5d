"""Networks that learn distances, and networks of coordinates."""

from __future__ import annotations

import math
from typing import Any

import torch
from benchmarks.zoo.activations import dense
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import adam, digits, generator, standard
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Distances and coordinates")


class Tower(nn.Module):
    """Unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dense(nn.ReLU, depth=2, outputs=16)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.net(x), dim=1)


@ZOO.add
def contrastive() -> Case:
    """two noisy views of a sample find each other among the others (InfoNCE)."""

    def step(model: nn.Module, x: Tensor) -> Tensor:
        a, b = (model(x + 0.3 * torch.randn_like(x)) for _ in range(2))
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(x)))

    data = lambda: digits()[0][torch.randperm(1797)[:1792]].split(64)  # noqa: E731
    return Case(Tower, data, step=step, optimizer=adam(3e-3))


class Siamese(nn.Module):
    """Distance of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = Tower()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return F.pairwise_distance(self.tower(a), self.tower(b))


@ZOO.add
def siamese() -> Case:
    """are two digits the same? contrastive loss with a margin."""
    x, y = digits()
    g = generator(30)
    a = torch.randint(0, len(y), (2000,), generator=g)
    mates = torch.stack([torch.nonzero(y == k)[:170, 0] for k in range(10)])
    mate = mates[y[a], torch.randint(0, 170, (2000,), generator=g)]
    b = torch.where(torch.rand(2000, generator=g) < 0.5, mate, torch.randint(0, len(y), (2000,), generator=g))
    same = (y[a] == y[b]).float()

    def loss(distance: Tensor, same: Tensor) -> Tensor:
        return (same * distance**2 + (1 - same) * F.relu(1 - distance) ** 2).mean()

    return Case(Siamese, ((x[a], x[b]), same), loss, optimizer=adam(3e-3))


@ZOO.add
def triplets() -> Case:
    """an anchor is nearer to its own class than to another."""
    x, y = digits()

    def batches() -> Any:
        for chosen in torch.randperm(1797)[:1792].split(64):
            order = torch.argsort(y[chosen], stable=True)
            anchor = chosen[order]
            yield x[anchor], x[anchor.roll(1)], x[anchor.roll(32)]

    return Case(
        Tower, batches, step=lambda model, b: F.triplet_margin_loss(*(model(part) for part in b)), optimizer=adam(3e-3)
    )


class Coordinates(nn.Module):
    """An image as a function of the place; the place as sines and cosines (NeRF)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dense(nn.ReLU, inputs=2 + 16, outputs=1)

    def forward(self, x: Tensor) -> Tensor:
        waves = (x[:, :, None] * math.pi * 2.0 ** torch.arange(4)).flatten(1)
        return self.net(torch.cat([x, waves.sin(), waves.cos()], 1))


class SineLayer(nn.Module):
    """sin(30 (W x + b)) with SIREN's initialisation."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


def _picture() -> tuple[Tensor, Tensor]:
    at = torch.linspace(-1, 1, 32)
    places = torch.cartesian_prod(at, at)
    radius = places.norm(dim=1, keepdim=True)
    return places, standard(torch.sin(8 * radius) + places[:, :1])


@ZOO.add
def coordinate_network() -> Case:
    """positional encoding, regression of an image."""
    return Case(Coordinates, _picture(), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def siren() -> Case:
    """sines of thirty times the signal."""
    model = lambda: nn.Sequential(SineLayer(2, 48, True), SineLayer(48, 48, False), nn.Linear(48, 1))  # noqa: E731
    return Case(model, _picture(), F.mse_loss, optimizer=adam(1e-3))


@ZOO.add
def physics_informed() -> Case:
    """y' = -2 y, y(0) = 1: the loss differentiates the network by its input."""

    def step(model: nn.Module, t: Tensor) -> Tensor:
        with torch.enable_grad():
            t = t.clone().requires_grad_()
            y = model(t)
            (slope,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        start = model(torch.zeros(1, 1))
        return (slope + 2 * y).square().mean() + (start - 1).square().mean()

    model = lambda: dense(nn.Tanh, nn.init.xavier_normal_, depth=2, inputs=1, outputs=1, width=24)  # noqa: E731
    return Case(model, lambda: [torch.rand(64, 1) for _ in range(16)], step=step, optimizer=adam(5e-3))
