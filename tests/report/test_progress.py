"""Progress appears only where a person watches."""

from __future__ import annotations

import io

import pytest

from unstick.report.progress import progress


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
