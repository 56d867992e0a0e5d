"""What an activation makes of a normal variable u: the few expectations that everything else is built from.

Throughout, u has the mean `mean` and the variance `variance`; two samples of the same unit have the covariance
`covariance`. Results are kept, since a network asks for the same ones many times.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from .functions import Function
from .quadrature import Array, rule

LARGEST = 1e280
"""Variances end here, float64 at 1e308. An unbounded activation is linear on each side then: only ratios matter."""
PAIR_NODES = 8
"""Nodes in a panel where two normal variables are integrated over: accurate to 1e-6 of the value."""
_CACHED = functools.lru_cache(maxsize=4096)


@_CACHED
def moments(f: Function, mean: float, variance: float) -> tuple[float, float, float]:
    """E[φ], E[φ²] and E[φ'²]."""
    if variance <= 0.0:
        point = np.array([mean])
        at, steep = float(f.value(point)[0]), float(f.slope(point)[0])
        return at, at * at, steep * steep
    if variance > f.largest:
        return math.inf, math.inf, math.inf
    points, weights = rule(mean, math.sqrt(min(variance, LARGEST)), f.breaks)
    value, slope = f.value(points), f.slope(points)
    return float(weights @ value), float(weights @ value**2), float(weights @ slope**2)


@_CACHED
def growth(f: Function, variance: float) -> float:
    """dE[φ²]/dq for a centred u of variance q: E[z φ φ'] / √q. (Stein's lemma; Schoenholz et al. 2017.)"""
    if variance > f.largest:
        return math.inf
    std = math.sqrt(min(variance, LARGEST))
    points, weights = rule(0.0, std, f.breaks)
    return float(weights @ (points / std * f.value(points) * f.slope(points))) / std


@_CACHED
def pair(f: Function, mean: float, variance: float, covariance: float) -> float:
    """E[φ(u₁) φ(u₂)] for two samples."""
    if covariance >= variance * (1.0 - 1e-14):
        return moments(f, mean, variance)[1]
    if variance > f.largest:
        return math.inf
    if covariance == 0.0:
        return moments(f, mean, variance)[0] ** 2
    return _paired(f, f.value, mean, variance, covariance)


@_CACHED
def slope_pair(f: Function, variance: float, covariance: float) -> float:
    """E[φ'(u₁) φ'(u₂)] for two samples, u centred."""
    if covariance >= variance * (1.0 - 1e-14):
        return moments(f, 0.0, variance)[2]
    return _paired(f, f.slope, 0.0, variance, covariance)


def _paired(f: Function, g: Callable[[Array], Array], mean: float, variance: float, covariance: float) -> float:
    """E[g(u₁) g(u₂)]: u = mean ± √|cov| c + √(var - |cov|) z, where c is common to both samples and z is not."""
    points, weights, own = _common(f, mean, min(variance, LARGEST), min(abs(covariance), LARGEST))
    first = _smoothed(f, g, points, own)
    second = first if covariance >= 0.0 else _smoothed(f, g, 2.0 * mean - points, own)
    return float(weights @ (first * second))


def _common(f: Function, mean: float, variance: float, common: float) -> tuple[Array, Array, float]:
    """Points and weights for the common part of u, and the standard deviation of the rest.

    What is seen of a kink through the rest is as wide as the rest, so there are panels of that width.
    """
    own = math.sqrt(max(variance - common, 1e-300))
    near = [kink + own * width for kink in f.kinks for width in (-8.0, -3.5, -1.5, 1.5, 3.5, 8.0)]
    breaks = np.concatenate([f.breaks, np.array(near)])
    points, weights = rule(mean, math.sqrt(max(common, 1e-300)), breaks, PAIR_NODES)
    return points, weights, own


def _smoothed(f: Function, g: Callable[[Array], Array], points: Array, std: float) -> Array:
    """E[g(point + std z)] at each point."""
    inner, weights = rule(points, std, f.breaks, PAIR_NODES)
    smoothed: Array = (weights * g(inner)).sum(-1)
    return smoothed


@_CACHED
def slope_over_variance(f: Function, mean: float, variance: float, covariance: float, eps: float) -> float:
    """E[A / (V + eps)] with A = E[φ'² | unit], V = Var[φ | unit]: units differ by what all samples have in common.

    For batch normalisation after an activation, which divides each unit by its own V. covariance >= 0.
    """
    if covariance <= 1e-12 * variance:
        average, square, slope = moments(f, mean, variance)
        return slope / (square - average * average + eps)
    points, weights, own = _common(f, mean, variance, covariance)
    first, second, slopes = (
        _smoothed(f, g, points, own) for g in (f.value, lambda u: f.value(u) ** 2, lambda u: f.slope(u) ** 2)
    )
    return float(weights @ (slopes / (np.maximum(second - first * first, 0.0) + eps)))
