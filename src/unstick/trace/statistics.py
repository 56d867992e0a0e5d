"""From tensors to numbers, many operations at a time, on the device; one transfer to the host at the end.

A network of 40 small layers makes 80 small tensors, and a reduction over a small tensor costs its call, not its
arithmetic. So tensors are collected, stacked with others of the same shape, and reduced together. Large tensors fill
the collection at once and are reduced one by one, which keeps the memory bounded. Stacks are copies that belong to the
measurement, so each of them is worked on in place.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from .workspace import Workspace

PENDING_ELEMENTS = 1 << 21  # 8 MB in float32: what may wait, at most, beside a network's own memory

STACK_ELEMENTS = 1 << 19  # 2 MB in float32: about a processor's cache
ALIKE = 1e-5  # of the largest magnitude: above rounding

T = TypeVar("T")
Numbers = dict[int, list[float]]
Measured = list[tuple[list[int], Tensor]]
"""Tables on the device, each (k, width), with the k indices that its rows belong to."""


class Collector(Generic[T]):
    """Collects (index, item), and reduces them in stacks of equal key."""

    def __init__(self, key: Callable[[T], Any], size: Callable[[T], int], reduce: Callable[[list[T]], Tensor]) -> None:
        self._key, self._size, self._reduce = key, size, reduce
        self._waiting: list[tuple[int, T]] = []
        self._elements = 0
        self._done: Measured = []

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

    def measured(self) -> Measured:
        self.flush()
        return self._done


def fetch(*measured: Measured) -> list[Numbers]:
    """Everything as numbers, by index, with one transfer: the one place where the device is waited for."""
    tables = [table for part in measured for _, table in part]
    if not tables:
        return [{} for _ in measured]
    device = tables[0].device
    values = torch.cat([table.detach().reshape(-1).to(device) for table in tables]).tolist()
    position, result = 0, []
    for part in measured:
        numbers: Numbers = {}
        for indices, table in part:
            width = table.shape[1]
            for index in indices:
                numbers[index] = values[position : position + width]
                position += width
        result.append(numbers)
    return result


def chunks(items: list[T], size: int) -> Iterator[list[T]]:
    """`items` of `size` elements each, in runs of at most `STACK_ELEMENTS`."""
    count = max(1, STACK_ELEMENTS // max(1, size))
    return (items[k : k + count] for k in range(0, len(items), count))


def norms(stack: Tensor) -> Tensor:
    """Euclidean norm of each item (k,). Squares of 1e-25 or 1e+25 leave float32, so they are summed in float64."""
    dtype = None if stack.device.type == "mps" else torch.float64  # which MPS has not
    found: Tensor = torch.linalg.vector_norm(stack.reshape(len(stack), -1), dim=1, dtype=dtype)
    return found


# -- parameters --------------------------------------------------------------------------------------------------------


class Move(NamedTuple):
    """What a step did to a parameter: ‖w‖ before it, ‖g‖ and ‖Δw‖. one, other: the first entries of the first two rows
    of w; NaN where there are no two rows."""

    weight: float
    gradient: float
    step: float
    one: float = math.nan
    other: float = math.nan

    @property
    def perhaps_alike(self) -> bool:
        """Whether `rows_alike` could be true, which costs more to find out."""
        return abs(self.one - self.other) <= ALIKE * self.weight


def move(numbers: Sequence[float]) -> Move:
    return Move(*numbers)


def rows_alike(matrix: Tensor | None) -> bool:
    """Whether all rows of a matrix, or of a gradient, are the same to rounding."""
    rows = _dense(matrix).detach().flatten(1)
    return bool((rows - rows[0]).abs().amax() <= ALIKE * rows.abs().amax())


class _Part(NamedTuple):
    """Parameters of one shape before a step: their indices, and (k, ...) weights and gradients. version: of the
    gradient, where it is not a copy but the parameter's own."""

    indices: list[int]
    weights: Tensor
    gradients: Tensor
    norm: Tensor  # of each gradient
    version: int


class StepMeter:
    """Measures one optimizer step. Make it before the step; the gradients must be there."""

    def __init__(self, parameters: Sequence[Tensor], workspace: Workspace) -> None:
        self._parameters, self._workspace = parameters, workspace
        groups: dict[Any, list[int]] = defaultdict(list)
        for i, p in enumerate(parameters):
            if p.grad is not None:
                groups[p.shape, p.dtype, p.device].append(i)
        with torch.no_grad():
            parts = (part for group in groups.values() for part in chunks(group, parameters[group[0]].numel()))
            self._parts = [self._before(number, part) for number, part in enumerate(parts)]

    def _before(self, number: int, indices: list[int]) -> _Part:
        weights = self._workspace.stack(_real([self._parameters[i] for i in indices]), ("weights", number))
        live = _real([_dense(self._parameters[i].grad) for i in indices])
        gradients = self._workspace.joined(live, ("gradients", number))
        return _Part(indices, weights, gradients, norms(gradients), live[0]._version)

    def measured(self) -> Measured:
        """After the step, once: for each parameter with a gradient the numbers of its `Move`."""
        with torch.no_grad():
            return [(part.indices, self._after(part)) for part in self._parts]

    def promised(self) -> float:
        """After the step: g·Δw over all parameters, by which the loss should change to first order. NaN where the
        optimizer has changed g itself, by clipping it, say."""
        if any(len(part.indices) == 1 and part.gradients._version != part.version for part in self._parts):
            return math.nan
        with torch.no_grad():
            return sum(self._step(part).mul_(part.gradients).sum().item() for part in self._parts)

    def _after(self, part: _Part) -> Tensor:
        table = torch.stack([norms(part.weights), part.norm, norms(self._step(part))], 1)
        if part.weights.dim() < 3 or part.weights.shape[1] < 2:
            return table
        return torch.cat([table, part.weights.flatten(2)[:, :2, 0]], 1)

    def _step(self, part: _Part) -> Tensor:
        after = self._workspace.joined(_real([self._parameters[i] for i in part.indices]), "after")
        return torch.sub(after, part.weights, out=self._workspace.empty(len(after), after[0], "step"))


def _dense(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.to_dense() if gradient.is_sparse else gradient


def _real(alike: list[Tensor]) -> list[Tensor]:
    """Complex tensors as pairs of real numbers along the last axis, (..., n) -> (..., 2 n), in the same memory: norms
    stay what they are, and the product of a gradient and a step is the change of the loss."""
    if not alike[0].is_complex():
        return alike
    return [torch.view_as_real(t.resolve_conj()).reshape(*t.shape[:-1], -1) for t in alike]
