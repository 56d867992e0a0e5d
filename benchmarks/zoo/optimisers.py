"""Optimisers, dtypes and regularisation."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from benchmarks.zoo.activations import dense, glorot
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import Optimizer, adam, adamw, digits, sgd, tabular
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Optimisers and precision")


def _optimizer(kind: Any, **options: Any) -> Optimizer:
    return lambda parameters: kind(parameters, **options)


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": sgd(0.1),
    "momentum": sgd(0.02, momentum=0.9),
    "nesterov": sgd(0.02, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "adam": adam(1e-3),
    "amsgrad": adam(1e-3, amsgrad=True),
    "adamw-decay-0.1": adamw(1e-3, weight_decay=0.1),  # tempts over-regularised
    "nadam": _optimizer(torch.optim.NAdam, lr=1e-3),
    "radam": _optimizer(torch.optim.RAdam, lr=3e-3),
    "adamax": _optimizer(torch.optim.Adamax, lr=3e-3),
    "rmsprop": _optimizer(torch.optim.RMSprop, lr=1e-3),
    "adagrad": _optimizer(torch.optim.Adagrad, lr=1e-2),
    "adadelta": _optimizer(torch.optim.Adadelta, lr=1.0),
    "adafactor": _optimizer(torch.optim.Adafactor, lr=1e-2),
    "asgd": _optimizer(torch.optim.ASGD, lr=0.1),
}

for _name, _make in OPTIMIZERS.items():
    _build = partial(Case, partial(dense, nn.ReLU), digits(), F.cross_entropy, optimizer=_make)
    ZOO.put(f"optimizer-{_name}", f"a ReLU network trained by {_name}", _build)


@ZOO.add
def optimizer_lbfgs() -> Case:
    """L-BFGS on the whole of a small data set."""
    make = _optimizer(torch.optim.LBFGS, lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
    x, y = tabular()
    return Case(
        lambda: dense(nn.Tanh, glorot, depth=1, inputs=8, outputs=1),
        (x[:256], y[:256]),
        F.mse_loss,
        optimizer=make,
        batch_size=256,
    )


@ZOO.add
def optimizer_rprop() -> Case:
    """Rprop on whole batches."""
    x, y = digits()
    make = _optimizer(torch.optim.Rprop, lr=1e-3)
    return Case(lambda: dense(nn.ReLU, depth=1), (x[:256], y[:256]), F.cross_entropy, optimizer=make, batch_size=256)


@ZOO.add
def optimizer_muon() -> Case:
    """Muon on weight matrices, without biases."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 48, bias=False), nn.ReLU(), nn.Linear(48, 10, bias=False))

    return Case(build, digits(), F.cross_entropy, optimizer=_optimizer(torch.optim.Muon, lr=0.02))


@ZOO.add
def parameter_groups() -> Case:
    """decay for matrices only, as for transformers."""

    def make(parameters: Any) -> torch.optim.Optimizer:
        parameters = list(parameters)
        matrices, vectors = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=1e-3)

    return Case(lambda: dense(nn.GELU), digits(), F.cross_entropy, optimizer=make)


@ZOO.add
def bfloat16_weights() -> Case:
    """weights and data in bfloat16 (tempts below-epsilon and gradient-underflow)."""
    x, y = digits()
    return Case(lambda: dense(nn.ReLU).bfloat16(), (x.bfloat16(), y), F.cross_entropy, optimizer=adam(1e-3))


@ZOO.add
def bfloat16_autocast() -> Case:
    """float32 weights, bfloat16 arithmetic."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        with torch.autocast("cpu", torch.bfloat16):
            return F.cross_entropy(model(x), y)

    return Case(lambda: dense(nn.ReLU), digits(), step=step, optimizer=adam(1e-3))


@ZOO.add
def float64_weights() -> Case:
    """double precision."""
    x, y = digits()
    return Case(lambda: dense(nn.ReLU).double(), (x.double(), y), F.cross_entropy, optimizer=adam(1e-3))


@ZOO.add
def clipped_gradients() -> Case:
    """gradients of parameters clipped by hooks on the tensors."""

    def build() -> nn.Module:
        model = dense(nn.ReLU)
        for parameter in model.parameters():
            parameter.register_hook(lambda g: g.clamp(-0.1, 0.1))
        return model

    return Case(build, digits(), F.cross_entropy, optimizer=sgd(0.1))


@ZOO.add
def heavy_dropout() -> Case:
    """half of the units dropped."""
    model = lambda: dense(lambda: nn.Sequential(nn.ReLU(), nn.Dropout(0.5)), width=128)  # noqa: E731
    return Case(model, digits(), F.cross_entropy, optimizer=adam(3e-3))


class StochasticDepth(nn.Module):
    """Residual blocks that are left out at random, a whole batch at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 48), nn.Linear(48, 10)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.ReLU()) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            if not self.training or torch.rand(()) < 0.7:
                x = x + block(x)
        return self.head(x)


@ZOO.add
def stochastic_depth() -> Case:
    """blocks left out at random: parameters without a gradient in some steps (tempts no-gradient)."""
    return Case(StochasticDepth, digits(), F.cross_entropy)


@ZOO.add
def l1_penalty() -> Case:
    """a small penalty on the size of the weights (tempts over-regularised)."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        x, y = batch
        return F.cross_entropy(model(x), y) + 1e-4 * sum(p.abs().sum() for p in model.parameters())

    return Case(lambda: dense(nn.ReLU), digits(), step=step, optimizer=adam(3e-3))
