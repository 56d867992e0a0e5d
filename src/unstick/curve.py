"""Training losses of several runs as one curve with its spread, short enough for a document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from .observation import Observation

POINTS = 40
"""As many as can be told apart in a picture a few centimetres wide."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The loss of a batch over the training, in windows of steps.

    steps: the step in the middle of each window. middle, low, high: median, least and greatest over the runs of their
    mean losses in the window. None where the runs that this would need are not finite there, or have ended before.
    """

    steps: tuple[float, ...]
    middle: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


def curve(runs: Sequence[Observation]) -> Curve:
    """At most POINTS windows of equal length, up to the end of the longest run."""
    longest = max((len(run.losses) for run in runs), default=0)
    count = min(POINTS, longest)
    edges = [i * longest // count for i in range(count + 1)] if count else [0]
    windows = list(pairwise(edges))
    spreads = [_spread([run.losses[start:end] for run in runs]) for start, end in windows]
    return Curve(
        steps=tuple((start + end - 1) / 2 for start, end in windows),
        middle=tuple(middle for _, middle, _ in spreads),
        low=tuple(low for low, _, _ in spreads),
        high=tuple(high for _, _, high in spreads),
    )


def _spread(windows: Sequence[Sequence[float]]) -> tuple[float | None, float | None, float | None]:
    """Least, median and greatest mean. A loss that is not finite counts as greater than all others, since that is what
    it means."""
    means = [fmean(losses) for losses in windows if losses]
    ordered = sorted(mean if math.isfinite(mean) else math.inf for mean in means)
    if not ordered:
        return None, None, None
    low, middle, high = (_rounded(value) for value in (ordered[0], median(ordered), ordered[-1]))
    return low, middle, high


def _rounded(value: float) -> float | None:
    """Four digits: more would be larger files, not better pictures."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
