"""Both ends of the loss: what the network puts out, what is asked of it, and the best that such outputs could do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .constant import Outputs, minimise
from .observation import Ends, Values
from .trace.types import Operation, Trace

MOST_ENTRIES = 1 << 18
"""Outputs with more entries than this are not optimised one by one."""

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
    activation = _last(trace)
    found = _values([out for out, _ in outputs]), _values([target for _, target in outputs])
    out, target = outputs[0]
    axis = next((a for a in found[0].distributions if a), out.dim() - 1)
    return Ends(
        *found,
        activation=activation,
        losses=tuple(op.name for op in trace.operations if op.module is None),
        free=_best(out, target, criterion, lambda x, _: x, axis),
        within=_best(out, target, criterion, ONTO[activation], axis) if activation in ONTO else None,
        broadcast=_stretched(out, target),
    )


def _last(trace: Trace) -> str | None:
    """The last operation inside the model, if it is one that shapes what the outputs can be."""
    inside = [op for op in trace.operations if op.module is not None]
    return inside[-1].name if inside and _shapes(inside[-1]) else None


def _shapes(op: Operation) -> bool:
    return op.name in ONTO or op.kind == "activation"


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
        distributions=tuple(axis for axis in range(first.dim()) if _sums_to_one(first, axis)),
    )


def _sums_to_one(t: Tensor, axis: int) -> bool:
    if not t.is_floating_point() or not bool((t >= 0).all() and (t <= 1 + 1e-3).all()):
        return False
    return bool(((t.double().sum(axis) - 1).abs() < 1e-2).all())


def _stretched(out: Tensor, target: Tensor) -> bool:
    """Whether numbers of both, put side by side, would be repeated: (n, 1) against (n,) makes n x n of them."""
    if not target.is_floating_point() or out.shape == target.shape:
        return False
    with suppress(RuntimeError):
        return torch.broadcast_shapes(out.shape, target.shape) not in (out.shape, target.shape)
    return False


def _best(
    out: Tensor, target: Tensor, criterion: Criterion, onto: Callable[[Tensor, int], Tensor], axis: int
) -> float | None:
    """The lowest loss that is come across when every entry of the outputs may be chosen by itself."""
    if out.numel() > MOST_ENTRIES or not out.is_floating_point():
        return None
    starts = [torch.zeros(out.shape, device=out.device)]
    if target.shape == out.shape and target.is_floating_point():
        starts.append(target.float())
    with torch.enable_grad():
        found = minimise(starts, lambda free: criterion(onto(free, axis).to(out.dtype), target).reshape(1))
    return found[1] if found else None
