"""Torch functions as activations: evaluated in float64, differentiated by autograd. torch is imported on first use."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import TheoryError
from .functions import Function
from .quadrature import Array

SCAN = 30.0
"""Kinks are looked for in [-SCAN, SCAN]."""
BENDS = tuple(s * p for p in (0.5, 1.0, 2.0, 3.0, 4.5, 7.0, 12.0, 20.0, 40.0) for s in (-1.0, 1.0))


@functools.lru_cache(maxsize=64)
def wrapped(call: Callable[[Any], Any]) -> Function:
    """A torch function (or module without parameters of its own) of one number as a `Function`.

    It must treat each entry alone and give a tensor of the same shape. Raises TheoryError where it does not.
    """
    name = getattr(call, "__name__", type(call).__name__)
    value, slope = functools.partial(_value, call, name), functools.partial(_slope, call, name)
    return Function(name, value, slope, _kinks(slope), (0.0, *BENDS))


def _value(call: Callable[[Any], Any], name: str, points: Array) -> Array:
    import torch

    with torch.no_grad():
        return _checked(call(torch.tensor(points)), points, name)


def _slope(call: Callable[[Any], Any], name: str, points: Array) -> Array:
    import torch

    with torch.enable_grad():
        entered = torch.tensor(points, requires_grad=True)
        out = call(entered.clone())  # so that an in-place function may overwrite what it gets
        _checked(out.detach(), points, name)
        (gradient,) = torch.autograd.grad(out.sum(), entered) if out.requires_grad else (torch.zeros_like(entered),)
    return _checked(gradient, points, name)


def _checked(out: Any, points: Array, name: str) -> Array:
    if getattr(out, "shape", None) != points.shape:
        raise TheoryError(f"{name} is no activation: it must give one number for each number that it gets.")
    return np.asarray(out.numpy(), dtype=np.float64)


def _kinks(slope: Callable[[Array], Array]) -> tuple[float, ...]:
    """Where the slope jumps: a change that stays when the interval around it is halved again and again."""
    grid = np.linspace(-SCAN, SCAN, 6007)  # a step on which no kink is likely to fall exactly
    values = slope(grid)
    scale = np.abs(values).max() or 1.0
    suspects = np.flatnonzero(np.abs(np.diff(values)) > 5e-3 * scale)
    low, high = grid[suspects], grid[suspects + 1]
    for _ in range(40):
        middle = 0.5 * (low + high)
        left = np.abs(slope(middle) - slope(low)) >= np.abs(slope(high) - slope(middle))
        low, high = np.where(left, low, middle), np.where(left, middle, high)
    jumps = np.abs(slope(high) - slope(low)) > 2.5e-3 * scale
    return tuple(0.5 * (low + high)[jumps])
