"""What `try` measured: one row for each change beside the unchanged network, then each in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ..style import VERDICTS, number, plural
from .pen import Blocks, Pen

COLUMNS = ("change", "verdict", "loss", "learns", "gradient lost, decades")


def blocks(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """The table, the sentences, the recommendation."""
    yield pen.heading(f"Changes tried on {document['target']}, each beside the unchanged network")
    yield pen.table(COLUMNS, [_unchanged(document["baseline"]), *(_row(trial, pen) for trial in document["trials"])])
    yield from sentences(document["trials"], pen)
    yield ""
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
    if document["recommended"] is None:
        return stopped + "None of these changes can be recommended."
    return stopped + f"Recommended: {document['recommended']}"


def _unchanged(baseline: Mapping[str, Any]) -> Sequence[str | Text]:
    found = ", ".join(baseline.get("findings", ()))
    return (
        "(unchanged)",
        found,
        number(baseline["loss"]),
        _learned(baseline),
        _decades(baseline["attenuation_decades"]),
    )


def _row(trial: Mapping[str, Any], pen: Pen) -> Sequence[str | Text]:
    style = VERDICTS[trial["verdict"]]
    verdict = pen.labelled(style, (style.word, style.colour))
    loss, gradient = trial["loss"] or {}, trial["gradient"] or {}
    if trial["verdict"] == "not-applicable":
        return trial["remedy"], verdict, "", "", ""
    return trial["remedy"], verdict, number(loss.get("after")), _learned(trial), _decades(gradient.get("after"))


def _learned(run: Mapping[str, Any]) -> str:
    if "learned" not in run:
        return "yes" if run["learns"] else "no"
    return f"{run['learned']} of {plural(run['seeds'], 'seed')}"


def _decades(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
