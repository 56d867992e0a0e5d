"""Confidence intervals for paired differences."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ..intervals import t_interval

ERROR_RATE = 0.05
"""The chance that any of the looks at one remedy gives an interval that misses the true mean difference."""


def paired(differences: Sequence[float], looks: int = 3) -> tuple[float, float, float]:
    """Mean of paired differences with a two-sided interval: (mean, low, high).

    Whoever looks at growing data several times and stops when it pleases has several chances to be wrong. The error
    rate of 5 % is therefore shared out evenly between the planned `looks` (Bonferroni): each single interval is wrong
    with a probability of at most 5 % / looks, so that all of them together hold the true mean with 95 %. This is
    exact for normally distributed differences and one look, and on the safe side for several.

    Raises ValueError for fewer than two differences, which have no spread to judge by; they must be finite.
    """
    if len(differences) < 2:
        raise ValueError(f"an interval needs at least 2 differences, not {len(differences)}")
    return statistics.fmean(differences), *t_interval(differences, 1.0 - ERROR_RATE / looks)
