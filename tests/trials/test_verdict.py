from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trials.handmade import LN10, observation, runs
from unstick.trials.explain import explain
from unstick.trials.verdict import compare, leading_cause, margin, median_decades

SICK = {"decades": 15.0}
WELL = {"decades": 0.5, "learns": True}


def judge(before, after, cause="vanishing-gradient", looks=3):
    return compare(before, after, cause, looks)


def stuck(n=3):
    return runs([2.30, 2.31, 2.305, 2.30, 2.31, 2.30, 2.305, 2.31][:n], **SICK)


def test_fixes_when_it_learns_and_the_gradient_is_back():
    seen = judge(stuck(), runs([0.3, 0.4, 0.35], **WELL))
    assert (seen.verdict, seen.settled, seen.learns, seen.restored) == ("fixes", True, (False, True), True)
    assert seen.difference == pytest.approx(-1.955)
    assert seen.decades == pytest.approx((15.0, 0.5))


def test_helps_when_it_learns_but_the_gradient_still_vanishes():
    seen = judge(stuck(), runs([0.3, 0.4, 0.35], learns=True, decades=4.0))
    assert seen.verdict == "helps"
    assert "vanishing-gradient, is still there" in explain(seen)


def test_helps_when_the_unchanged_network_learns_as_well():
    before = runs([1.0, 1.1, 1.05], learns=True, decades=3.0)
    assert judge(before, runs([0.3, 0.4, 0.35], **WELL)).verdict == "helps"


def test_helps_when_no_cause_was_found_that_could_be_gone():
    assert judge(stuck(), runs([0.3, 0.4, 0.35], **WELL), cause=None).verdict == "helps"


def test_a_lower_loss_is_no_effect_where_the_network_still_does_not_learn():
    seen = judge(runs([70.0, 60.0, 65.0]), runs([2.3, 2.31, 2.3]))
    assert (seen.verdict, seen.settled) == ("no-effect", True)
    assert "does not learn" in explain(seen)


def test_no_effect_within_the_margin():
    seen = judge(stuck(), runs([2.301, 2.311, 2.306], decades=3.0))
    assert (seen.verdict, seen.settled) == ("no-effect", True)


def test_harms_when_the_loss_rises():
    assert judge(stuck(), runs([3.1, 3.3, 3.2])).verdict == "harms"


def test_not_settled_is_inconclusive_and_says_how_often_it_learned():
    after = [observation(0, 0.3, learns=True), observation(1, 2.3), observation(2, 2.4)]
    seen = judge(stuck(), after)
    assert (seen.verdict, seen.settled) == ("inconclusive", False)
    assert "it learns with 1 of 3 seeds" in explain(seen)


def test_a_significant_difference_below_the_margin_is_not_settled_either_way():
    """Surely below zero, perhaps beyond the margin, perhaps not: more seeds decide."""
    gaps = [-0.020, -0.022, -0.024]
    seen = judge(runs([2.3] * 3), runs([2.3 + gap for gap in gaps], learns=True))
    assert seen.interval is not None
    assert seen.interval[1] < 0
    assert seen.interval[0] < -seen.margin < seen.difference
    assert seen.verdict == "inconclusive"


@pytest.mark.parametrize(("count", "settled"), [(2, False), (3, True)])
def test_most_seeds_diverge(count, settled):
    after = [observation(s, math.nan, diverged=7) if s < count else observation(s, 2.3) for s in range(3)]
    seen = judge(stuck(), after)
    assert (seen.verdict, seen.settled) == ("harms", settled)
    assert f"diverges with {count} of 3 seeds" in explain(seen)


def test_a_remedy_that_ends_divergence_helps_without_a_difference_in_loss():
    before = runs([math.inf] * 3, diverged=5)
    seen = judge(before, runs([0.4, 0.5, 0.6], learns=True), cause="exploding-gradient")
    assert (seen.verdict, seen.settled, seen.difference) == ("fixes", True, None)


def test_no_effect_where_both_diverge():
    seen = judge(runs([math.nan] * 3, diverged=5), runs([math.inf] * 3, diverged=9))
    assert (seen.verdict, seen.settled, seen.interval) == ("no-effect", True, None)


def test_one_diverged_seed_is_left_out_of_the_loss_and_told():
    after = [observation(0, math.nan, diverged=3), *(observation(s, 0.3 + s / 100, **WELL) for s in range(1, 5))]
    seen = judge(stuck(5), after)
    assert seen.verdict == "fixes"
    assert seen.loss == pytest.approx((2.30625, 0.325))
    assert "1 of 5 runs diverged" in explain(seen)


def test_only_seeds_with_a_partner_count():
    seen = judge(stuck(5), runs([0.3, 0.4, 0.35], **WELL))
    assert (seen.seeds, seen.learned) == (3, (0, 3))
    assert judge(stuck(2), []).verdict == "inconclusive"
    assert explain(judge(stuck(2), [])) == "No pair of runs was finished."


def test_margin_falls_back_to_the_initial_loss():
    assert margin(stuck()) == pytest.approx(0.01 * LN10)
    assert margin(runs([1.0], constant=None, initial=-4.0)) == pytest.approx(0.04)
    assert margin([]) == 0.0


def test_decades_come_from_the_first_trace_that_has_them():
    run = observation(decades=6.0)
    blind = replace(run.traces[0], path=())
    assert median_decades([replace(run, traces=(blind, *run.traces))]) == pytest.approx(6.0)
    assert median_decades([replace(run, traces=(blind,))]) is None


def test_no_runs_have_no_cause():
    assert leading_cause([]) is None


losses = st.lists(st.floats(0.05, 5.0), min_size=2, max_size=6)


@settings(max_examples=40)
@given(losses, st.data())
def test_the_order_of_the_seeds_does_not_matter(values, data):
    learns = [data.draw(st.booleans()) for _ in values]
    after = [observation(s, v, learns=b) for s, (v, b) in enumerate(zip(values, learns, strict=True))]
    before = stuck(len(values))
    shuffled = judge(data.draw(st.permutations(before)), data.draw(st.permutations(after)))
    seen = judge(before, after)
    assert (shuffled.verdict, shuffled.settled, shuffled.learned) == (seen.verdict, seen.settled, seen.learned)
    assert shuffled.interval == pytest.approx(seen.interval, abs=1e-12)


@settings(max_examples=40)
@given(losses, st.sampled_from([2.0**-20, 0.25, 8.0, 2.0**20]), st.booleans())
def test_the_unit_of_the_loss_does_not_matter(values, unit, learns):
    """Powers of two, so that scaling itself is exact."""
    before = [2.30, 2.31, 2.305, 2.30, 2.31, 2.30][: len(values)]

    def verdict(c):
        scale = {"constant": LN10 * c, "initial": 2.5 * c}
        return judge(
            runs([v * c for v in before], **SICK, **scale),
            runs([v * c for v in values], learns=learns, decades=0.5, **scale),
        )

    plain, scaled = verdict(1.0), verdict(unit)
    assert (plain.verdict, plain.settled, plain.direction) == (scaled.verdict, scaled.settled, scaled.direction)
