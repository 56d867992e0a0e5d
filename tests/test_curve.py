"""Losses of several runs as one curve."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean, median

from hypothesis import given
from hypothesis import strategies as st

from trials.handmade import runs
from unstick.curve import POINTS, curve
from unstick.observation import Observation


def run(losses: list[float]) -> Observation:
    return replace(SOME, losses=tuple(losses))


SOME = runs([1.0])[0]
LOSS = st.floats(-1e6, 1e6)
LOSSES = st.lists(LOSS, min_size=1, max_size=200)


@given(
    st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(st.floats(-1e6, 1e6), min_size=n, max_size=n), min_size=1))
)
def test_short_runs_are_told_step_by_step(losses: list[list[float]]) -> None:
    made = curve([run(each) for each in losses])
    assert made.steps == tuple(range(len(losses[0])))
    for i, middle in enumerate(made.middle):
        column = [each[i] for each in losses]
        assert made.low[i] == float(f"{min(column):.4g}")
        assert made.high[i] == float(f"{max(column):.4g}")
        assert middle == float(f"{median(column):.4g}")


@given(st.lists(LOSSES, min_size=1, max_size=4))
def test_long_runs_are_averaged_over_windows_that_hold_every_step_once(losses: list[list[float]]) -> None:
    made = curve([run(each) for each in losses])
    longest = max(map(len, losses))
    assert len(made.steps) == min(POINTS, longest)
    assert all(made.steps[i] < made.steps[i + 1] for i in range(len(made.steps) - 1))
    assert all(low <= middle <= high for low, middle, high in zip(made.low, made.middle, made.high, strict=True))
    assert made.steps[0] >= 0
    assert made.steps[-1] <= longest - 1


def test_windows_hold_means() -> None:
    losses = [float(i % 7) for i in range(4 * POINTS)]
    assert curve([run(losses)]).middle[0] == fmean(losses[:4])
    assert curve([run(losses)]).steps[0] == 1.5


def test_a_run_that_diverges_leaves_the_others() -> None:
    made = curve([run([1.0, 1.0, 1.0]), run([2.0, math.nan, math.inf]), run([3.0, 3.0])])
    assert made.middle == (2.0, 3.0, None)  # of two at the last step, one is not finite: neither is their median
    assert made.high == (3.0, None, None)
    assert made.low == (1.0, 1.0, 1.0)


def test_no_run_is_no_curve() -> None:
    assert curve([]).steps == ()
