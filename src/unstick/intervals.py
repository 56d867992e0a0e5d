"""Student's t, without tables and without a dependency."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def t_interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Two-sided confidence interval of the mean of `values`, which must be finite.

    One value says nothing of its own spread: the interval is then the whole line.
    """
    if len(values) < 2:
        return -math.inf, math.inf
    mean = statistics.fmean(values)
    half = quantile(confidence, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def quantile(inside: float, freedom: int) -> float:
    """The t for which a t-distributed value with `freedom` degrees of freedom lies in [-t, t] with chance `inside`."""
    low, high = 0.0, 1.0
    while coverage(high, freedom) < inside:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if coverage(middle, freedom) < inside else (low, middle)
    return (low + high) / 2.0


def coverage(t: float, freedom: int) -> float:
    """P(|T| <= t) for Student's T with a whole number of degrees of freedom, t >= 0.

    A finite sum, exact (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
    """
    angle = math.atan2(t, math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= k / (k + 1) * cosine * cosine
    if odd:
        return 2.0 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
