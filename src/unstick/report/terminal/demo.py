"""The demo: the diagnosis, the trials and the answer, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.rule import Rule

from . import answer, diagnosis, trials
from .pen import Blocks, Pen

CHAPTERS = (
    ("What is wrong?", "diagnosis", diagnosis.blocks),
    ("What helps?", "trials", trials.blocks),
    ("Which statements hold?", "answer", answer.blocks),
)


def blocks(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """Three chapters; one that an interruption cut off is None and left out."""
    for title, part, draw in CHAPTERS:
        if document[part] is not None:
            yield Rule(pen.text(title, "bold"), characters="-" if pen.ascii_only else "─", align="left")
            yield from draw(document[part], pen)
            yield ""
