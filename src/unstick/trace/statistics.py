"""From tensors to numbers, many operations at a time, on the device; one transfer to the host at the end.

A network of 40 small layers makes 80 small tensors, and a reduction over a small tensor costs its call, not its
arithmetic. So tensors are collected, stacked with others of the same shape, and reduced together. Large tensors fill
the collection at once and are reduced one by one, which keeps the memory bounded.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from .kinds import ACTIVATIONS
from .types import Backward, Forward, Input

PENDING_ELEMENTS = 1 << 21  # 8 MB in float32: what may wait, at most, beside a network's own memory
FLAT = 0.01  # a slope below 1 % of the largest is called flat

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
                self._done.append(([i for i, _ in group], self._reduce([item for _, item in group])))

    def numbers(self) -> Numbers:
        """All numbers, by index; the one place where the device is waited for."""
        self.flush()
        result: Numbers = {}
        by_width: dict[Any, list[tuple[list[int], Tensor]]] = defaultdict(list)
        for indices, table in self._done:
            by_width[table.shape[1], table.device].append((indices, table))
        for chunks in by_width.values():
            rows = torch.cat([table for _, table in chunks]).tolist()
            result.update(zip((i for indices, _ in chunks for i in indices), rows, strict=True))
        return result


# -- forward -----------------------------------------------------------------------------------------------------------

Out = tuple[Tensor, str | None, int, Tensor | None]
"""(output, name of the activation whose slope is to be measured or None, unit axis, its input where needed)."""


def forward_collector() -> Collector[Out]:
    return Collector(
        key=lambda item: (item[0].shape, item[0].dtype, item[0].device, item[1], item[2]),
        size=lambda item: item[0].numel(),
        reduce=_forward,
    )


def forward(numbers: Sequence[float]) -> Forward:
    peak, rms, mean, between, *slopes = numbers
    return Forward(rms * peak, mean * peak, peak, between, *slopes)


def _forward(items: list[Out]) -> Tensor:
    _, name, unit_axis, _ = items[0]
    stack = torch.stack([out for out, *_ in items])
    flat, peak = _scaled(stack)
    count, samples = flat.shape[:2]
    means = flat.mean(1)
    size = math.sqrt(max(1, flat[0].numel()))
    rms = _norm(flat) / size
    spread = _norm(flat - means.unsqueeze(1)) / size
    between = (spread / torch.where(rms > 0, rms, 1)).square()
    columns = [peak, rms, means.mean(1), between if samples > 1 else torch.full_like(between, math.nan)]
    slope = ACTIVATIONS[name] if name else None
    if slope is not None:
        inputs = torch.stack([x for *_, x in items if x is not None]) if items[0][3] is not None else stack
        flatness = (slope(inputs, stack).float() < FLAT).movedim(unit_axis + 1, -1).reshape(count, -1, _units(items[0]))
        columns += [flatness.float().mean((1, 2)), flatness.all(1).float().mean(1)]
    return torch.stack([c.float() for c in columns], 1)


def _units(item: Out) -> int:
    return item[0].shape[item[2]]


def _scaled(stack: Tensor) -> tuple[Tensor, Tensor]:
    """(k, n, ...) -> (k, n, d) divided by each item's largest magnitude, and that magnitude (k,).

    Squares of 1e-25 or 1e+25 leave float32; scaled first, they do not. Half precision is reduced in float32.
    """
    count = stack.shape[0]
    samples = stack.shape[1] if stack.dim() > 1 else 1
    flat = stack.reshape(count, samples, -1)
    if flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    peak = torch.linalg.vector_norm(flat.reshape(count, -1), math.inf, dim=1)
    # x * (1 / peak) overflows where 1 / peak does, below 1e-38, so this is a division.
    return flat / torch.where((peak > 0) & peak.isfinite(), peak, 1).reshape(-1, 1, 1), peak


def _norm(flat: Tensor) -> Tensor:
    return torch.linalg.vector_norm(flat.reshape(len(flat), -1), dim=1)


# -- backward ----------------------------------------------------------------------------------------------------------


def backward_collector() -> Collector[Tensor]:
    return Collector(key=lambda g: (g.shape, g.dtype, g.device), size=Tensor.numel, reduce=_backward)


def backward(numbers: Sequence[float]) -> Backward:
    peak, relative, zeros = numbers
    return Backward(peak * relative if peak else 0.0, zeros)


def _backward(items: list[Tensor]) -> Tensor:
    flat, peak = _scaled(torch.stack(items))
    nonzero = torch.count_nonzero(flat.reshape(len(flat), -1), dim=1)
    return torch.stack([peak.float(), _norm(flat).float(), 1 - nonzero / max(1, flat[0].numel())], 1)


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
