"""The demo: the diagnosis, the trials and the answer, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import answer, diagnosis, trials
from .pen import Blocks, Pen


def _tried(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """Without the sentences about each change: the answer tells them."""
    yield from trials.table(document, pen)
    yield from trials.conclusion(document, pen)


CHAPTERS = (
    ("What is wrong?", "diagnosis", diagnosis.blocks),
    ("What helps?", "trials", _tried),
    ("Which statements hold?", "answer", answer.blocks),
)


def blocks(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """Three chapters; the answer is the last line."""
    for number, (title, part, draw) in enumerate(CHAPTERS):
        if number:
            yield ""
        yield pen.chapter(title)
        yield from draw(document[part], pen)
