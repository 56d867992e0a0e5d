"""Curves and gradients of trials, as the numbers that are drawn."""

from __future__ import annotations

import json
import sys
from typing import Any

from report.documents import diagnosis, trial, trials
from unstick.report.charts.trials import gradients, loss, losses

CURVE = {"steps": [0.0, 1.0, 2.0], "middle": [2.3, 1.0, None], "low": [2.2, 0.5, 0.1], "high": [2.4, None, None]}
FLAT = {"steps": [0.0, 1.0, 2.0], "middle": [2.3] * 3, "low": [2.3] * 3, "high": [2.3] * 3}


def tried(*each: dict[str, Any]) -> dict[str, Any]:
    document = trials(*each)
    return {**document, "baseline": {**document["baseline"], "curve": FLAT}}


def test_every_trained_change_has_a_panel_in_the_order_of_the_report() -> None:
    chart = losses(tried(trial("tanh", "harms", curve=CURVE), trial("relu", "fixes", curve=CURVE), trial("x", "helps")))
    assert chart is not None
    assert chart.spec["facet"]["sort"] == {"field": "order", "op": "min"}
    assert [row["order"] for row in chart.rows] == [0] * 3 + [1] * 3
    assert [row["change"] for row in chart.rows] == ["tanh: harms"] * 3 + ["relu: fixes it"] * 3
    numbers = {"step": 0.0, "from": -0.5, "to": 0.5, "loss": 2.3, "low": 2.2, "high": 2.4, "unchanged": 2.3}
    assert chart.rows[0] == {"change": "tanh: harms", "order": 0, **numbers}
    assert "loss" not in chart.rows[2]  # not finite: a gap, not a zero


def test_what_was_not_trained_has_no_curve() -> None:
    assert losses(tried(trial("relu", "not-applicable"))) is None
    assert losses(trials(trial("relu", "fixes", curve=CURVE))) is None  # an older report: nothing to hold it against


def test_losses_of_many_sizes_are_drawn_in_decades() -> None:
    wide = {**CURVE, "middle": [200.0, 1.0, 0.1]}
    narrow = {"steps": [0.0, 1.0], "middle": [2.3, 1.0], "low": [2.2, 0.9], "high": [2.4, 1.1]}
    assert "'log'" in str(losses(tried(trial("relu", "fixes", curve=wide))))
    assert "'log'" not in str(losses(tried(trial("relu", "fixes", curve=narrow))))
    below = {**wide, "low": [-1.0, -2.0, -3.0]}
    assert "'log'" not in str(losses(tried(trial("relu", "fixes", curve=below))))


def test_a_window_without_neighbours_is_a_point() -> None:
    """A line through one place would not be seen: of a run of one step, or of two that end in NaN."""
    for middle, alone in (([2.3], [0]), ([2.3, None, 1.0], [0, 2]), ([2.3, 1.0, None], [])):
        made = {"steps": [0.0, 1.0, 2.0][: len(middle)], "middle": middle, "low": middle, "high": middle}
        chart = loss(diagnosis(curve=made))
        assert chart is not None
        assert [i for i, row in enumerate(chart.rows) if "alone" in row] == alone


def test_numbers_at_the_end_of_what_floats_hold_are_left_out() -> None:
    """Rounded to four digits, the largest of them is infinite, and no JSON."""
    most = sys.float_info.max
    chart = loss(diagnosis(curve={**CURVE, "middle": [2.3, most, 1.0], "high": [most] * 3}))
    assert chart is not None
    assert [row.get("loss") for row in chart.rows] == [2.3, None, 1.0]
    json.dumps(chart.spec, allow_nan=False)


def test_gradients_say_whether_they_are_restored() -> None:
    lost = {"before": 15.7, "after": 9.0, "restored": False}
    chart = gradients(tried(trial("relu", "fixes"), trial("tanh", "no-effect", gradient=lost)))
    assert chart is not None
    assert [(row["change"], row["after"], row["gradient"]) for row in chart.rows] == [
        ("relu", 0.2, "restored"),
        ("tanh", 9.0, "not restored"),
    ]
    assert "With 1 of 2 changes the gradient neither vanishes nor explodes" in chart.says


def test_a_gradient_that_was_not_measured_is_not_drawn() -> None:
    assert gradients(tried(trial("relu", "fixes", gradient={"before": None, "after": 1.0, "restored": True}))) is None


def test_the_loss_of_a_diagnosis_stands_beside_the_constant_answer() -> None:
    chart = loss(diagnosis(curve=CURVE))
    assert chart is not None
    assert "From 2.3 to 1" in chart.says
    assert any(layer.get("name") == "constant" for layer in chart.spec["layer"])
    assert loss(diagnosis()) is None
