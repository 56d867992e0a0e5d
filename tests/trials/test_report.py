from __future__ import annotations

import json

import pytest

from trials.handmade import runs
from unstick.trials.report import Trial, TrialReport
from unstick.trials.verdict import compare

BEFORE = tuple(runs([2.30, 2.31, 2.305], decades=15.0, in_activation=14.0))


def trial(remedy: str, loss: float, *, parts: int = 1, decades: float = 0.5, learns: bool = True) -> Trial:
    after = tuple(runs([loss, loss + 0.01, loss + 0.005], decades=decades, learns=learns, remedy=remedy))
    seen = compare(BEFORE, after, "vanishing-gradient", 3)
    return Trial(remedy, seen.verdict, "Because.", parts, (f"{remedy} in 40 places",), seen, after)


def report(*trials: Trial) -> TrialReport:
    return TrialReport("net.py:case", BEFORE, trials, "vanishing-gradient")


def test_the_document_has_every_promised_field():
    document = report(trial("relu", 0.3), Trial("batchnorm", "not-applicable", "No place for it.")).to_dict()
    json.dumps(document, allow_nan=False)
    assert document["schema"] == "unstick/trials/1"
    assert (document["target"], document["recommended"]) == ("net.py:case", "relu")
    assert document["baseline"]["attenuation_decades"] == pytest.approx(15.0)
    assert document["baseline"]["attribution"] == pytest.approx(
        {"activation": 14.0, "weights": 1.0, "normalisation": 0.0, "other": 0.0}
    )
    relu, batchnorm = document["trials"]
    assert relu["gradient"] == {"before": pytest.approx(15.0), "after": pytest.approx(0.5), "restored": True}
    assert relu["loss"]["difference"] == pytest.approx(-2.0)
    assert relu["loss"]["interval"] == pytest.approx([-2.0, -2.0])
    assert (relu["learns"], relu["learned"], relu["seeds"], relu["diverged"]) == (True, 3, 3, 0)
    assert relu["changes"] == ["relu in 40 places"]
    assert set(relu) == set(batchnorm)
    assert batchnorm["loss"] == {"before": None, "after": None, "difference": None, "interval": [None, None]}


def test_what_fixes_goes_before_what_only_helps():
    seen = report(trial("tanh", 0.1, decades=5.0), trial("relu", 0.4))
    assert [t.verdict for t in seen] == ["helps", "fixes"]
    assert seen.recommended == "relu"


def test_within_the_margin_the_simpler_remedy_wins_then_the_first():
    compound = trial("relu+init(he)", 0.300, parts=2)
    assert report(compound, trial("gelu", 0.31), trial("elu", 0.305)).recommended == "gelu"
    assert report(compound, trial("gelu", 0.5)).recommended == "relu+init(he)"


def test_nothing_is_recommended_where_nothing_helps():
    seen = report(trial("tanh", 2.3, learns=False))
    assert (seen.best, seen.recommended) == (None, None)


def test_a_trial_is_looked_up_by_its_remedy():
    seen = report(trial("relu", 0.3), trial("tanh", 2.3))
    assert seen["tanh"] is seen.trials[1]
    assert len(seen) == 2
    with pytest.raises(KeyError, match="tried: relu, tanh"):
        seen["gelu"]
