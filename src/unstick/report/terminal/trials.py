"""What `try` measured: one row for each change beside the unchanged network, then each in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ..style import VERDICTS, number, plural
from .pen import Blocks, Pen

COLUMNS = ("change", "verdict", "loss", "learns", "decades lost")


def blocks(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """The table, a sentence or two for each change, the recommendation."""
    yield from table(document, pen)
    yield from sentences(document["trials"], pen)
    yield ""
    yield from conclusion(document, pen)


def table(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """One row for each change. The last column says how many decades the gradient loses on its way back."""
    yield pen.heading(f"Changes tried on {document['target']}, each beside the unchanged network")
    yield pen.table(COLUMNS, [_unchanged(document["baseline"]), *(_row(trial, pen) for trial in document["trials"])])
    if found := document["baseline"].get("findings"):
        yield pen.text(f"Found in the unchanged network: {', '.join(found)}.", "dim")


def conclusion(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """What to take home, and what to know about it."""
    yield from (pen.text(note, "yellow") for note in document.get("notes", ()))
    yield pen.text(recommendation(document), "bold")
    yield pen.text(f"{document['seconds']:.1f} s", "dim")


def sentences(trials: Sequence[Mapping[str, Any]], pen: Pen) -> Blocks:
    """What happened with each change, and what exactly was changed."""
    for trial in trials:
        style = VERDICTS[trial["verdict"]]
        yield pen.labelled(style, (trial["remedy"], "bold"), ": ", trial["explanation"])
        if trial.get("changes"):
            yield pen.indented(pen.text("; ".join(trial["changes"]), "dim"))


def recommendation(document: Mapping[str, Any]) -> str:
    """The one line to take home."""
    stopped = "Interrupted; this is what was known by then. " if document.get("interrupted") else ""
    if not document["trials"]:
        return stopped + "Nothing was tried: the findings suggest no remedy."
    if document["recommended"] is None:
        return stopped + "None of these changes can be recommended."
    return stopped + f"Recommended: {document['recommended']}"


def _unchanged(baseline: Mapping[str, Any]) -> Sequence[str | Text]:
    if not baseline["seeds"]:
        return "(unchanged)", "", "", "", ""
    decades = _decades(baseline["attenuation_decades"])
    return "(unchanged)", "", number(baseline["loss"]), _learned(baseline), decades


def _row(trial: Mapping[str, Any], pen: Pen) -> Sequence[str | Text]:
    style = VERDICTS[trial["verdict"]]
    verdict = pen.labelled(style, (style.word, style.colour))
    loss, gradient = trial["loss"] or {}, trial["gradient"] or {}
    if not trial["seeds"]:
        return trial["remedy"], verdict, "", "", ""
    return trial["remedy"], verdict, number(loss.get("after")), _learned(trial), _decades(gradient.get("after"))


def _learned(run: Mapping[str, Any]) -> str:
    if "learned" not in run:
        return "yes" if run["learns"] else "no"
    return f"{run['learned']} of {plural(run['seeds'], 'seed')}"


def _decades(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
