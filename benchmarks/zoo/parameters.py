"""Parameters that are frozen, adapted, shared, sparse, normalised or unused."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.zoo.activations import dense, glorot
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import adam, digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from unstick import Case

ZOO = Collection("Parameters")


@ZOO.add
def frozen_backbone() -> Case:
    """random features that stay, a head that learns (tempts no-gradient, not-in-optimizer)."""

    def build() -> nn.Module:
        model = dense(nn.ReLU)
        for parameter in model[:4].parameters():
            parameter.requires_grad_(False)
        return model

    return Case(build, digits(), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def optimizer_of_the_head_only() -> Case:
    """all parameters need gradients, the optimizer was given the head alone, on purpose (tempts not-in-optimizer)."""

    def make(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(list(parameters)[-2:], lr=3e-3)

    return Case(lambda: dense(nn.ReLU), digits(), F.cross_entropy, optimizer=make)


class LowRankAdapter(nn.Module):
    """A frozen layer and a low-rank update that starts at zero (LoRA)."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(4, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T


@ZOO.add
def low_rank_adapters() -> Case:
    """LoRA: half of each adapter starts at zero."""

    def build() -> nn.Module:
        layers = [LowRankAdapter(m) if isinstance(m, nn.Linear) else m for m in dense(nn.ReLU)]
        return nn.Sequential(*layers)

    return Case(build, digits(), F.cross_entropy, optimizer=adam(1e-2))


class SeveralHeads(nn.Module):
    """Two heads, of which this data set trains one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = dense(nn.ReLU, depth=2, outputs=48)
        self.heads = nn.ModuleDict({"digits": nn.Linear(48, 10), "letters": nn.Linear(48, 26)})

    def forward(self, x: Tensor) -> Tensor:
        return self.heads["digits"](F.relu(self.body(x)))


@ZOO.add
def unused_head() -> Case:
    """a second head that this data set does not use (tempts no-gradient)."""
    return Case(SeveralHeads, digits(), F.cross_entropy, optimizer=adam(3e-3))


class TwoTasks(nn.Module):
    """Two heads, both trained; the outputs are a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.body = dense(nn.ReLU, depth=2, outputs=48)
        self.digit, self.parity = nn.Linear(48, 10), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.relu(self.body(x))
        return {"digit": self.digit(h), "parity": self.parity(h)}


@ZOO.add
def two_tasks() -> Case:
    """a dictionary of outputs, a loss for each."""

    def loss(out: dict[str, Tensor], y: Tensor) -> Tensor:
        parity = F.binary_cross_entropy_with_logits(out["parity"][:, 0], (y % 2).float())
        return F.cross_entropy(out["digit"], y) + 0.5 * parity

    return Case(TwoTasks, digits(), loss, optimizer=adam(3e-3))


@ZOO.add
def weight_norm() -> Case:
    """weights as length times direction."""

    def build() -> nn.Module:
        return nn.Sequential(
            *(parametrizations.weight_norm(m) if isinstance(m, nn.Linear) else m for m in dense(nn.ReLU))
        )

    return Case(build, digits(), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def spectral_norm() -> Case:
    """weights divided by their largest singular value."""

    def build() -> nn.Module:
        return nn.Sequential(
            *(parametrizations.spectral_norm(m) if isinstance(m, nn.Linear) else m for m in dense(nn.LeakyReLU))
        )

    return Case(build, digits(), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def orthogonal_weights() -> Case:
    """weights kept orthogonal by a parametrisation."""

    def build() -> nn.Module:
        model = dense(nn.Tanh, glorot, width=32, depth=2)
        parametrizations.orthogonal(model[2])
        return model

    return Case(build, digits(), F.cross_entropy, optimizer=adam(3e-3))
