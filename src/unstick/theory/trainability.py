"""Where theory says that a network trains: a map of weight scale, bias scale and depth.

On the way back from the last hidden layer to the input the gradient changes by so many decades, and on the way forward
a small difference between two samples does so, too. Two limits decide. Below the first, what is left of the gradient is
too small for the optimiser; above the second, one step changes the outputs more than learning can bear. Both are
properties of the training, not of the network: see `docs/map.md` for how they were chosen and how well they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from .chain import Activation, BatchNorm, State, Weights, propagate
from .meanfield import chi, variance_map
from .trained import Trained, trained

LOST, GROWN = 7.0, 3.0
"""Decades that 300 steps of Adam with its default settings bridge. `benchmarks/theory/boundary.py` finds which pairs
fit best on points not counted there: 6.5 to 8 with 2.75 to 3. The 7 is where a gradient of 0.1 falls
to Adam's epsilon of 1e-8, and it moves when epsilon does (`benchmarks/theory/limits.py`)."""
PIXELS = 61 / 64
"""E[x²] of the digits, standardised: 3 of the 64 pixels are the same in every image, and zero."""
BATCH = 64
MAP_SIGMA_B, MAP_DEPTH = 1.0, 20
"""What is held fixed: Kaylee's standard normal biases, and a depth at which they matter."""


@dataclass(frozen=True, slots=True)
class Family:
    """Networks that differ in their scales and depth only. normalised: batch normalisation before the activation."""

    name: str
    activation: str
    normalised: bool = False


FAMILIES = (
    Family("sigmoid", "sigmoid"),
    Family("tanh", "tanh"),
    Family("relu", "relu"),
    Family("sigmoid+batchnorm", "sigmoid", normalised=True),
)


def decades(family: Family, sigma_w: float, sigma_b: float, depth: int) -> tuple[float, ...]:
    """log10 of the factor on the gradient's norm through 1, 2, ... `depth` hidden layers; negative where it is lost."""
    if not family.normalised:
        return _plain(family.activation, sigma_w**2, sigma_b**2, depth)
    layer = (Weights(sigma_w**2, sigma_b**2), BatchNorm(BATCH), Activation(family.activation))
    steps = propagate(State(PIXELS), layer * depth)
    return tuple(accumulate(step.decades for step in steps))[len(layer) - 1 :: len(layer)]


def _plain(activation: str, sw2: float, sb2: float, depth: int) -> tuple[float, ...]:
    """What `propagate` says, without following pairs of samples, which a map does not ask for."""
    total, q, found = 0.0, sw2 * PIXELS + sb2, []
    for _ in range(depth):
        factor = chi(activation, q, sw2)
        total += 0.5 * math.log10(factor) if factor > 0.0 else -math.inf
        found.append(total)
        q = variance_map(activation, q, sw2, sb2)
    return tuple(found)


def trains(change: float, lost: float = LOST, grown: float = GROWN) -> bool:
    """Whether a network whose gradient changes by so many decades is predicted to train."""
    return -lost <= change <= grown


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of the map. across: sigma_w. up: depths, or bias scales at one `depth`. shade: decades, a row for
    each `up`. points: the networks really trained there."""

    family: Family
    kind: Literal["depth", "biases"]
    fixed: float
    across: Sequence[float]
    up: Sequence[float]
    shade: Sequence[Sequence[float]]
    points: tuple[Trained, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """depths: each family over weight scale and depth. biases: over weight scale and bias scale, without the family
    whose normalisation takes biases away again."""

    depths: tuple[Panel, ...]
    biases: tuple[Panel, ...]


def trainability_map() -> Map:
    """The map with the trained points that come with the package."""
    points = trained().points
    depths = tuple(depth_panel(family, points, MAP_SIGMA_B) for family in FAMILIES)
    biases = tuple(bias_panel(family, points, MAP_DEPTH) for family in FAMILIES if not family.normalised)
    return Map(depths, biases)


def depth_panel(family: Family, points: Sequence[Trained], sigma_b: float, columns: int = 61) -> Panel:
    """Weight scale and depth, around the points of the family with that bias scale."""
    mine = tuple(p for p in points if p.family == family.name and p.sigma_b == sigma_b)
    across = _spread([p.sigma_w for p in mine], columns)
    deepest = math.ceil(max(p.depth for p in mine) * MARGIN)
    shade = zip(*(decades(family, sigma_w, sigma_b, deepest) for sigma_w in across), strict=True)
    return Panel(family, "depth", sigma_b, across, range(1, deepest + 1), tuple(shade), mine)


def bias_panel(family: Family, points: Sequence[Trained], depth: int, columns: int = 41, rows: int = 25) -> Panel:
    """Weight scale and bias scale, around the points of the family with that depth."""
    mine = tuple(p for p in points if p.family == family.name and p.depth == depth)
    across = _spread([p.sigma_w for p in mine], columns)
    up = _spread([p.sigma_b for p in mine], rows)
    shade = tuple(tuple(decades(family, w, b, depth)[-1] for w in across) for b in up)
    return Panel(family, "biases", depth, across, up, shade, mine)


MARGIN = 2**0.25
"""How far a panel reaches beyond its outermost points: half of the distance between two of them."""


def _spread(values: Sequence[float], count: int) -> tuple[float, ...]:
    low, high = math.log(min(values) / MARGIN), math.log(max(values) * MARGIN)
    return tuple(math.exp(low + (high - low) * i / (count - 1)) for i in range(count))
