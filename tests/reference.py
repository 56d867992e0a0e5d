"""Slow, obvious oracles for what the trace measures: plain autograd on hand-written chains, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unstick.trace.types import Trace

Step = Callable[[Tensor], Tensor]


def chain(steps: Sequence[Step], x: Tensor) -> list[Tensor]:
    """The outputs of `steps`, applied one after another."""
    outputs = []
    for step in steps:
        x = step(x)
        outputs.append(x)
    return outputs


def gradient_norms(outputs: Sequence[Tensor], loss: Tensor) -> list[float]:
    """‖dL/dh‖ for each of `outputs`, summed entry by entry where squares would underflow."""
    return [norm(g) for g in torch.autograd.grad(loss, list(outputs), retain_graph=True)]


def norm(tensor: Tensor) -> float:
    return math.hypot(*tensor.double().flatten().tolist())


def rms(h: Tensor) -> float:
    return norm(h) / math.sqrt(h.numel())


def mean(h: Tensor) -> float:
    return math.fsum(h.double().flatten().tolist()) / h.numel()


def peak(h: Tensor) -> float:
    return max(abs(v) for v in h.double().flatten().tolist())


def between(h: Tensor) -> float:
    """Share of the second moment that differs between samples."""
    h = h.double()
    centre = h.mean(0)
    return sum(float((row - centre).square().sum()) for row in h) / float(h.square().sum())


def flat(activation: Step, x: Tensor, steepest: float) -> Tensor:
    """Where |f'| is below 1 % of its maximum, by forward-mode differentiation. `steepest`: that maximum."""
    x = x.detach().double()
    with forward_ad.dual_level():
        slope = forward_ad.unpack_dual(activation(forward_ad.make_dual(x, torch.ones_like(x)))).tangent
    return slope.abs() < 0.01 * steepest


def saturated(activation: Step, x: Tensor, steepest: float) -> float:
    return float(flat(activation, x, steepest).double().mean())


def dead(activation: Step, x: Tensor, steepest: float, unit_axis: int) -> float:
    """Share of units that are flat for every sample and at every position."""
    units = flat(activation, x, steepest).movedim(unit_axis, 0).flatten(1)
    return sum(bool(unit.all()) for unit in units) / len(units)


def attenuation(trace: Trace) -> dict[str, float]:
    """Decades lost along the path of a chain without branches, by kind, from the measured norms alone."""
    parts = dict.fromkeys(("activation", "weights", "normalisation", "other"), 0.0)
    for before, after in zip(trace.hidden, trace.hidden[1:], strict=False):
        assert before.backward is not None
        assert after.backward is not None
        parts[after.kind] += math.log10(after.backward.norm / before.backward.norm)
    return parts
