"""What `compare` found: what differs, in one table, then what became of the findings, and one sentence."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ..style import BETTER, NEITHER, WORSE, Style
from .pen import Blocks, Pen

Document = Mapping[str, Any]

NARROW = 50
"""Characters below which four columns do not fit, and each row is drawn as lines of its own."""

SAME = 12
"""Of what is the same, so many are named: all of a diagnosis, the first of a demo."""


def blocks(document: Document, pen: Pen) -> Blocks:
    """The two names, the table, what is the same, the sentence."""
    yield pen.heading("Two reports side by side")
    yield pen.pairs(zip(("before", "after"), map(_line, document["names"]), strict=True))
    if rows := [*document["changed"], *document["findings"]]:
        yield ""
        yield from _narrow(rows, pen) if pen.width < NARROW else _table(rows, pen)
    if same := document["same"]:
        named = ", ".join(f"{row['what']} {row['shown'][0]}" for row in same[:SAME])
        more = f" and {len(same) - SAME} more" if len(same) > SAME else ""
        yield pen.text(f"The same in both: {_line(named)}{more}.", "dim")
    yield ""
    yield pen.text(_line(document["sentence"]), "bold")


def _table(rows: Sequence[Document], pen: Pen) -> Blocks:
    cells: list[Sequence[str | Text]] = []
    for row in rows:
        old, new = map(_line, row["shown"])
        what = textwrap.fill(_line(row["what"]), pen.width * 3 // 10)
        cells.append((what, old, new, _sign(row, pen)))
    table = pen.table(("", "before", "after", ""), cells)
    for i in (0, -1):  # what there is room for stays whole; numbers are short, and places can be broken
        table.columns[i].no_wrap = True
    yield table


def _narrow(rows: Sequence[Document], pen: Pen) -> Blocks:
    for row in rows:
        old, new = (_line(shown) or "–" for shown in row["shown"])
        yield pen.text(_line(row["what"]))
        yield pen.indented(pen.text(f"{old} → {new}"))
        if sign := _sign(row, pen):
            yield pen.indented(sign)
    yield ""


def _sign(row: Document, pen: Pen) -> Text:
    """Better or worse, as a sign and a word; of a finding, what became of it."""
    style = _style(row["better"])
    word = row["became"] or style.word
    return pen.labelled(style, (_line(word), style.colour)) if word else Text()


def _style(better: bool | None) -> Style:
    return NEITHER if better is None else BETTER if better else WORSE


def _line(text: str) -> str:
    """Without what would break a line, or steer the terminal: the documents were read from files."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
