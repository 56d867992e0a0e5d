from __future__ import annotations

from dataclasses import replace

import pytest

from trials.handmade import runs
from unstick.questions.reasons import REASONS, hidden_activations

BEFORE = runs([2.3] * 3, decades=15.0)


@pytest.mark.parametrize(
    ("decades", "not_vanishing", "restored"),
    [(15.0, False, False), (2.5, False, False), (1.5, True, True), (-1.5, True, True), (-9.0, True, False)],
)
def test_reasons_about_the_gradient(decades, not_vanishing, restored):
    after = runs([0.3] * 3, decades=decades)
    assert REASONS["gradient-not-vanishing"](BEFORE, after).holds is not_vanishing
    judged = REASONS["gradient-restored"](BEFORE, after)
    assert judged.holds is restored
    assert judged.numbers == pytest.approx({"decades_before": 15.0, "decades_after": decades})
    assert "15.0 decades" in judged.sentence


def test_a_gradient_that_explodes_does_not_vanish_and_the_sentence_says_both():
    judged = REASONS["gradient-not-vanishing"](BEFORE, runs([60.0] * 3, decades=-9.0))
    assert "does not vanish but explodes" in judged.sentence
    assert "grows by 9.0 decades" in judged.sentence


@pytest.mark.parametrize("name", sorted(REASONS))
def test_what_cannot_be_measured_does_not_hold(name):
    blind = [replace(run, traces=()) for run in BEFORE]
    assert not REASONS[name](BEFORE, blind).holds


def test_derivatives_that_stop_being_tiny():
    judged = REASONS["derivatives-not-tiny"](runs([2.3] * 3, saturated=0.6), runs([0.3] * 3, saturated=0.01))
    assert judged.holds
    assert judged.numbers == {"saturated_before": 0.6, "saturated_after": 0.01}
    assert "before the change" not in judged.sentence


def test_derivatives_that_never_were_tiny_and_what_really_changed():
    after = runs([0.3] * 3, decades=1.0, in_activation=14.0)
    judged = REASONS["derivatives-not-tiny"](BEFORE, after)
    assert judged.holds
    assert "That was so before the change as well" in judged.sentence
    assert "What changed most is the weights" in judged.sentence
    assert "grows by 13.0 decades" in judged.sentence


def test_derivatives_that_are_tiny():
    judged = REASONS["derivatives-not-tiny"](BEFORE, runs([0.3] * 3, saturated=0.2))
    assert not judged.holds
    assert "does not stay" in judged.sentence


def test_the_output_activation_is_not_hidden():
    trace = BEFORE[0].traces[0]
    last = replace(trace.operations[1], index=5, parents=(4,))
    assert [op.index for op in hidden_activations(replace(trace, operations=(*trace.operations, last)))] == [1, 3]
