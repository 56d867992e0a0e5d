"""Progress where a function is called in a notebook: Jupyter in any of its forms, or marimo."""

from __future__ import annotations

import html
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from ..observation import Progress

SELDOM = 0.2  # seconds; each drawing takes about as long as a step of a small network

P = ParamSpec("P")
R = TypeVar("R")


def watched(function: Callable[P, R]) -> Callable[P, R]:
    """Gives `function` a `progress` of its own where it is called in a notebook without one. Whatever it calls is given
    the same, and so draws no second bar."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as at_the_end:
            if kwargs.get("progress") is None:
                kwargs["progress"] = _notebook(at_the_end)
            return function(*args, **kwargs)

    return call


def _notebook(at_the_end: ExitStack) -> Progress | None:
    """Bars in the notebook that is running this, None where there is none. A process that runs a notebook has already
    imported what runs it, so nothing is imported to find out."""
    marimo = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        return _Marimo(marimo, at_the_end)
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is not None:  # in a terminal it has none
        return _Jupyter(shell, at_the_end)
    return None


class Bars:
    """Draws now and then; where a bar begins, ends or gets another total, at once."""

    def __init__(self) -> None:
        self.bars: dict[str, tuple[int, int]] = {}
        self._next = 0.0

    def __call__(self, description: str, done: int, total: int) -> None:
        now, (_, before) = time.perf_counter(), self.bars.get(description, (0, None))
        self.bars[description] = (done, total)
        if now >= self._next or done >= total or total != before:
            self._next = now + SELDOM
            self.draw(description)

    def draw(self, description: str) -> None:
        raise NotImplementedError


class _Jupyter(Bars):
    """One output, which is replaced. HTML and an alternative in words: that needs no widgets, neither in the kernel nor
    in what shows the notebook."""

    def __init__(self, shell: Any, at_the_end: ExitStack) -> None:
        super().__init__()
        self._shell, self._output = shell, uuid.uuid4().hex
        self._at_the_end, self._drawn = at_the_end, False

    def draw(self, description: str) -> None:
        if not self._drawn:
            self._at_the_end.callback(self._publish, {})  # outputs cannot be taken back, but nothing is drawn of this
        self._publish({"text/html": self._html(), "text/plain": self._text()})

    def _publish(self, data: dict[str, str]) -> None:
        update, self._drawn = self._drawn, True
        self._shell.display_pub.publish(data, transient={"display_id": self._output}, update=update)

    def _html(self) -> str:
        width = max(map(len, self.bars))
        rows = "\n".join(
            f'<label>{html.escape(name.ljust(width))} <progress max="{total}" value="{done}"></progress> '
            f"{done}/{total}</label>"
            for name, (done, total) in self.bars.items()
        )
        return f"<pre>{rows}</pre>"

    def _text(self) -> str:
        return "\n".join(f"{name} {done}/{total}" for name, (done, total) in self.bars.items())


class _Marimo(Bars):
    """marimo's own bars, one for each description."""

    def __init__(self, marimo: Any, at_the_end: ExitStack) -> None:
        super().__init__()
        self._marimo, self._at_the_end = marimo, at_the_end
        self._shown: dict[str, Any] = {}

    def draw(self, description: str) -> None:
        done, total = self.bars[description]
        if description not in self._shown:
            bar = self._marimo.status.progress_bar(
                total=total, title=description, show_rate=False, show_eta=False, remove_on_exit=True
            )
            self._shown[description] = self._at_the_end.enter_context(bar)
        shown = self._shown[description]
        shown.total = total
        shown.update(done - shown.current)
