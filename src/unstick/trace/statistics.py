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

from .kinds import Flat
from .types import Backward, Forward, Input
from .workspace import Workspace, copied

PENDING_ELEMENTS = 1 << 21  # 8 MB in float32: what may wait, at most, beside a network's own memory

STACK_ELEMENTS = 1 << 18  # 1 MB in float32: stays in a processor's cache
ALIKE = 1e-5  # of the largest magnitude: above rounding

# Squares of 1e-25 or 1e+25 leave float32, so everything is divided by its largest magnitude first; by one between
# these, since their reciprocals are normal numbers, and to multiply takes less than half as long as to divide.
SMALLEST, LARGEST = 2.0**-126, 2.0**126

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


def fetch(scalar: Tensor, *measured: Measured) -> tuple[float, list[Numbers]]:
    """Everything as numbers, by index, with one transfer: the one place where the device is waited for."""
    tables = [scalar.detach(), *(table for part in measured for _, table in part)]
    values = torch.cat([table.reshape(-1).to(scalar.device) for table in tables]).tolist()
    position, result = 1, []
    for part in measured:
        numbers: Numbers = {}
        for indices, table in part:
            width = table.shape[1]
            for index in indices:
                numbers[index] = values[position : position + width]
                position += width
        result.append(numbers)
    return values[0], result


def chunks(items: list[T], size: int) -> Iterator[list[T]]:
    """`items` of `size` elements each, in runs of at most `STACK_ELEMENTS`."""
    count = max(1, STACK_ELEMENTS // max(1, size))
    return (items[k : k + count] for k in range(0, len(items), count))


# -- forward -----------------------------------------------------------------------------------------------------------


class Out(NamedTuple):
    """An output to be measured. flat: where its activation is flat, None for other operations. x: the activation's
    input, where `flat` is told from that."""

    tensor: Tensor
    unit_axis: int
    flat: Flat | None = None
    x: Tensor | None = None


def forward_collector(workspace: Workspace) -> Collector[Out]:
    return Collector(
        key=lambda out: (out.tensor.shape, out.tensor.dtype, out.tensor.device, id(out.flat), out.unit_axis),
        size=lambda out: out.tensor.numel(),
        reduce=lambda outs: _forward(outs, workspace),
    )


def forward(numbers: Sequence[float], shape: tuple[int, ...]) -> Forward:
    """The numbers of one output of this shape, in its own unit."""
    peak, norm, mean, spread, *flatness = numbers
    unit = _unit(peak)
    between = (spread / norm) ** 2 if norm else 0.0
    if flatness and math.isnan(peak):
        flatness[0] = math.nan
    rms = unit * norm / math.sqrt(max(1, math.prod(shape)))
    return Forward(rms, unit * mean, peak, between if shape[0] > 1 else math.nan, *flatness)


def _forward(outs: list[Out], workspace: Workspace) -> Tensor:
    whole = workspace.stack([out.tensor for out in outs], "signal")
    flatness = _flatness(outs, whole, workspace)
    stack = whole.flatten(2) if whole.dim() > 2 else whole.unsqueeze(2)
    peak = _scale(stack)
    norm = _norm(stack)
    means = stack.mean(1, keepdim=True)
    # Centred first and squared then: a difference of moments could not tell 1e-14 from 0.
    columns = (peak, norm, means.flatten(1).mean(1), _norm(stack.sub_(means)), *flatness)
    return torch.stack(columns, 1).float()


def _flatness(outs: list[Out], whole: Tensor, workspace: Workspace) -> tuple[Tensor, ...]:
    """Share of entries that are flat, and share of units that are flat for every sample and position; each (k,).

    whole: the stacked outputs. Nothing for operations that are no activations.
    """
    flat, unit_axis = outs[0].flat, outs[0].unit_axis
    if flat is None:
        return ()
    if flat.by_input:
        mask = workspace.stack([out.x for out in outs if out.x is not None], "flat")
    else:
        mask = workspace.empty(len(outs), outs[0].tensor, "flat").copy_(whole)
    # Ones and zeros: comparisons that give booleans, and reductions of booleans, take ten times as long on a CPU.
    if flat.low == -math.inf:
        mask.ge_(flat.high)
    elif flat.high == math.inf:
        mask.le_(flat.low)
    else:
        mask.sub_((flat.low + flat.high) / 2).abs_().ge_((flat.high - flat.low) / 2)
    others = [axis for axis in range(1, mask.dim()) if axis != unit_axis + 1]
    per_unit = mask.mean(others) if others else mask
    return per_unit.mean(1), per_unit.ge(1).to(per_unit.dtype).mean(1)


def _scale(stack: Tensor) -> Tensor:
    """Divide each item by its `_unit`, in place, and return its largest magnitude (k,)."""
    rows = stack.view(len(stack), -1)
    peak = torch.maximum(rows.amax(1), rows.amin(1).neg_())  # vector_norm(inf) takes ten times as long on a CPU
    rows.mul_(_reciprocal(peak))
    return peak


def _reciprocal(peak: Tensor) -> Tensor:
    return peak.clamp(SMALLEST, LARGEST).reciprocal_().unsqueeze(1)


def _unit(peak: float) -> float:
    """What an item with this largest magnitude was divided by."""
    return min(max(peak, SMALLEST), LARGEST)


def _norm(stack: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(stack.view(len(stack), -1), dim=1)
    return norm


# -- backward ----------------------------------------------------------------------------------------------------------


def backward_collector(workspace: Workspace) -> Collector[Tensor]:
    return Collector(
        key=lambda g: (g.shape, g.dtype, g.device),
        size=Tensor.numel,
        reduce=lambda gradients: _backward(workspace.stack(gradients, "signal")),
    )


def backward(numbers: Sequence[float]) -> Backward:
    peak, norm, zeros = numbers
    return Backward(_unit(peak) * norm, math.nan if math.isnan(peak) else zeros)


def _backward(stack: Tensor) -> Tensor:
    peak = _scale(stack)
    norm = _norm(stack)
    zeros = stack.eq_(0).view(len(stack), -1).mean(1)  # ones and zeros, as in `_flatness`
    return torch.stack([peak, norm, zeros], 1).float()


# -- parameters --------------------------------------------------------------------------------------------------------


class Move(NamedTuple):
    """What a step did to a parameter: ‖w‖ before it, ‖g‖, ‖Δw‖ and g·Δw. alike: all rows of w are the same to rounding,
    and so are those of g."""

    weight: float
    gradient: float
    step: float
    product: float
    alike: bool


def move(numbers: Sequence[float]) -> Move:
    peaks, norms, apart = numbers[0:3], numbers[3:6], numbers[6:9]
    weight, gradient, step = (_unit(peak) * norm for peak, norm in zip(peaks, norms, strict=True))
    alike = all(distance <= ALIKE * peak for distance, peak in zip(apart[:2], peaks[:2], strict=True))
    return Move(weight, gradient, step, numbers[9], alike)


class StepMeter:
    """Measures one optimizer step. Make it before the step; the gradients must be there."""

    def __init__(self, parameters: Sequence[Tensor], workspace: Workspace) -> None:
        self._parameters, self._workspace = parameters, workspace
        groups: dict[Any, list[int]] = defaultdict(list)
        for i, p in enumerate(parameters):
            if p.grad is not None:
                groups[p.shape, p.dtype, p.device].append(i)
        self._stacks: list[tuple[list[int], Tensor]] = []
        with torch.no_grad():
            for group in groups.values():
                for part in chunks(group, 2 * parameters[group[0]].numel()):
                    # (3k, ...): weights, gradients (an optimizer may change them), and room for the step
                    stack = workspace.empty(3 * len(part), parameters[part[0]], ("step", len(self._stacks)))
                    before = [parameters[i] for i in part] + [_dense(parameters[i].grad) for i in part]
                    copied(before, stack[: 2 * len(part)])
                    self._stacks.append((part, stack))

    def measured(self) -> Measured:
        """After the step, once: for each parameter with a gradient the numbers that `move` reads."""
        with torch.no_grad():
            for part, stack in self._stacks:
                after = copied([self._parameters[i] for i in part], stack[2 * len(part) :])
                after.sub_(stack[: len(part)])
            return [(part, _steps(stack, self._workspace)) for part, stack in self._stacks]


def _dense(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.to_dense() if gradient.is_sparse else gradient


def _steps(stack: Tensor, workspace: Workspace) -> Tensor:
    """(3k, ...): weights, gradients, steps -> (k, 10): three times peak, norm, distance of rows; the product."""
    count = len(stack) // 3
    flat = stack.view(3, count, -1)
    products = torch.mul(flat[1], flat[2], out=workspace.empty(count, flat[0, 0], "signal")).sum(1, keepdim=True).T
    if stack.dim() < 3 or stack.shape[1] < 2:
        peak = _scale(stack)
        apart = torch.full_like(peak, math.inf)
    else:
        rows = stack.flatten(2)
        high, low, first = rows.amax(1), rows.amin(1), rows[:, 0]
        apart = torch.maximum(high - first, first - low).amax(1)
        peak = torch.maximum(high, low.neg_()).amax(1)
        flat.view(3 * count, -1).mul_(_reciprocal(peak))
    return torch.cat([column.view(3, count) for column in (peak, _norm(stack), apart)] + [products]).T.float()


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
