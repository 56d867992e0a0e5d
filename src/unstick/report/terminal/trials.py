"""What `try` measured: one row for each change beside the unchanged network, then each in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ..style import VERDICTS, number
from ..words import DECADES, LOSS, METRIC, decades, has_metric, learned, recommendation
from .pen import Blocks, Pen

COLUMNS = ("change", "verdict", "loss", "learns", "decades lost", "metric")

WIDE, WIDER = 66, 88
"""Characters that all columns but the last need, and all of them; narrower, only the first three are drawn."""

SHOWN = 3  # lines of source


def blocks(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """The table, a sentence or two for each change, the recommendation."""
    yield from table(document, pen)
    if document["trials"]:
        yield ""
        yield from sentences(document["trials"], pen)
    yield ""
    yield from conclusion(document, pen)


def table(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """One row for each change, what the columns mean, and what is wrong with the unchanged network."""
    yield pen.heading(f"Changes tried on {document['target']}, each beside the unchanged network")
    rows = [_unchanged(document["baseline"]), *(_row(trial, pen) for trial in document["trials"])]
    metric = has_metric(document) and pen.width >= WIDER
    shown = len(COLUMNS) if metric else len(COLUMNS) - 1 if pen.width >= WIDE else 3
    yield pen.table(COLUMNS[:shown], [row[:shown] for row in rows])
    yield pen.text(" ".join([LOSS, *([DECADES] if shown > 3 else []), *([METRIC] if metric else [])]), "dim")
    if found := document["baseline"].get("findings"):
        yield pen.text(f"Found in the unchanged network: {', '.join(found)}.", "dim")


def conclusion(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """What to take home, and what to know about it."""
    yield from (pen.text(note, "yellow") for note in document.get("notes", ()))
    yield pen.text(recommendation(document), "bold")
    if document.get("patch"):
        yield from _patch(document["patch"], document["recommended"], pen)
    yield pen.text(f"{document['seconds']:.1f} s", "dim")


def _patch(patch: Mapping[str, Any], recommended: str, pen: Pen) -> Blocks:
    """What became of the patch: where it is, or why there is none, and what does it by hand."""
    if patch["file"] is not None:
        which = "" if patch["remedy"] == recommended else f" for {patch['remedy']}, which the source has a place for"
        yield pen.text(
            f"Written to {patch['file']}{which}; the patched script was run, with the same verdict. Apply it with:"
        )
        yield pen.indented(pen.text(f"git apply {patch['file']}"))
        return
    if patch["missing"]:
        yield pen.text(f"No patch was written: {patch['remedy']} cannot be expressed safely in your source as a whole.")
        for missing in patch["missing"]:
            for line in missing.splitlines():
                yield pen.indented(pen.text(line))
    else:
        yield pen.text(f"No patch was written: the patched script did not do what {patch['remedy']} does.")
        yield pen.indented(pen.text(patch["explanation"], "dim"))
    if patch["diff"]:
        yield pen.text("What can be expressed:")
        yield pen.indented(pen.text(patch["diff"], "dim"))


def sentences(trials: Sequence[Mapping[str, Any]], pen: Pen) -> Blocks:
    """What happened with each change, and what exactly was changed."""
    for trial in trials:
        style = VERDICTS[trial["verdict"]]
        yield pen.labelled(style, (trial["remedy"], "bold"), ": ", trial["explanation"])
        if trial.get("changes"):
            yield pen.indented(pen.text("; ".join(trial["changes"]), "dim"))
        if lines := trial.get("lines"):
            more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
            yield pen.indented(pen.text(f"at {', '.join(lines[:SHOWN])}{more}", "dim"))


def _unchanged(baseline: Mapping[str, Any]) -> Sequence[str | Text]:
    if not baseline["seeds"]:
        return "(unchanged)", "", "", "", "", ""
    lost = decades(baseline["attenuation_decades"])
    return "(unchanged)", "", number(baseline["loss"]), learned(baseline), lost, _score(baseline.get("metric"))


def _row(trial: Mapping[str, Any], pen: Pen) -> Sequence[str | Text]:
    style = VERDICTS[trial["verdict"]]
    verdict = pen.labelled(style, (style.word, style.colour))
    loss, gradient, metric = (trial[name] or {} for name in ("loss", "gradient", "metric"))
    if not trial["seeds"]:
        return trial["remedy"], verdict, "", "", "", ""
    lost, score = decades(gradient.get("after")), _score(metric.get("after"))
    return trial["remedy"], verdict, number(loss.get("after")), learned(trial), lost, score


def _score(metric: float | None) -> str:
    return "" if metric is None else number(metric)
