"""The learning rate that a network's depth asks for.

What a network computes is, to first order, a product of its layers. If a step changes what each of L layers makes of
its input by the share η, the product changes by up to (1 + η)^L - 1 of its own size: a bound in operator norms, where
the matrices are multiples of orthogonal ones and the activations' slopes are at most 1. Bernstein et al. 2020
(arXiv:2002.03432) show that a step along the gradient goes downhill as long as this is below 1. So η may be about 0.7/L
at most, and rates that suit a few layers ruin a hundred. (Jelassi et al. 2023, arXiv:2305.07810, find L^-3/2 for SGD in
ReLU networks, whose gradients themselves grow with depth.)

η depends on optimizer, width and gains, so it is measured: the case's own optimizer takes a first step on a batch, the
step is taken back, and each rate is multiplied by the largest factor that keeps the change within the product's size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NotApplicable
from ..learning import buffers_kept
from ..setup import Setup
from ..state import preserved
from ..trace.record import record
from ..trace.types import Operation, Trace
from .layers import Layer, layers_of

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

DOUBLED = math.log(2.0)
"""Of a product that changes by its own size."""
ROUNDS = 10
"""Of the power iteration. Steps have one direction that stands out, and then a few are enough."""


def for_depth(setup: Setup, batch: Any) -> Make:
    """What makes the setup's optimizer, with each learning rate multiplied by one factor, 1 at most."""
    make = setup.make_optimizer

    def make_for_depth(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        changes = _changes(setup, make, parameters, batch)
        factor = _factor(changes)
        optimizer = make(parameters)
        for group in rated(optimizer):
            group["lr"] *= factor
        setup.changes.append(_in_words(factor, changes))
        return optimizer

    return make_for_depth


def rated(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Its parameter groups. Raises NotApplicable where the optimizer has no learning rate."""
    if not all("lr" in group for group in optimizer.param_groups):
        raise NotApplicable(f"{type(optimizer).__name__} has no learning rate")
    return optimizer.param_groups


def _changes(setup: Setup, make: Make, parameters: list[nn.Parameter], batch: Any) -> list[float]:
    """The relative change of each layer along the trunk in a first step, which is taken back. A layer that is used
    several times is there as often; one that starts at zero, where the product has no size, is not."""
    before = {id(p): p.detach().clone() for p in parameters}
    try:
        with preserved(), buffers_kept(setup.model):
            trace = record(setup, batch)
            optimizer = make(parameters)
            if isinstance(optimizer, torch.optim.LBFGS):
                raise NotApplicable("LBFGS looks for the length of its steps itself")
            # A velocity sums up this many steps in one direction.
            lasting = {id(p): 1.0 / (1.0 - g.get("momentum", 0.0)) for g in rated(optimizer) for p in g["params"]}
            optimizer.step()
            with torch.no_grad():
                return [
                    lasting[id(layer.weight)] * _change(layer, op, mean, before)
                    for op, mean, layer in _trunk(setup.model, trace)
                    if id(layer.weight) in lasting and before[id(layer.weight)].any()
                ]
    finally:
        with torch.no_grad():
            for p in parameters:
                p.copy_(before[id(p)])
                p.grad = None


def _trunk(model: nn.Module, trace: Trace) -> Iterator[tuple[Operation, float, Layer]]:
    """The weighted operations that the signal passes through, first to last, the output's included; with each the mean
    of what it reads (0 where data enter, which is not recorded) and its layer."""
    layers = {layer.name: layer for layer in layers_of(model, trace)}
    last = (op for op in trace.operations if trace.path and op.kind == "weights" and trace.path[-1] in op.parents)
    for op in (*trace.hidden, *itertools.islice(last, 1)):
        if op.kind == "weights" and op.parameter in layers:
            mean = trace.operations[max(op.parents)].forward.mean if op.parents else 0.0
            yield op, mean, layers[op.parameter]


def _change(layer: Layer, op: Operation, mean: float, before: Mapping[int, Tensor]) -> float:
    """Of the layer's output, relative to it: the largest stretch of what varies in its input, over the root mean square
    of the stretches by the weights themselves; and, at right angles, the shift through the input's mean and the bias,
    which grows with the mean that an uncentred activation such as sigmoid has."""
    old = replace(layer, weight=before[id(layer.weight)]).matrices()[0].flatten(1).float()  # type: ignore[arg-type]
    step = layer.matrices()[0].flatten(1).float() - old
    stretch = _largest_stretch(step) * math.sqrt(min(old.shape)) / old.norm()
    shift = mean * step.sum(1)
    if layer.bias is not None and layer.bias.shape == shift.shape and id(layer.bias) in before:
        shift = shift + (layer.bias - before[id(layer.bias)]).float()
    return math.hypot(stretch.item(), shift.square().mean().sqrt().item() / (op.forward.rms or math.inf))


def _largest_stretch(matrix: Tensor) -> Tensor:
    """Its operator norm, by power iteration. 0 for a matrix of zeros."""
    scale = matrix.abs().max()  # the squares of a step of 1e-25 do not exist in float32
    matrix = matrix / torch.where(scale > 0, scale, 1.0)
    vector = torch.randn(matrix.shape[1], device=matrix.device)
    for _ in range(ROUNDS):
        vector = matrix.T @ (matrix @ torch.nn.functional.normalize(vector, dim=0))
    stretch: Tensor = scale * vector.norm().sqrt()
    return stretch


def _factor(changes: Sequence[float]) -> float:
    """The largest, 1 at most, for which the product of (1 + factor * change) is at most 2."""

    def fits(factor: float) -> bool:
        return sum(math.log1p(factor * change) for change in changes) <= DOUBLED

    if not all(map(math.isfinite, changes)):
        raise NotApplicable("its first step is not finite")
    low, high = 0.0, 1.0
    if fits(high):
        return high
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _in_words(factor: float, changes: Sequence[float]) -> str:
    if factor == 1.0:
        return f"learning rate kept: a step changes the product of {len(changes)} layers by less than its own size"
    return (
        f"learning rate multiplied by {factor:.2g}, so that a step changes the product of {len(changes)} layers by no "
        "more than its own size"
    )
