"""The edge of chaos: weights and biases with which the gradient neither vanishes nor explodes, χ = 1.

Poole et al. 2016, Schoenholz et al. 2017; Hayou et al. 2019 (https://arxiv.org/abs/1902.06853) for other activations.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from .functions import Activatable, Function, function
from .meanfield import SMALL, check, root
from .moments import growth, moments

GRID = np.logspace(-6.0, 6.0, 121)
"""Where a fixed point q* is looked for."""
ROUNDING = 1e-9
"""A relative difference below the accuracy of the quadrature is none."""
FLAT = 1e-6
"""Where E[φ'²] is below this, no reasonable weights make up for it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A point on the edge of chaos. q: the variance that the pre-activations come to rest at.

    q is 0 where a network comes to rest only there, as tanh without biases does: the variance then falls like 1/depth,
    which is slow. For ReLU and its like every q is at rest; 1 is given.
    """

    weight_variance: float
    bias_variance: float
    q: float


def edge_of_chaos_at(activation: Activatable, q: float) -> Edge | None:
    """σ_w² = 1/E[φ'²] and σ_b² = q - σ_w² E[φ²]; None where that is negative, so that no weights are critical at q."""
    check(0.0, 0.0, q)
    f = function(activation)
    _, second, slope = moments(f, 0.0, q)
    if slope <= FLAT or q < second / slope * (1.0 - ROUNDING):
        return None
    return Edge(1.0 / slope, max(q - second / slope, 0.0), q)


def edge_of_chaos(activation: Activatable, bias_variance: float | None = 0.0) -> Edge | None:
    """The critical σ_w² for a given σ_b²; None where there is none with a fixed point that is stable.

    bias_variance: None for the smallest that has one (GELU, SiLU and their like have none without biases).
    """
    f = function(activation)
    if bias_variance is None:
        return _edge(f, 0.0) or _first(f)
    check(0.0, bias_variance)
    return _edge(f, float(bias_variance))


@functools.lru_cache(maxsize=256)
def _first(f: Function) -> Edge | None:
    found = (edge_of_chaos_at(f, float(q)) for q in GRID)
    return next((edge for edge in found if edge and _stable(f, edge.q)), None)


def _stable(f: Function, q: float) -> bool:
    """Whether q is drawn back to where it was, with the weights that are critical there."""
    return growth(f, q) < moments(f, 0.0, q)[2] * (1.0 - ROUNDING)


@functools.lru_cache(maxsize=256)
def _edge(f: Function, sb2: float) -> Edge | None:
    def excess(q: float) -> float:
        _, second, slope = moments(f, 0.0, q)
        return (q - second / slope - sb2) / q if slope > FLAT else -1.0

    values = np.array([excess(float(q)) for q in GRID])
    seen = np.abs(values) > ROUNDING
    if sb2 == 0.0 and not seen.any():  # positively homogeneous: ReLU and its like
        return edge_of_chaos_at(f, 1.0)
    points, signs = GRID[seen], np.sign(values[seen])
    for i in np.flatnonzero(signs[:-1] != signs[1:]):
        q = root(excess, float(points[i]), float(points[i + 1]))
        if _stable(f, q):
            return Edge(1.0 / moments(f, 0.0, q)[2], sb2, q)
    return _at_zero(f, float(points[0])) if sb2 == 0.0 and signs[0] > 0 else None


def _at_zero(f: Function, q: float) -> Edge | None:
    """The limit of small q, where φ passes through 0 and the variance falls towards it, told from a small q."""
    slope = moments(f, 0.0, SMALL)[2]
    falls = slope > 0.0 and moments(f, 0.0, q)[1] / slope < q
    return Edge(1.0 / slope, 0.0, 0.0) if falls and not moments(f, 0.0, 0.0)[0] else None
