"""The best output that ignores its input: what a network has to beat to have learned anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .batches import tensors
from .errors import CaseError

Outputs = Sequence[tuple[Any, Any]]
"""(outputs, targets) per batch."""

REFUSALS = (RuntimeError, ValueError, IndexError, CaseError)  # what losses raise on values outside their range


def constant_losses(outputs: Outputs, criterion: Any) -> list[float] | None:
    """Loss per batch of the best output that is the same for every sample; None where outputs are no tensors.

    The constant is fitted to these very batches, so it is as good as a constant can be. It keeps to the range that
    the network's own outputs keep to: a softmax output competes with a constant distribution, not with numbers that
    no softmax could give. For outputs with more than two axes it is the same at every position, too: the units then
    lie along the axis of the distribution; where there is none, along the second or the last, whichever fits better.
    """
    if not all(isinstance(out, Tensor) and out.is_floating_point() and out.dim() for out, _ in outputs):
        return None
    if len({out.dim() for out, _ in outputs}) > 1 or not all(finite(out) for out, _ in outputs):
        return None
    found = [_fitted(outputs, criterion, axis, span) for axis, span in _choices([out for out, _ in outputs])]
    return min((losses for losses in found if losses is not None), key=average, default=None)


def _choices(samples: Sequence[Tensor]) -> list[tuple[int, Span]]:
    """The axes along which units may lie, each with the map from free numbers onto the range that the outputs keep."""
    last = samples[0].dim() - 1
    axes = sorted({min(1, last), last})
    # All samples have as many units.
    axes = [a for a in axes if a == 0 or len({s.shape[a] for s in samples}) == 1]
    for axis in axes:
        if axis and samples[0].shape[axis] > 1:
            if all(_distributions(s, axis) for s in samples):
                return [(axis, Span(partial(torch.softmax, dim=axis), lambda p: p.clamp(min=1e-6).log()))]
            if all(bool((s <= 0).all()) and _distributions(s.exp(), axis) for s in samples):
                return [(axis, Span(partial(torch.log_softmax, dim=axis), _same))]
    inside = all(bool((s >= 0).all() and (s <= 1).all()) for s in samples)
    span = Span(torch.sigmoid, lambda p: p.clamp(1e-6, 1 - 1e-6).logit()) if inside else Span(_same, _same)
    return [(axis, span) for axis in axes]


@dataclass(frozen=True)
class Span:
    """A range of outputs: the map from free numbers onto it, and its inverse."""

    onto: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


def _same(x: Tensor) -> Tensor:
    return x


def _distributions(sample: Tensor, axis: int) -> bool:
    if not bool((sample >= 0).all() and (sample <= 1).all()):
        return False
    tolerance = 1e-3 if sample.dtype.itemsize >= 4 else 1e-2
    return bool(((sample.double().sum(axis) - 1).abs() < tolerance).all())


def _fitted(outputs: Outputs, criterion: Any, axis: int, span: Span) -> list[float] | None:
    """Losses of the best constant whose units lie along `axis`."""

    def losses(free: Tensor, pairs: Outputs) -> Tensor:
        # Contiguous, since the user's loss may want to change its shape.
        constants = [span.onto(free).to(out.dtype).expand_as(out).contiguous() for out, _ in pairs]
        return torch.stack([criterion(c, t).reshape(()) for c, (_, t) in zip(constants, pairs, strict=True)])

    starts = _starts(outputs, axis, span)
    merged = _merged(outputs)
    best = minimise(starts, lambda free: losses(free, merged))
    if best is None and len(merged) < len(outputs):  # a loss that takes batches of its own size only
        merged, best = outputs, minimise(starts, lambda free: losses(free, outputs))
    if best is None:
        return None
    # All batches in one call is faster, and means the same for nearly every loss; look whether it does here.
    found = losses(best[0], outputs).detach()
    if len(merged) == 1 and not math.isclose(found.double().mean().item(), best[1], rel_tol=1e-4, abs_tol=1e-6):
        best = minimise([*starts, best[0]], lambda free: losses(free, outputs)) or best
        found = losses(best[0], outputs).detach()
    return numbers(list(found))


def _merged(outputs: Outputs) -> Outputs:
    """All batches as one, where their shapes allow."""
    alike = all(isinstance(t, Tensor) and t.dim() for _, t in outputs)
    shapes = {(len(o), o.shape[1:], o.dtype, t.shape, t.dtype) for o, t in outputs} if alike else set()
    if len(shapes) != 1:
        return outputs
    return [(torch.cat([out for out, _ in outputs]), torch.cat([target for _, target in outputs]))]


def _starts(outputs: Outputs, axis: int, span: Span) -> list[Tensor]:
    """Free numbers to start from: the mean output, zero, and where targets are shaped like outputs, their middle.

    A network that has diverged gives huge outputs, from which no search comes back.
    """

    def middle(values: Sequence[Tensor], of: Callable[[Tensor], Tensor]) -> Tensor:
        rows = torch.cat(
            [v.detach().double().movedim(axis, -1).reshape(-1, v.shape[axis] if axis else 1) for v in values]
        )
        shape = [1] * outputs[0][0].dim()
        shape[axis] = rows.shape[1]
        return of(rows).reshape(shape)

    mean = middle([out for out, _ in outputs], lambda rows: rows.mean(0))
    starts = [span.back(mean), torch.zeros_like(mean)]
    if all(isinstance(t, Tensor) and not t.is_complex() and t.shape == out.shape for out, t in outputs):
        targets = [target for _, target in outputs]
        starts += [
            span.back(middle(targets, of)) for of in (lambda rows: rows.mean(0), lambda rows: rows.median(0).values)
        ]
    return starts


def minimise(starts: Sequence[Tensor], losses: Callable[[Tensor], Tensor]) -> tuple[Tensor, float] | None:
    """The lowest point that L-BFGS comes across from the best of `starts`, and the mean loss there.

    A loss may raise on values outside its range; what was found before that stands. None where nothing was.
    """
    best: list[tuple[Tensor, float]] = []

    def seen(point: Tensor) -> Tensor:
        mean = losses(point).mean()
        value = mean.item()
        if math.isfinite(value) and (not best or value < best[0][1]):
            best[:] = [(point.detach().clone(), value)]
        return mean

    with torch.no_grad():
        for start in starts:
            with suppress(*REFUSALS):
                seen(start)
    if not best:
        return None
    parameter = best[0][0].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([parameter], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        mean = seen(parameter)
        mean.backward()
        return mean

    with suppress(*REFUSALS):
        optimizer.step(closure)
    return best[0]


def numbers(losses: Sequence[Tensor]) -> list[float]:
    """Losses of one element each, whatever their shape, in one transfer."""
    values: list[float] = torch.stack([loss.detach().reshape(()) for loss in losses]).tolist()
    return values


def finite(value: Any) -> bool:
    """Whether all tensors in it are free of NaN and infinity."""
    return all(bool(t.isfinite().all()) for t in tensors(value))


def average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
