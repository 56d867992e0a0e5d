"""Both ends of the loss: what the network puts out, what is asked of it, and the best that such outputs could do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .constant import REFUSALS, Outputs, minimise
from .observation import Ends, Values
from .trace.kinds import ACTIVATIONS
from .trace.types import Operation, Trace

MOST_ENTRIES = 1 << 18
"""Outputs with more entries than this are not optimised one by one."""

SAMPLES = 64
"""Outputs are optimised for at least so many samples, where there are so many: a mean over them has a standard error
of an eighth of their deviation."""

Criterion = Callable[[Any, Any], Tensor]

ONTO: dict[str, Callable[[Tensor, int], Tensor]] = {
    "sigmoid": lambda x, _: torch.sigmoid(x),
    "hardsigmoid": lambda x, _: torch.sigmoid(x),
    "tanh": lambda x, _: torch.tanh(x),
    "hardtanh": lambda x, _: torch.tanh(x),
    "softsign": lambda x, _: torch.tanh(x),
    "relu": lambda x, _: F.softplus(x),
    "relu6": lambda x, _: 6 * torch.sigmoid(x),
    "softplus": lambda x, _: F.softplus(x),
    "elu": lambda x, _: F.softplus(x) - 1,
    "exp": lambda x, _: F.softplus(x),
    "logsigmoid": lambda x, _: -F.softplus(x),
    "softmax": lambda x, axis: torch.softmax(x, axis),
    "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
}
"""Smooth maps of all numbers onto what an output activation can give."""


def ends(outputs: Outputs, criterion: Criterion, trace: Trace) -> Ends | None:
    """From outputs and targets of some batches, and a trace of the same network. None where they are no tensors.

    Call it with gradients off and the remedies' changes in force.
    """
    if not all(isinstance(t, Tensor) and t.dim() and not t.is_complex() for pair in outputs for t in pair):
        return None
    last = last_shaping(trace)
    activation = None if last is None else last.name
    found = _values([out for out, _ in outputs]), _values([target for _, target in outputs])
    out, target = outputs[0]
    axis = next((a for a in found[0].distributions if a), out.dim() - 1)
    some = _first_samples(outputs)
    return Ends(
        *found,
        activation=activation,
        losses=tuple(op.name for op in trace.operations if op.module is None),
        free=_best(some, criterion, lambda x, _: x, axis),
        within=_best(some, criterion, ONTO[activation], axis) if activation in ONTO else None,
        broadcast=_stretched(out, target, criterion),
    )


def last_shaping(trace: Trace) -> Operation | None:
    """The last operation inside the model, if it is one that shapes what the outputs can be.

    Only operations that get a gradient count: a model may compute probabilities that the loss never sees.
    """
    inside = [op for op in trace.operations if op.module is not None and op.backward is not None]
    return inside[-1] if inside and shapes(inside[-1].name) else None


def shapes(name: str) -> bool:
    """Whether a function of this name limits what comes out of it, or bends it."""
    return name in ONTO or name in ACTIVATIONS


def _values(tensors: Sequence[Tensor]) -> Values:
    first = tensors[0]
    whole = torch.cat([t.detach().reshape(len(t), -1) for t in tensors if t[0].numel() == first[0].numel()]).double()
    return Values(
        shape=tuple(first.shape),
        low=whole.min().item(),
        high=whole.max().item(),
        mean=whole.mean().item(),
        deviation=whole.std(correction=0).item(),
        between=whole.std(0, correction=0).square().mean().sqrt().item(),
        zeros=(whole == 0).double().mean().item(),
        integer=not first.is_floating_point(),
        distributions=tuple(axis for axis in range(first.dim()) if _distributed(first, axis)),
    )


def _distributed(t: Tensor, axis: int) -> bool:
    """Whether entries along `axis` are probabilities, or the logarithms of some."""
    if not t.is_floating_point():
        return False
    return _sums_to_one(t, axis) or (bool((t <= 0).all()) and _sums_to_one(t.exp(), axis))


def _sums_to_one(t: Tensor, axis: int) -> bool:
    if not bool((t >= 0).all() and (t <= 1 + 1e-3).all()):
        return False
    return bool(((t.double().sum(axis) - 1).abs() < 1e-2).all())


def _stretched(out: Tensor, target: Tensor, criterion: Criterion) -> bool:
    """Whether each output meets the targets of all samples: (n, 1) against (n,) makes n x n of them.

    The shapes say that it may be so. Many losses put them right, so the loss is asked: rising outputs against rising
    and against falling targets are as different as can be, unless every output meets every target.
    """
    if out.shape == target.shape or out.numel() != target.numel() or not out.is_floating_point():
        return False
    with suppress(RuntimeError):
        if torch.broadcast_shapes(out.shape, target.shape) in (out.shape, target.shape):
            return False
        with suppress(*REFUSALS):
            return _pairs_do_not_matter(out, target, criterion)
    return False


def _pairs_do_not_matter(out: Tensor, target: Tensor, criterion: Criterion) -> bool:
    rising = target.reshape(-1).sort().values
    low, high = rising[0].item(), rising[-1].item()
    steps = torch.linspace(low, high, out.numel(), device=out.device, dtype=out.dtype).reshape(out.shape)
    orders = rising.reshape(target.shape), rising.flip(0).reshape(target.shape)
    one, other = (criterion(steps, order).double().item() for order in orders)
    matters = criterion(torch.full_like(steps, low), orders[0]).double().item() != one  # else the loss is no judge
    return low < high and matters and math.isclose(one, other, rel_tol=1e-4)


def _first_samples(outputs: Outputs) -> Outputs:
    """The first batches whose samples have one shape, until there are enough of them."""
    some: list[tuple[Tensor, Tensor]] = []
    for out, target in outputs:
        if sum(len(o) for o, _ in some) >= SAMPLES or out.shape[1:] != outputs[0][0].shape[1:]:
            break
        some.append((out, target))
    return some


def _best(pairs: Outputs, criterion: Criterion, onto: Callable[[Tensor, int], Tensor], axis: int) -> float | None:
    """The lowest loss that is come across when every entry of the outputs may be chosen by itself."""
    outs, targets = [out for out, _ in pairs], [target for _, target in pairs]
    sizes = [len(out) for out in outs]
    if sum(out.numel() for out in outs) > MOST_ENTRIES or not outs[0].is_floating_point():
        return None
    starts = [torch.zeros((sum(sizes), *outs[0].shape[1:]), device=outs[0].device)]
    if all(t.shape == o.shape and t.is_floating_point() for o, t in pairs):
        starts.append(torch.cat(targets).float())

    def losses(free: Tensor) -> Tensor:
        parts = (onto(part, axis).to(outs[0].dtype) for part in free.split(sizes))
        return torch.stack([criterion(part, target).reshape(()) for part, target in zip(parts, targets, strict=True)])

    with torch.enable_grad():
        found = minimise(starts, losses)
    return found[1] if found else None
