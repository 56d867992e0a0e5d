"""From tensors to numbers, many operations at a time, on the device; one transfer to the host at the end.

A network of 40 small layers makes 80 small tensors, and a reduction over a small tensor costs its call, not its
arithmetic. So tensors are collected, stacked with others of the same shape, and reduced together. Large tensors fill
the collection at once and are reduced one by one, which keeps the memory bounded.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from .kinds import Flat
from .types import Backward, Forward, Input

PENDING_ELEMENTS = 1 << 21  # 8 MB in float32: what may wait, at most, beside a network's own memory
STACK_ELEMENTS = 1 << 16  # larger stacks leave the cache, and the allocator asks the system for fresh pages each time

T = TypeVar("T")
Numbers = dict[int, list[float]]


class Collector(Generic[T]):
    """Collects (index, item), reduces them in stacks of equal key, and gives numbers per index in the end."""

    def __init__(self, key: Callable[[T], Any], size: Callable[[T], int], reduce: Callable[[list[T]], Tensor]) -> None:
        self._key, self._size, self._reduce = key, size, reduce
        self._waiting: list[tuple[int, T]] = []
        self._elements = 0
        self._done: list[tuple[list[int], Tensor]] = []

    def add(self, index: int, item: T) -> None:
        self._waiting.append((index, item))
        self._elements += self._size(item)
        if self._elements > PENDING_ELEMENTS:
            self.flush()

    def flush(self) -> None:
        """Reduce what waits. Needed before anything overwrites a tensor that waits."""
        if not self._waiting:
            return
        groups: dict[Any, list[tuple[int, T]]] = defaultdict(list)
        for index, item in self._waiting:
            groups[self._key(item)].append((index, item))
        self._waiting, self._elements = [], 0
        with torch.no_grad():
            for group in groups.values():
                for part in chunks(group, self._size(group[0][1])):
                    self._done.append(([i for i, _ in part], self._reduce([item for _, item in part])))

    def numbers(self) -> Numbers:
        """All numbers, by index; the one place where the device is waited for."""
        self.flush()
        result: Numbers = {}
        by_width: dict[Any, list[tuple[list[int], Tensor]]] = defaultdict(list)
        for indices, table in self._done:
            by_width[table.shape[1], table.device].append((indices, table))
        for tables in by_width.values():
            rows = torch.cat([table for _, table in tables]).tolist()
            result.update(zip((i for indices, _ in tables for i in indices), rows, strict=True))
        return result


def chunks(items: list[T], size: int) -> Iterator[list[T]]:
    """`items` of `size` elements each, in runs of at most `STACK_ELEMENTS`."""
    count = max(1, STACK_ELEMENTS // max(1, size))
    return (items[k : k + count] for k in range(0, len(items), count))


# -- forward -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Out:
    """An output to be measured. flat: where its activation is flat, None for other operations. x: the activation's
    input, where `flat` is told from that."""

    tensor: Tensor
    unit_axis: int
    flat: Flat | None = None
    x: Tensor | None = None


def forward_collector() -> Collector[Out]:
    return Collector(
        key=lambda out: (out.tensor.shape, out.tensor.dtype, out.tensor.device, out.flat, out.unit_axis),
        size=lambda out: out.tensor.numel(),
        reduce=_forward,
    )


def forward(numbers: Sequence[float]) -> Forward:
    peak, rms, mean, between, *flatness = numbers
    return Forward(rms * peak, mean * peak, peak, between, *flatness)


def _forward(outs: list[Out]) -> Tensor:
    first = outs[0]
    stack = torch.stack([out.tensor for out in outs])
    scaled, peak = _scaled(stack)
    samples = scaled.shape[1]
    means = scaled.mean(1)
    size = math.sqrt(max(1, scaled[0].numel()))
    rms = _norm(scaled) / size
    spread = _norm(scaled - means.unsqueeze(1)) / size
    between = (spread / torch.where(rms > 0, rms, 1)).square()
    columns = [peak, rms, means.mean(1), between if samples > 1 else torch.full_like(between, math.nan)]
    if first.flat is not None:
        told_by = torch.stack([out.x for out in outs if out.x is not None]) if first.flat.by_input else stack
        columns += _flatness(told_by, first.flat, first.unit_axis)
    return torch.stack([column.float() for column in columns], 1)


def _flatness(stack: Tensor, flat: Flat, unit_axis: int) -> list[Tensor]:
    """Share of entries that are flat, and share of units that are flat for every sample and position; each (k,)."""
    # Ones are made with floor and ceil: on a CPU comparisons, and reductions of booleans, take ten times as long.
    if flat.low == -math.inf:
        mask = 1 - (flat.high - stack).clamp_(0, 1).ceil_()
    elif flat.high == math.inf:
        mask = 1 - (stack - flat.low).clamp_(0, 1).ceil_()
    else:
        middle, reach = (flat.low + flat.high) / 2, (flat.high - flat.low) / 2
        mask = (stack - middle).abs_().mul_(1 / reach).floor_().clamp_(max=1)
    per_unit = mask.movedim(unit_axis + 1, -1).flatten(1, -2).mean(1) if mask.dim() > 2 else mask
    return [per_unit.mean(1), (per_unit >= 1).float().mean(1)]


def _scaled(stack: Tensor) -> tuple[Tensor, Tensor]:
    """(k, n, ...) -> (k, n, d) divided by each item's largest magnitude, and that magnitude (k,).

    Squares of 1e-25 or 1e+25 leave float32; scaled first, they do not. Half precision is reduced in float32.
    """
    count = stack.shape[0]
    samples = stack.shape[1] if stack.dim() > 1 else 1
    flat = stack.reshape(count, samples, -1)
    if flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    rows = flat.reshape(count, -1)
    peak = torch.maximum(rows.amax(1), -rows.amin(1))  # vector_norm(inf) takes ten times as long on a CPU
    # Not x * (1 / peak), which overflows for a peak below 1e-38.
    return flat / torch.where((peak > 0) & peak.isfinite(), peak, 1).reshape(-1, 1, 1), peak


def _norm(flat: Tensor) -> Tensor:
    return torch.linalg.vector_norm(flat.reshape(len(flat), -1), dim=1)


# -- backward ----------------------------------------------------------------------------------------------------------


def backward_collector() -> Collector[Tensor]:
    return Collector(key=lambda g: (g.shape, g.dtype, g.device), size=Tensor.numel, reduce=_backward)


def backward(numbers: Sequence[float]) -> Backward:
    peak, relative, zeros = numbers
    return Backward(peak * relative if peak else 0.0, zeros)


def _backward(gradients: list[Tensor]) -> Tensor:
    scaled, peak = _scaled(torch.stack(gradients))
    norm = _norm(scaled)
    # All magnitudes are at most 1 now, so rounding them up leaves ones and zeros.
    nonzero = scaled.abs_().ceil_().reshape(len(scaled), -1).mean(1)
    return torch.stack([peak.float(), norm.float(), 1 - nonzero.float()], 1)


# -- parameters --------------------------------------------------------------------------------------------------------


class StepMeter:
    """What one optimizer step does to parameters. Make it before the step; the gradients must be there."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        groups: dict[Any, list[int]] = defaultdict(list)
        for i, p in enumerate(parameters):
            if p.grad is not None:
                groups[p.shape, p.dtype, p.device].append(i)
        self._groups = [part for group in groups.values() for part in chunks(group, parameters[group[0]].numel())]
        with torch.no_grad():
            self._before = [torch.stack([parameters[i] for i in part]) for part in self._groups]
            self._gradients = [torch.stack([_dense(parameters[i].grad) for i in part]) for part in self._groups]

    def numbers(self) -> Numbers:
        """After the step: per index of a parameter with a gradient, ‖w‖, ‖g‖ and ‖Δw‖ as pairs (scale, relative), then
        g·Δw, then 1 where the rows of w are all alike and so are those of g."""
        with torch.no_grad():
            tables = [
                _parameters(before, gradient, torch.stack([self._parameters[i] for i in part]))
                for part, before, gradient in zip(self._groups, self._before, self._gradients, strict=True)
            ]
            rows = torch.cat([table.to(tables[0].device) for table in tables]).tolist() if tables else []
        return dict(zip((i for part in self._groups for i in part), rows, strict=True))


def _dense(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.to_dense() if gradient.is_sparse else gradient


def _parameters(before: Tensor, gradient: Tensor, after: Tensor) -> Tensor:
    step = after.sub_(before)
    count = len(step)
    products = (gradient.reshape(count, -1) * step.reshape(count, -1)).sum(1)
    scaled = [_scaled(tensor) for tensor in (before, gradient, step)]
    norms = [column for tensor, peak in scaled for column in (peak, _norm(tensor))]
    alike = _rows_alike(scaled[0][0], before.dim()) * _rows_alike(scaled[1][0], before.dim())
    return torch.stack([column.float() for column in (*norms, products, alike)], 1)


def _rows_alike(scaled: Tensor, dimensions: int) -> Tensor:
    """(k, rows, d), largest magnitude 1 -> (k,): 1 where all rows are the same to rounding, else 0."""
    if dimensions < 3 or scaled.shape[1] < 2:
        return torch.zeros(len(scaled), device=scaled.device)
    apart = (scaled - scaled[:, :1]).abs_().flatten(1).amax(1)
    return (apart <= 1e-5).float()


# -- inputs ------------------------------------------------------------------------------------------------------------


def input_collector() -> Collector[tuple[Tensor, int]]:
    return Collector(key=id, size=lambda item: item[0].numel(), reduce=lambda items: _input(*items[0]))


def input_signal(shape: tuple[int, ...], numbers: Sequence[float]) -> Input:
    return Input(shape, *numbers)


def _input(x: Tensor, unit_axis: int) -> Tensor:
    features = x.float().movedim(unit_axis, -1).reshape(-1, x.shape[unit_axis])
    deviation = features.std(0, correction=0)
    varies = torch.where(deviation > 0, deviation, math.inf).amin()
    smallest = torch.where(varies.isfinite(), varies, 0)
    numbers = [features.square().mean().sqrt(), features.mean(), deviation.square().mean().sqrt(), deviation.amax()]
    return torch.stack([*numbers, smallest]).unsqueeze(0)
