"""Progress appears only where a person watches, and costs little there."""

from __future__ import annotations

import io
import time

import pytest

from unstick.observation import Progress
from unstick.report.progress import SELDOM, Bars, progress, watched


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with progress() as advance:
        assert advance is None


def test_nothing_is_drawn_when_it_shall_be_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    with progress(quiet=True) as advance:
        assert advance is None


def test_a_bar_for_each_description_with_literal_names(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as advance:
        assert advance is not None
        advance("[red]trials", 1, 4)
        advance("[red]trials", 2, 8)
        advance("training", 5, 5)
    drawn = terminal.getvalue()
    assert "[red]trials" in drawn
    assert "2/8" in drawn
    assert "5/5" in drawn


class Counted(Bars):
    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[int, int]] = []

    def draw(self, description: str) -> None:
        self.drawn.append(self.bars[description])


def test_a_notebook_is_not_drawn_at_each_step() -> None:
    bars, started = Counted(), time.perf_counter()
    for step in range(20_000):
        bars("training", step + 1, 20_000)
    assert len(bars.drawn) <= 2 + (time.perf_counter() - started) / SELDOM
    assert bars.drawn[0] == (1, 20_000)
    assert bars.drawn[-1] == (20_000, 20_000)


def test_a_total_that_grows_is_drawn_at_once() -> None:
    bars = Counted()
    for state in ((0, 1), (1, 1), (1, 12)):
        bars("trials", *state)
    assert bars.drawn == [(0, 1), (1, 1), (1, 12)]


@watched
def inner(*, progress: Progress | None = None) -> Progress | None:
    return progress


def test_outside_of_notebooks_a_function_gets_what_it_was_given() -> None:
    def own(*_: object) -> None: ...

    assert inner() is None
    assert inner(progress=own) is own
