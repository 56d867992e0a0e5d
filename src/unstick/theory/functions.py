"""Activations as functions of one number, with their slopes and the places where they are not smooth.

All have PyTorch's default arguments. `rrelu` (a random slope) and `threshold` (no defaults) are left out; give those as
a torch function.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import TheoryError
from .quadrature import Array


@dataclass(frozen=True, eq=False)  # compared by identity: names are unique, and torch functions are wrapped once
class Function:
    """An activation. value, slope: on arrays of any shape. kinks: where the slope (or the value) jumps; there the slope
    may be either one-sided limit. bends: ends of pieces on which it is smooth. largest: a variance of the input above
    which its moments count as infinite."""

    name: str
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    kinks: tuple[float, ...] = ()
    bends: tuple[float, ...] = ()
    largest: float = math.inf

    @functools.cached_property
    def breaks(self) -> Array:
        return np.array(sorted({*self.kinks, *self.bends}), dtype=np.float64)


Activatable = str | Function | Callable[[Any], Any]
"""What stands for an activation: its name, or a torch function of a tensor."""


def function(activation: Activatable) -> Function:
    """An activation by its name (`relu`, `leaky_relu`, `LeakyReLU`), or a torch function of a tensor.

    Raises TheoryError for an unknown name, with the nearest one that is known.
    """
    if isinstance(activation, Function):
        return activation
    if callable(activation):
        from .wrapped import wrapped

        return wrapped(activation)
    found = _BY_KEY.get(_key(activation))
    if found is None:
        near = difflib.get_close_matches(_key(activation), _BY_KEY, n=1, cutoff=0.5)
        hint = f"did you mean {_BY_KEY[near[0]].name!r}?" if near else f"known are {', '.join(FUNCTIONS)}."
        raise TheoryError(f"theory knows no activation {activation!r}; {hint}")
    return found


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _sigmoid(u: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * u)


def _sigmoid_slope(u: Array) -> Array:
    return 0.25 / np.cosh(np.clip(0.5 * u, -300.0, 300.0)) ** 2


def _tanh_slope(u: Array) -> Array:
    return 1.0 / np.cosh(np.clip(u, -300.0, 300.0)) ** 2


def _erf(u: Array) -> Array:
    return np.fromiter(map(math.erf, u.ravel().tolist()), np.float64, u.size).reshape(u.shape)


def _normal_share(u: Array) -> Array:
    return 0.5 + 0.5 * _erf(u / math.sqrt(2.0))


def _normal_density(u: Array) -> Array:
    return np.exp(-0.5 * u * u) / math.sqrt(2.0 * math.pi)


def _softplus(u: Array) -> Array:
    return np.logaddexp(0.0, u)


def _mish_slope(u: Array) -> Array:
    inner = np.tanh(_softplus(u))
    return inner + u * (1.0 - inner * inner) * _sigmoid(u)


def _inside(low: float, high: float, slope: float = 1.0) -> Callable[[Array], Array]:
    """`slope` between `low` and `high`, 0 outside."""
    return lambda u: np.where((u > low) & (u < high), slope, 0.0)


def _outside(width: float) -> Callable[[Array], Array]:
    return lambda u: np.where(np.abs(u) > width, 1.0, 0.0)


def _leaky(name: str, slope: float) -> Function:
    return Function(name, lambda u: np.where(u > 0, u, slope * u), lambda u: np.where(u > 0, 1.0, slope), (0.0,))


def _exponential_linear(name: str, scale: float, alpha: float) -> Function:
    def value(u: Array) -> Array:
        return scale * np.where(u > 0, u, alpha * np.expm1(np.minimum(u, 0.0)))

    def slope(u: Array) -> Array:
        return scale * np.where(u > 0, 1.0, alpha * np.exp(np.minimum(u, 0.0)))

    return Function(name, value, slope, (0.0,), (-2.0, -5.0, -10.0, -20.0, -40.0))


def _both(*points: float) -> tuple[float, ...]:
    return (*(-p for p in reversed(points)), 0.0, *points)


_SMOOTH = _both(2.0, 4.5, 8.0, 15.0, 40.0)
"""For functions made of exp(-|u|): their nearest poles are at ±iπ or beyond."""
_STEEP = _both(1.0, 2.25, 4.0, 7.5, 20.0)
"""For functions made of exp(-|2u|)."""

FUNCTIONS: dict[str, Function] = {
    f.name: f
    for f in (
        Function("identity", lambda u: u, np.ones_like),
        Function("sigmoid", _sigmoid, _sigmoid_slope, bends=_SMOOTH),
        Function("tanh", np.tanh, _tanh_slope, bends=_STEEP),
        Function("relu", lambda u: np.maximum(u, 0.0), _inside(0.0, math.inf), (0.0,)),
        Function("relu6", lambda u: np.clip(u, 0.0, 6.0), _inside(0.0, 6.0), (0.0, 6.0)),
        _leaky("leaky_relu", 0.01),
        _leaky("prelu", 0.25),
        _exponential_linear("elu", 1.0, 1.0),
        _exponential_linear("celu", 1.0, 1.0),
        _exponential_linear("selu", 1.0507009873554805, 1.6732632423543772),  # Klambauer et al. 2017
        Function(
            "gelu",
            lambda u: u * _normal_share(u),
            lambda u: _normal_share(u) + u * _normal_density(u),
            bends=_both(2.0, 4.5, 9.0),
        ),
        Function(
            "silu",
            lambda u: u * _sigmoid(u),
            lambda u: _sigmoid(u) * (1.0 + u * _sigmoid(-u)),
            bends=_SMOOTH,
        ),
        Function("mish", lambda u: u * np.tanh(_softplus(u)), _mish_slope, bends=_both(1.5, 3.5, 7.0, 15.0, 40.0)),
        Function("softplus", _softplus, _sigmoid, bends=_SMOOTH),
        Function(
            "softsign",
            lambda u: u / (1.0 + np.abs(u)),
            lambda u: 1.0 / (1.0 + np.abs(u)) ** 2,
            (0.0,),
            _both(0.5, 1.5, 4.0, 12.0, 40.0, 150.0),
        ),
        Function("hardtanh", lambda u: np.clip(u, -1.0, 1.0), _inside(-1.0, 1.0), (-1.0, 1.0)),
        Function("hardsigmoid", lambda u: np.clip(u / 6.0 + 0.5, 0.0, 1.0), _inside(-3.0, 3.0, 1.0 / 6.0), (-3.0, 3.0)),
        Function(
            "hardswish",
            lambda u: u * np.clip(u / 6.0 + 0.5, 0.0, 1.0),
            lambda u: np.where(u >= 3.0, 1.0, np.where(u <= -3.0, 0.0, u / 3.0 + 0.5)),
            (-3.0, 3.0),
        ),
        Function("logsigmoid", lambda u: -_softplus(-u), lambda u: _sigmoid(-u), bends=_SMOOTH),
        Function("tanhshrink", lambda u: u - np.tanh(u), lambda u: np.tanh(u) ** 2, bends=_STEEP),
        Function("softshrink", lambda u: np.sign(u) * np.maximum(np.abs(u) - 0.5, 0.0), _outside(0.5), (-0.5, 0.5)),
        Function("hardshrink", lambda u: np.where(np.abs(u) > 0.5, u, 0.0), _outside(0.5), (-0.5, 0.5)),
        Function("exp", np.exp, np.exp, largest=6.0),
    )
}  # fmt: skip
"""By name. Of `hardshrink` the slope is what autograd gives: the jump of the value itself has none. E[exp(2u)] comes
from values near twice the variance; where that is above 6, no layer of a real width contains them."""

_BY_KEY = {_key(name): f for name, f in FUNCTIONS.items()} | {
    "swish": FUNCTIONS["silu"],
    "linear": FUNCTIONS["identity"],
}
