"""What `check` says of each statement: whether the change helps, and whether the reason given for it is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ..style import INTERRUPTED
from ..style import answer as style_of
from ..words import listed, settled
from .pen import Blocks, Pen


def blocks(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """The question, each statement with its verdicts, and last of all the answer."""
    question = document.get("question") or {}
    yield pen.heading(f"{question.get('title', 'Statements')}: measured on {document['target']}")
    if question.get("claim"):
        yield ""
        yield from _claim(question["claim"], pen)
    for statement in document["statements"]:
        yield ""
        yield from _statement(statement, pen)
    yield ""
    if document.get("interrupted"):
        yield pen.text(INTERRUPTED, "yellow")
    if open_ := [s["id"] for s in document["statements"] if not settled(s)]:
        yield pen.text(f"Not settled by these runs: {listed(open_)}", "yellow")
    textbook = [s["id"] for s in document["statements"] if s["textbook"]]
    if any(s["textbook"] is not None for s in document["statements"]):
        yield pen.text(f"A textbook would say: {listed(textbook)}", "dim")
    if document.get("asked") is not None:
        yield _compared(document["asked"], document["answer"], pen)
    yield pen.text(f"answer: {listed(document['answer'])}", "bold")


def _claim(claim: Mapping[str, Any], pen: Pen) -> Blocks:
    yield pen.labelled(style_of(claim["holds"]), (claim["text"], "bold"))
    yield pen.indented(pen.text(claim["explanation"]))


def _statement(statement: Mapping[str, Any], pen: Pen) -> Blocks:
    holds = statement["holds"] if settled(statement) else None
    yield pen.labelled(style_of(holds), (f"{statement['id']}. {statement['text']}", "bold"))
    yield pen.indented(_verdicts(statement, pen))
    yield pen.indented(pen.text(statement["explanation"]))
    if statement.get("reading"):
        yield pen.indented(pen.text(f"Read: {statement['reading']}", "dim"))


def _verdicts(statement: Mapping[str, Any], pen: Pen) -> Text:
    """Two verdicts, since a change may help for another reason than the one given."""
    helps = style_of(statement["helps"] if settled(statement) else None)
    line = pen.labelled(helps, "the change helps: ", (helps.word, helps.colour))
    if statement["reason"] is not None:
        true = style_of(statement["reason_holds"])
        line.append("   ")
        line.append_text(pen.labelled(true, "the reason is true: ", (true.word, true.colour)))
    return line


def _compared(asked: Sequence[int], measured: Sequence[int], pen: Pen) -> Text:
    right = set(asked) == set(measured)
    verdict = "measurement agrees." if right else f"measurement says {listed(measured)}."
    return pen.labelled(style_of(right), f"You said {listed(asked)}; {verdict}")
