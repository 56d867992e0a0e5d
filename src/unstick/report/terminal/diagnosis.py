"""What `diagnose` found, as a colleague would say it: what, where, how much, why, what to try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ..style import INTERRUPTED, SEVERITIES, answer
from ..words import NOTHING, VERBS, details, footer, losses, metric, place, where
from .pen import Blocks, Pen

STRIP = 60
LEAST = 3.0
"""Decades that fill a bar at the least: a smaller change is drawn small."""


def blocks(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """The headline, the findings with causes first, the gradient's way, what was not seen."""
    yield headline(document, pen)
    if said := metric(document):
        yield pen.indented(pen.text(said))
    if document.get("interrupted"):
        yield pen.text(INTERRUPTED, "yellow")
    for finding in document["findings"]:
        yield ""
        yield from _finding(finding, pen)
    if not document["findings"]:
        yield pen.indented(pen.text(NOTHING[document["learning"]["learns"]]))
    if any(place["decades"] is not None for place in document.get("path", ())):
        yield ""
        yield from gradient(document, pen)
    if document.get("experiments"):
        yield ""
        yield pen.heading("What was tried on copies, to tell the cause")
        yield from (pen.indented(pen.text(f"{e['question']} {e['answer']}")) for e in document["experiments"])
    if document["uncovered"]:
        yield ""
        yield pen.heading("What could not be seen")
        yield from (pen.indented(pen.text(place)) for place in document["uncovered"])
    yield ""
    yield pen.text(footer(document), "dim")


def headline(document: Mapping[str, Any], pen: Pen) -> RenderableType:
    """Whether it learns, with the numbers that say so."""
    learns = document["learning"]["learns"]
    name = (document["target"], "bold")
    return pen.labelled(answer(learns), name, VERBS[learns], losses(document["learning"]))


def gradient(document: Mapping[str, Any], pen: Pen) -> Iterator[RenderableType]:
    """The gradient's norm along the trunk, and what it is lost in."""
    decades = [place["decades"] for place in document["path"]]
    known = [value for value in decades if value is not None]
    first, last = (place(document["path"][i]) for i in (0, -1))
    yield pen.heading("Gradient norm, from the first hidden operation to the last")
    yield pen.indented(pen.strip(decades, min(STRIP, pen.width - 4), LEAST))
    yield pen.indented(pen.text(f"{first} … {last}; 1e{min(known):+.0f} to 1e{max(known):+.0f}", "dim"))
    if document["attenuation_decades"] is not None:
        yield from _attribution(document["attenuation_decades"], document["attribution"], pen)
    if theory := document.get("theory"):
        yield pen.indented(pen.text(theory["sentence"]))


def _attribution(whole: float, parts: Mapping[str, float], pen: Pen) -> Iterator[RenderableType]:
    """A bar for each kind of operation; what it loses and what it adds have different colours."""
    verb = "loses" if whole >= 0 else "grows by"
    yield pen.indented(pen.text(f"On its way back it {verb} {abs(whole):.1f} decades (factors of ten):"))
    largest = max(LEAST, *map(abs, parts.values()))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", overflow="fold")
    grid.add_column(overflow="crop")
    for kind, lost in parts.items():
        if abs(lost) >= 0.05:
            bar = pen.bar(abs(lost) / largest, 30, "red" if lost > 0 else "green")
            grid.add_row(pen.text(kind), pen.text(f"{abs(lost):.1f} {'lost' if lost > 0 else 'gained'}"), bar)
    yield pen.indented(grid, 4)


def _finding(finding: Mapping[str, Any], pen: Pen) -> Iterator[RenderableType]:
    style = SEVERITIES[finding["severity"]]
    yield pen.labelled(
        style, (style.word, f"bold {style.colour}"), " ", (finding["rule"], "bold"), (f"  {where(finding)}", "dim")
    )
    yield pen.indented(pen.text(finding["summary"]))
    yield pen.pairs(details(finding))
