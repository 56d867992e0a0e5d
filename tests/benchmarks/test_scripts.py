"""The benchmark of what watching a script costs: its arithmetic, and the scripts that it runs."""

from __future__ import annotations

import io
import sys

import pytest
from benchmarks.scripts import (
    AFTER,
    LONG,
    MADE,
    NETWORKS,
    SLOW,
    WHOLE,
    WINDOW,
    Cost,
    Timed,
    cost,
    exceeds,
    middle,
    ratio,
)

from benchmarks import paced

AFTERWARDS = MADE - WINDOW
PLAIN = Timed(begins=2.0, steps=[0.02] * MADE, ends=0.5)


def test_costs_are_those_of_the_parts() -> None:
    watched = Timed(begins=2.1, steps=[0.03] * WINDOW + [0.02] * AFTERWARDS, ends=1.5)
    found = cost(PLAIN, watched)
    assert found.window == pytest.approx(1.5)
    assert found.after == pytest.approx(1.0)
    assert (found.begins, found.ends) == pytest.approx((0.1, 1.0))
    assert found.whole == pytest.approx(1 + (0.1 + 0.01 * WINDOW + 1.0) / (2.0 + 0.02 * LONG + 0.5))


def test_one_slow_step_after_the_window_does_not_count() -> None:
    disturbed = Timed(2.0, [*[0.02] * (MADE - 1), 1.0], 0.5)
    assert cost(PLAIN, disturbed).after == pytest.approx(1.0)


def test_the_middle_is_that_of_each_figure() -> None:
    costs = [Cost(1.0, 3.0, 2.0, 0.0, 9.0), Cost(2.0, 1.0, 3.0, 5.0, 8.0), Cost(3.0, 2.0, 1.0, 1.0, 7.0)]
    assert middle(costs) == Cost(2.0, 2.0, 2.0, 1.0, 8.0)
    assert ratio([1.2, 1.0, 1.05]) == "1.050 (1.000–1.200)"


@pytest.mark.parametrize(
    ("step", "whole", "after", "exceeded"),
    [
        (SLOW, WHOLE, AFTER, False),
        (SLOW, WHOLE + 0.001, AFTER, True),
        (SLOW, WHOLE, AFTER + 0.001, True),
        (SLOW / 2, 2 * WHOLE, AFTER, False),
    ],
)
def test_limits_are_for_slow_steps(step: float, whole: float, after: float, exceeded: bool) -> None:
    assert exceeds(step, Cost(9.0, after, whole, 9.0, 9.0)) is exceeded


@pytest.mark.parametrize("name", NETWORKS)
def test_a_script_makes_a_step_for_each_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of the networks that are measured can be trained."""
    monkeypatch.setattr(sys, "argv", ["paced.py", name])
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n" * 2))
    paced.main()
    assert len([float(line) for line in capsys.readouterr().out.splitlines()]) == 3
