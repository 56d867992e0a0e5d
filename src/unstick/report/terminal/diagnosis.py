"""What `diagnose` found, as a colleague would say it: what, where, how much, why, what to try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ..style import INTERRUPTED, SEVERITIES, answer, number, plural
from .pen import Blocks, Pen

_NOTHING = {
    True: "Nothing wrong was found.",
    None: "Nothing wrong was found. What shows only in a network that fails was not looked for.",
    False: "None of the rules says why. More --steps may tell; `unstick try` compares changes.",
}
_VERBS = {
    True: " learns: ",
    False: " does not learn: ",
    None: ": whether it learns cannot be told from its losses: ",
}
STRIP = 60
LEAST = 3.0
"""Decades that fill a bar at the least: a smaller change is drawn small."""


def blocks(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """The headline, the findings with causes first, the gradient's way, what was not seen."""
    yield headline(document, pen)
    if document.get("interrupted"):
        yield pen.text(INTERRUPTED, "yellow")
    for finding in document["findings"]:
        yield ""
        yield from _finding(finding, pen)
    if not document["findings"]:
        yield pen.indented(pen.text(_NOTHING[document["learning"]["learns"]]))
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
    yield pen.text(_footer(document), "dim")


def headline(document: Mapping[str, Any], pen: Pen) -> RenderableType:
    """Whether it learns, with the numbers that say so."""
    seen = document["learning"]
    steps = plural(seen["steps"], "step")
    name = (document["target"], "bold")
    moved = f"in {steps} the loss went from {number(seen['initial_loss'])} to {number(seen['final_loss'])}"
    constant = seen["constant_loss"]
    beside = (
        f"; the best answer that ignores the input would have a loss of {number(constant)}"
        if constant is not None
        else ""
    )
    ignores = " Shuffling the targets makes no difference: the network ignores its input."
    tail = ignores if seen["uses_input"] is False else ""
    return pen.labelled(answer(seen["learns"]), name, _VERBS[seen["learns"]], moved, beside, ".", tail)


def gradient(document: Mapping[str, Any], pen: Pen) -> Iterator[RenderableType]:
    """The gradient's norm along the trunk, and what it is lost in."""
    decades = [place["decades"] for place in document["path"]]
    known = [value for value in decades if value is not None]
    first, last = (_place(document["path"][i]) for i in (0, -1))
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
        style, (style.word, f"bold {style.colour}"), " ", (finding["rule"], "bold"), (_where(finding), "dim")
    )
    yield pen.indented(pen.text(finding["summary"]))
    yield pen.pairs(_details(finding))


def _where(finding: Mapping[str, Any]) -> str:
    """ "  in net.3 (model.py:12), since step 0", as far as it is known."""
    place = _place(finding)
    since = finding.get("since")
    return (f"  in {place}" if place else "") + (f", since step {since}" if since is not None else "")


def _place(place: Mapping[str, Any]) -> str:
    module, source = place.get("module") or place.get("op") or "", place.get("source")
    return f"{module} ({source})" if module and source else module or source or ""


def _details(finding: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if finding["cause"]:
        yield "because of", finding["cause"]
    measured = ", ".join(
        f"{name.replace('_', ' ')} {_shown(value)}" for name, value in finding["evidence"].items() if _is_single(value)
    )
    if measured:
        yield "measured", measured
    if finding["remedies"]:
        yield "try", ", ".join(finding["remedies"])
    if finding.get("reading"):
        yield "read", finding["reading"]


def _is_single(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _shown(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def _footer(document: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    return f"{document['seconds']:.1f} s, {versions}"
