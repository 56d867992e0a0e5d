"""The numbers of the signals: what goes forward, where it is flat, what comes back, and what enters from the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .kinds import Flat
from .statistics import ALIKE, Collector, norms
from .types import Backward, Forward, Input
from .workspace import Workspace

SMALLEST, LARGEST = 2.0**-126, 2.0**126  # their reciprocals are normal numbers in float32


# -- forward -----------------------------------------------------------------------------------------------------------


def _alike_in_memory(t: Tensor) -> Any:
    return t.shape, t.dtype, t.device


def forward_collector(workspace: Workspace) -> Collector[Tensor]:
    """For outputs."""
    return Collector(_alike_in_memory, Tensor.numel, lambda outs: _forward(workspace.stack(outs, "signal")))


def forward(numbers: Sequence[float], flat: Sequence[float], shape: tuple[int, ...]) -> Forward:
    """The numbers of one output of this shape, in its own unit. flat: those of `flat_collector`, if it has any."""
    peak, norm, mean, spread = numbers
    unit = min(max(peak, SMALLEST), LARGEST)  # what it was divided by
    between = (spread / norm) ** 2 if norm else 0.0
    if flat and math.isnan(peak):
        flat = (math.nan, flat[1])
    rms = unit * norm / math.sqrt(max(1, math.prod(shape)))
    return Forward(rms, unit * mean, peak, between if shape[0] > 1 else math.nan, *flat)


def _forward(stack: Tensor) -> Tensor:
    """(k, samples, ...), to be overwritten -> (k, 4): peak, then norm, mean and spread in units of the peak."""
    rows = stack.view(len(stack), -1)
    peak = torch.maximum(rows.amax(1), rows.amin(1).neg_())  # vector_norm(inf) takes ten times as long on a CPU
    # Divided by its peak, which is wanted anyway, no square can leave float32, where norms are the fastest.
    rows.mul_(peak.clamp(SMALLEST, LARGEST).reciprocal_().unsqueeze(1))
    norm = torch.linalg.vector_norm(rows, dim=1)
    means = stack.mean(1, keepdim=True)
    # Centred first and squared then: a difference of moments could not tell 1e-14 from 0.
    spread = torch.linalg.vector_norm(stack.sub_(means).view(len(stack), -1), dim=1)
    return torch.stack((peak, norm, means.view(len(stack), -1).mean(1), spread), 1)


class Slopes(NamedTuple):
    """What tells where an activation is flat: its output, or its input where `flat.by_input`."""

    tensor: Tensor
    unit_axis: int
    flat: Flat


def flat_collector(workspace: Workspace) -> Collector[Slopes]:
    """For activations."""
    return Collector(
        key=lambda item: (*_alike_in_memory(item.tensor), item.unit_axis, id(item.flat)),
        size=lambda item: item.tensor.numel(),
        reduce=lambda items: _flat(
            workspace.stack([i.tensor for i in items], "signal"), items[0].unit_axis, items[0].flat
        ),
    )


def _flat(mask: Tensor, unit_axis: int, flat: Flat) -> Tensor:
    """(k, ...), to be overwritten -> (k, 2): share of entries that are flat, and share of units that are flat for every
    sample and position."""
    # Ones and zeros: comparisons that give booleans, and reductions of booleans, take ten times as long on a CPU.
    if flat.low == -math.inf:
        mask.ge_(flat.high)
    elif flat.high == math.inf:
        mask.le_(flat.low)
    else:
        mask.sub_((flat.low + flat.high) / 2).abs_().ge_((flat.high - flat.low) / 2)
    others = [axis for axis in range(1, mask.dim()) if axis != unit_axis + 1]
    per_unit = mask.mean(others) if others else mask
    return torch.stack((per_unit.mean(1), per_unit.ge(1).to(per_unit.dtype).mean(1)), 1)


# -- backward ----------------------------------------------------------------------------------------------------------


def backward_collector(workspace: Workspace) -> Collector[Tensor]:
    """For gradients."""
    return Collector(_alike_in_memory, Tensor.numel, lambda gradients: _backward(workspace.stack(gradients, "signal")))


def backward(numbers: Sequence[float]) -> Backward:
    norm, zeros = numbers
    return Backward(norm, math.nan if math.isnan(norm) else zeros)


def _backward(stack: Tensor) -> Tensor:
    norm = norms(stack)
    zeros = stack.eq_(0).view(len(stack), -1).mean(1)  # ones and zeros, as in `_flat`
    return torch.stack([norm, zeros], 1)


# -- inputs ------------------------------------------------------------------------------------------------------------


def input_collector() -> Collector[tuple[Tensor, int]]:
    return Collector(key=id, size=lambda item: item[0].numel(), reduce=lambda items: _input(*items[0]))


def input_signal(shape: tuple[int, ...], numbers: Sequence[float]) -> Input:
    rms, mean, *spreads = numbers
    return Input(shape, rms, mean, *(spreads if shape[0] > 1 else [math.nan] * 3))


def _input(x: Tensor, unit_axis: int) -> Tensor:
    features = x.float().movedim(unit_axis, -1).reshape(-1, x.shape[unit_axis])
    means = features.mean(0)
    variance = (features - means).square_().mean(0)  # several times as fast as `var` along this axis on a CPU
    deviation = variance.sqrt()
    varies = torch.where(deviation > ALIKE * means.abs(), deviation, math.inf).amin()
    smallest = torch.where(varies.isfinite(), varies, 0)
    spread = variance.mean()
    rms = (spread + means.square().mean()).sqrt()
    return torch.stack([rms, means.mean(), spread.sqrt(), deviation.amax(), smallest]).unsqueeze(0)
