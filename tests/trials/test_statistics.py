from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from unstick.trials.statistics import paired

finite = st.integers(-10_000, 10_000).map(lambda n: n / 100)


@settings(max_examples=50)
@given(st.lists(finite, min_size=2, max_size=12), st.integers(1, 5))
def test_the_interval_is_that_of_scipy_at_the_shared_error_rate(differences, looks):
    mean, low, high = paired(differences, looks)
    scale = stats.sem(differences)
    half = stats.t.ppf(1 - 0.025 / looks, len(differences) - 1) * scale
    assert mean == pytest.approx(statistics.fmean(differences))
    assert (high - low) / 2 == pytest.approx(half, rel=1e-6, abs=1e-9)
    assert low <= mean <= high


def test_an_interval_for_one_look_is_wrong_in_one_of_twenty_cases():
    draw = random.Random(0)
    missed = 0
    for _ in range(2000):
        _, low, high = paired([draw.gauss(0.3, 1.0) for _ in range(5)], looks=1)
        missed += not low <= 0.3 <= high
    assert 60 < missed < 140  # 100 expected, standard deviation 9.7


def test_more_looks_need_a_wider_interval():
    widths = [high - low for _, low, high in (paired([1.0, 2.0, 4.0], looks) for looks in (1, 2, 3))]
    assert widths == sorted(set(widths))


@pytest.mark.parametrize("differences", [[], [1.0]])
def test_fewer_than_two_differences_have_no_interval(differences):
    with pytest.raises(ValueError, match="at least 2"):
        paired(differences)
