"""What a report comes to: its title, its answer in one sentence, and how to get it once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .style import NO, UNKNOWN, VERDICTS, YES, Style, number, plural
from .style import answer as yes_no
from .words import listed, place, recommendation, settled

Document = Mapping[str, Any]


def title(document: Document) -> str:
    """For the window's title."""
    if document.get("names"):
        return "unstick: {} and {}".format(*document["names"])
    target = document.get("target") or (document.get("diagnosis") or {}).get("target") or document.get("activation")
    return f"unstick: {target}" if target else "unstick"


def sentence(document: Document) -> tuple[Style, str]:
    """The answer, and how it looks."""
    match document["schema"]:
        case "unstick/diagnosis/1":
            return _diagnosed(document)
        case "unstick/trials/1":
            return _tried(document)
        case "unstick/answer/1":
            return _answered(document), f"{_judged(document)}."
        case _:
            return _told(document)


def _diagnosed(document: Document) -> tuple[Style, str]:
    learns, target = document["learning"]["learns"], document["target"]
    errors = [finding for finding in document["findings"] if finding["severity"] == "error"]
    verb = {True: "learns", False: "does not learn", None: "cannot be judged by its losses"}[learns]
    if errors:
        joint = {True: "but there is", False: "because of", None: "but there is"}[learns]
        first = next((remedy for finding in errors for remedy in finding["remedies"]), None)
        advice = f" What to try first: {first}." if first else ""
        return NO, f"{target} {verb}, {joint} {_cause(errors[0])}.{advice}"
    if learns is False:
        return NO, f"{target} {verb}, and none of the rules says why."
    warnings = sum(finding["severity"] == "warning" for finding in document["findings"])
    found = plural(warnings, "warning") if warnings else "nothing wrong was found"
    return yes_no(learns), f"{target} {verb}; {found}."


def _cause(finding: Document) -> str:
    where = place(finding)
    return f"{finding['rule']} in {where}" if where else str(finding["rule"])


def _tried(document: Document) -> tuple[Style, str]:
    best = next((trial for trial in document["trials"] if trial["remedy"] == document["recommended"]), None)
    if best is None:
        return UNKNOWN, recommendation(document)
    style = VERDICTS[best["verdict"]]
    before, after = ((best["loss"] or {}).get(when) for when in ("before", "after"))
    moved = f": the loss after training is {number(after)} instead of {number(before)}" if after is not None else ""
    return style, f"{recommendation(document)}. It {style.word}{moved}."


def _answered(document: Document) -> Style:
    """Statements that are not settled are not false."""
    return YES if document["answer"] else NO if all(map(settled, document["statements"])) else UNKNOWN


def _judged(document: Document) -> str:
    told = f"Of {plural(len(document['statements']), 'statement')}, these hold: {listed(document['answer'])}"
    unsettled = [statement["id"] for statement in document["statements"] if not settled(statement)]
    return f"{told}; not settled: {listed(unsettled)}" if unsettled else told


def _told(document: Document) -> tuple[Style, str]:
    style, diagnosed = _diagnosed(document["diagnosis"])
    diagnosed = diagnosed.partition(" What to try first")[0]
    return style, f"{diagnosed} {_judged(document['answer'])}. {recommendation(document['trials'])}."


def command(document: Document) -> str:
    """What was typed; where nothing was, the call from Python that does the same."""
    if document.get("command"):
        return str(document["command"])
    match document.get("schema"):
        case "unstick/diagnosis/1":
            return f"unstick.diagnose(case, steps={document['learning']['steps']}, seed={document.get('seed', 0)})"
        case "unstick/trials/1":
            return f"unstick.try_remedies(case, {[t['remedy'] for t in document['trials']]!r}, {_runs(document)})"
        case "unstick/answer/1":
            return f"unstick.check(question, case, {_runs(document['trials'])})"
        case _:
            return "unstick demo"


def _runs(trials: Document) -> str:
    return f"steps={trials['baseline'].get('steps')}, seed={trials.get('seed') or 0}"
