"""Expectations over a normal variable by Gauss-Legendre in panels.

Plain Gauss-Hermite places its nodes by the width of the normal density alone, and misses a function that is narrow
beside it: with 64 nodes E[φ'²] of a sigmoid whose input has variance 85 is 37 % too small. Here the panels end where
the function has a kink or bends, so each piece is smooth at the scale of its panel.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Ends of the panels in standard deviations. The density at 12 is 2e-32: what lies outside counts for nothing, unless
# the integrand grows like an exponential.
PANELS = np.array([-12.0, -7.0, -4.0, -2.0, 0.0, 2.0, 4.0, 7.0, 12.0])
NODES = 16
"""In each panel. See `tests/theory/test_quadrature.py` for the accuracy: 1e-9 of the value for every activation."""


def rule(mean: ArrayLike, std: float, breaks: Array, nodes: int = NODES) -> tuple[Array, Array]:
    """Where to evaluate f, and weights, so that E[f(mean + std z)] = sum(weights * f(points)) along the last axis.

    mean: any shape; std > 0. breaks: points on f's axis at which f is not smooth, or bends. Returns two arrays of the
    shape of `mean` with one axis more.
    """
    centre = np.asarray(mean, dtype=np.float64)[..., None]
    inner = np.clip((breaks - centre) / std, PANELS[0], PANELS[-1])
    ends = np.sort(np.concatenate([np.broadcast_to(PANELS, (*centre.shape[:-1], len(PANELS))), inner], axis=-1))
    node, weight = _legendre(nodes)
    half = np.diff(ends)[..., None] / 2.0
    z = (ends[..., :-1, None] + half) + half * node
    density = np.exp(-0.5 * z * z) * (half * weight / math.sqrt(2.0 * math.pi))
    flat = (*centre.shape[:-1], -1)
    return centre + std * z.reshape(flat), density.reshape(flat)


@functools.cache
def _legendre(nodes: int) -> tuple[Array, Array]:
    node, weight = np.polynomial.legendre.leggauss(nodes)
    return node, weight
