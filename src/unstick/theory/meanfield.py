"""Mean-field theory of a wide network without normalisation: h ← W φ(h) + b, W ~ N(0, σ_w²/fan_in), b ~ N(0, σ_b²).

Poole et al. 2016 (https://arxiv.org/abs/1606.05340), Schoenholz et al. 2017 (https://arxiv.org/abs/1611.01232). q is
the variance of a unit's pre-activation over the random weights, c the correlation of one unit between two samples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..errors import TheoryError
from .functions import Activatable, Function, function
from .moments import growth, moments, pair, slope_pair

SMALL, LARGE = 1e-12, 1e12
"""Where properties of a network whose q goes to 0 or to infinity are evaluated."""
COLLAPSED, DIVERGED = 1e-8, 1e8
"""A q that gets there without coming to rest is on its way to 0, or to infinity."""
SETTLED = 1e-10
"""A relative change of q in one layer below this is no change."""
CRITICAL = 1e-5
"""|ln χ| below this counts as critical: no network has the depth to tell."""


@dataclass(frozen=True, slots=True)
class MeanField:
    """What deep layers of a network converge to. Depth scales are in layers; infinite where nothing decays.

    q: fixed point of the variance map, 0 or infinite where it collapses or diverges. c: fixed point of the correlation
    between two samples; 1 means that they become indistinguishable. chi: E|J^T δ|²/|δ|² of one layer, so that the
    gradient's norm changes by √chi. xi_q, xi_c: over how many layers q and c approach their fixed points by a factor e.
    xi_gradient: over how many layers the squared gradient norm changes by a factor e. phase: of chi; "chaotic" is
    above 1.
    """

    weight_variance: float
    bias_variance: float
    q: float
    c: float
    chi: float
    xi_q: float
    xi_c: float
    xi_gradient: float
    phase: Literal["ordered", "critical", "chaotic"]

    @property
    def gain(self) -> float:
        """Factor on the gradient norm per layer."""
        return math.sqrt(self.chi)


def mean_field(
    activation: Activatable, weight_variance: float, bias_variance: float = 0.0, start: float = 1.0
) -> MeanField:
    """The fixed points and depth scales. start: q of the first layer; it matters where there are several fixed points.

    Raises TheoryError for an unknown activation and for variances that are negative, or not finite.
    """
    check(weight_variance, bias_variance, start)
    return _mean_field(function(activation), float(weight_variance), float(bias_variance), float(start))


@functools.lru_cache(maxsize=256)
def _mean_field(f: Function, sw2: float, sb2: float, start: float) -> MeanField:
    q = _fixed_variance(f, sw2, sb2, start)
    near = min(max(q, SMALL), LARGE)
    chi = sw2 * moments(f, 0.0, near)[2]
    c, slope = _fixed_correlation(f, sw2, sb2, near) if math.isfinite(chi) else (1.0, 1.0)
    phase: Literal["ordered", "critical", "chaotic"]
    phase = "critical" if abs(_log(chi)) < CRITICAL else "chaotic" if chi > 1.0 else "ordered"
    return MeanField(
        sw2,
        sb2,
        q,
        c,
        chi,
        xi_q=depth_scale(sw2 * growth(f, near)),
        xi_c=depth_scale(slope),
        xi_gradient=depth_scale(chi),
        phase=phase,
    )


def variance_map(activation: Activatable, q: float, weight_variance: float, bias_variance: float = 0.0) -> float:
    """q of the next layer: σ_w² E[φ(√q z)²] + σ_b²."""
    check(weight_variance, bias_variance, q)
    return weight_variance * moments(function(activation), 0.0, q)[1] + bias_variance


def chi(activation: Activatable, q: float, weight_variance: float) -> float:
    """σ_w² E[φ'(√q z)²]: the squared gradient norm changes by this factor through a layer whose input has q."""
    check(weight_variance, 0.0, q)
    return weight_variance * moments(function(activation), 0.0, q)[2]


def correlation_map(
    activation: Activatable, c: float, q: float, weight_variance: float, bias_variance: float = 0.0
) -> float:
    """Correlation of a unit between two samples in the next layer, if it is c in this one; both have the variance q."""
    check(weight_variance, bias_variance, q)
    if not -1.0 <= c <= 1.0:
        raise TheoryError(f"a correlation lies between -1 and 1; {c} does not.")
    return _correlation(function(activation), c, q, weight_variance, bias_variance)


def _correlation(f: Function, c: float, q: float, sw2: float, sb2: float) -> float:
    after = sw2 * moments(f, 0.0, q)[1] + sb2
    return (sw2 * pair(f, 0.0, q, c * q) + sb2) / after if after else 1.0


def _fixed_variance(f: Function, sw2: float, sb2: float, start: float) -> float:
    """Where q → σ_w² E[φ²] + σ_b² leads from `start`; the map rises, so that the way there never turns."""

    def change(q: float) -> float:
        return (sw2 * moments(f, 0.0, q)[1] + sb2) / q - 1.0

    start = max(start, SMALL)
    first = change(start)
    if abs(first) < SETTLED:
        return start
    step = 2.0 if first > 0.0 else 0.5
    before, q = start, start * step
    while SMALL < q < DIVERGED and change(q) * first > 0.0 and abs(change(q)) > SETTLED:
        before, q = q, q * step
    if q >= DIVERGED:
        return math.inf
    found = root(change, before, q)
    return 0.0 if found < COLLAPSED and sb2 == 0.0 else found


def _fixed_correlation(f: Function, sw2: float, sb2: float, q: float) -> tuple[float, float]:
    """c*, and the slope of the correlation map there. At c = 1 the slope is χ q / q'."""
    after = sw2 * moments(f, 0.0, q)[1] + sb2
    ratio = sw2 * q / after if after else 0.0
    at_one = ratio * moments(f, 0.0, q)[2]
    if at_one <= 1.0 + CRITICAL:
        return 1.0, at_one
    gap = min(1e-3, 0.1 * (at_one - 1.0))

    def change(c: float) -> float:
        return _correlation(f, c, q, sw2, sb2) - c

    low = 0.0 if change(0.0) >= 0.0 else -1.0
    if abs(change(low)) < SETTLED:
        return low, ratio * slope_pair(f, q, low * q)
    c = root(change, low, 1.0 - gap)
    return c, ratio * slope_pair(f, q, c * q)


def depth_scale(factor: float) -> float:
    """Layers over which something that changes by `factor` in each has changed by e; infinite for 1, 0 for 0."""
    rate = abs(_log(factor))
    return math.inf if rate < CRITICAL else 1.0 / rate


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """A sign change of `function` between two points, by regula falsi with halving (Illinois)."""
    at_low, at_high = function(low), function(high)
    if at_low * at_high > 0.0:
        return low if abs(at_low) < abs(at_high) else high
    for _ in range(100):
        middle = (low * at_high - high * at_low) / (at_high - at_low) if at_high != at_low else 0.5 * (low + high)
        value = function(middle)
        if value * at_high < 0.0:
            low, at_low = high, at_high
        else:
            at_low *= 0.5
        moved = abs(middle - high)
        high, at_high = middle, value
        if value == 0.0 or moved <= 1e-13 * abs(middle):
            break
    return high


def check(weight_variance: float, bias_variance: float, q: float = 0.0) -> None:
    """Raises TheoryError where one of them is negative or not finite."""
    for name, value in (("weight", weight_variance), ("bias", bias_variance), ("pre-activation", q)):
        if not 0.0 <= value < math.inf:
            raise TheoryError(f"the {name} variance must be a number from 0 up; {value} is not.")
