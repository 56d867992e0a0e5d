"""What a report says, one fact at a time, so that two reports can be held side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..observation import SMALLEST_EFFECT
from .style import VERDICTS, answer, number, plural

Document = Mapping[str, Any]

RANKS = {"error": -2.0, "warning": -1.0}
"""Of severities: what keeps a network from learning is worse than what may, and that is worse than nothing."""

RESULT, RUN = "result", "run"
"""The parts of a report: what was found, and the circumstances that it was found under."""


@dataclass(frozen=True, slots=True)
class Fact:
    """what: its name, the same in each report. value: as in the document; shown: for people.

    rank: the higher the better; None where neither direction is. margin: the least difference in rank that matters.
    terms: ranks are compared only where these are equal. absent: what a report without this fact says; "" where it was
    written by a version that did not record it, so that nothing can be said.
    """

    what: str
    value: Any
    shown: str
    rank: float | None = None
    margin: float = 0.0
    terms: tuple[Any, ...] = ()
    absent: str = ""
    part: str = RESULT


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: which rule, where, and how grave."""

    rule: str
    module: str | None
    severity: str

    @property
    def shown(self) -> str:
        return f"{self.severity} in {self.module}" if self.module else self.severity

    @property
    def rank(self) -> float:
        return RANKS.get(self.severity, 0.0)


def facts(document: Document) -> dict[str, Fact]:
    """By name, in the order in which they are shown. The document has been checked."""
    found: dict[str, Fact] = {}
    for fact in FACTS[document["schema"]](document):
        found.setdefault(fact.what, fact)
    return found


def findings(document: Document) -> list[Found]:
    """Those of the unchanged network, each rule once a module."""
    found: dict[tuple[str, str | None], Found] = {}
    for each in FINDINGS[document["schema"]](document):
        found.setdefault((each.rule, each.module), each)
    return list(found.values())


def _in_full(diagnosis: Document) -> Iterator[Found]:
    for each in diagnosis["findings"]:
        yield Found(each["rule"], each.get("module"), each["severity"])


def _by_name(trials: Document) -> Iterator[Found]:
    """Trials name the rules that found an error."""
    for rule in trials["baseline"].get("findings", ()):
        yield Found(rule, None, "error")


FINDINGS: dict[str, Callable[[Document], Iterator[Found]]] = {
    "unstick/diagnosis/1": _in_full,
    "unstick/trials/1": _by_name,
    "unstick/answer/1": lambda answer: _by_name(answer["trials"]) if "trials" in answer else iter(()),
    "unstick/demo/1": lambda demo: _in_full(demo["diagnosis"]),
}


def _diagnosis(document: Document) -> Iterator[Fact]:
    seen = document["learning"]
    constant = seen.get("constant_loss")
    # Losses of other batches, after other numbers of steps, or by another loss function are no better and no worse.
    terms = (document["target"], document.get("seed"), seen["steps"], constant and number(constant))
    scale = seen["initial_loss"] if constant is None else constant
    yield _truth("learns", seen["learns"])
    if "uses_input" in seen:
        yield _truth("uses its input", seen["uses_input"])
    yield _loss("final loss", seen["final_loss"], scale, terms)
    yield Fact("loss before training", seen["initial_loss"], number(seen["initial_loss"]))
    if "constant_loss" in seen:
        yield Fact("loss of the best constant", constant, "none" if constant is None else number(constant))
    yield from _metric("metric", document.get("metric"), terms)
    errors = sum(finding["severity"] == "error" for finding in document["findings"])
    yield Fact("errors", errors, str(errors), rank=-float(errors))
    yield from _gradient(document, "")
    yield from _circumstances(document)
    yield Fact("steps", seen["steps"], str(seen["steps"]), part=RUN)
    if "seed" in document:
        yield Fact("seed", document["seed"], str(document["seed"]), part=RUN)


def _trials(document: Document) -> Iterator[Fact]:
    unchanged = document["baseline"]
    terms = (document["target"], unchanged.get("steps"))
    yield Fact("recommended", document["recommended"], document["recommended"] or "none")
    if unchanged["seeds"]:
        repeated = (*terms, unchanged["seeds"])
        yield _learned("(unchanged) learns", unchanged)
        yield _loss("(unchanged) loss", unchanged["loss"], unchanged["loss"], repeated)
        yield from _gradient(unchanged, "(unchanged) ")
        yield from _metric("(unchanged) metric", unchanged.get("metric"), repeated)
    for trial in document["trials"]:
        yield from _trial(trial, unchanged["loss"], terms)
    yield from _circumstances(document)
    if "steps" in unchanged:
        yield Fact("steps of a trial", unchanged["steps"], str(unchanged["steps"]), part=RUN)
    yield Fact("seeds", unchanged["seeds"], str(unchanged["seeds"]), part=RUN)


def _trial(trial: Document, scale: float | None, terms: tuple[Any, ...]) -> Iterator[Fact]:
    """A verdict is about the unchanged network of its own report, so that neither of two is the better one."""
    name, loss, terms = trial["remedy"], trial["loss"] or {}, (*terms, trial["seeds"])
    yield Fact(f"{name} verdict", trial["verdict"], _verdict(trial["verdict"]), absent="not tried")
    if not trial["seeds"]:
        return
    yield _learned(f"{name} learns", trial)
    if "after" in loss:
        yield _loss(f"{name} loss", loss["after"], scale, terms)
    if "difference" in loss:
        yield Fact(f"{name} difference", [loss["difference"], loss.get("interval")], _interval(loss))
    if (gradient := trial.get("gradient")) and "after" in gradient:
        yield Fact(f"{name} decades lost", gradient["after"], _decades(gradient["after"]))
    yield from _metric(f"{name} metric", (trial.get("metric") or {}).get("after"), terms)


def _answer(document: Document) -> Iterator[Fact]:
    question = document.get("question") or {}
    yield Fact("answer", document["answer"], ", ".join(map(str, document["answer"])) or "none")
    if claim := question.get("claim"):
        yield Fact("claim holds", claim["holds"], answer(claim["holds"]).word)
    for statement in document["statements"]:
        yield from _statement(statement)
    if "trials" in document:
        yield from _trials(document["trials"])
    yield from _circumstances(document)
    if "title" in question:
        yield Fact("question", question["title"], question["title"], part=RUN)
    for statement in document["statements"]:
        yield Fact(f"text of statement {statement['id']}", statement["text"], statement["text"], part=RUN)


def _statement(statement: Document) -> Iterator[Fact]:
    name, open_ = f"statement {statement['id']}", statement["verdict"] == "inconclusive"
    holds = "not settled" if open_ else answer(statement["holds"]).word
    yield Fact(f"{name} holds", None if open_ else statement["holds"], holds, absent="not asked")
    yield Fact(f"{name} verdict", statement["verdict"], _verdict(statement["verdict"]))
    if "reason_holds" in statement:
        true = statement["reason_holds"]
        yield Fact(f"{name} reason is true", true, answer(true).word)


def _demo(document: Document) -> Iterator[Fact]:
    for part, tell in (("diagnosis", _diagnosis), ("trials", _trials), ("answer", _answer)):
        yield from tell(document[part])


FACTS: dict[str, Callable[[Document], Iterator[Fact]]] = {
    "unstick/diagnosis/1": _diagnosis,
    "unstick/trials/1": _trials,
    "unstick/answer/1": _answer,
    "unstick/demo/1": _demo,
}


def _circumstances(document: Document) -> Iterator[Fact]:
    yield Fact("target", document["target"], document["target"], part=RUN)
    for name, version in document.get("versions", {}).items():
        yield Fact(f"{name} version", version, version, part=RUN)


def _gradient(document: Document, prefix: str) -> Iterator[Fact]:
    """A small gradient is no fault where the network learns, so that fewer decades are not better."""
    if "attenuation_decades" in document:
        lost = document["attenuation_decades"]
        yield Fact(f"{prefix}decades lost", lost, _decades(lost))
    for kind, lost in (document.get("attribution") or {}).items():
        yield Fact(f"{prefix}decades in {kind}", lost, _decades(lost))


def _truth(what: str, value: bool | None) -> Fact:
    return Fact(what, value, answer(value).word, rank=None if value is None else float(value))


def _loss(what: str, value: float | None, scale: float | None, terms: tuple[Any, ...]) -> Fact:
    """value: None where it is not finite. scale: a loss, of which 1 % is the smallest effect that matters."""
    rank = -math.inf if value is None else -value
    return Fact(what, value, number(value), rank, SMALLEST_EFFECT * abs(scale or 0.0), terms)


def _metric(what: str, value: float | None, terms: tuple[Any, ...]) -> Iterator[Fact]:
    """Higher is better; None where there is none."""
    if value is not None:
        yield Fact(what, value, number(value), rank=value, terms=terms)


def _learned(what: str, runs: Document) -> Fact:
    """Most of its runs decide; how many did is shown where it was recorded."""
    count = runs.get("learned")
    shown = answer(runs["learns"]).word if count is None else f"{count} of {plural(runs['seeds'], 'seed')}"
    return Fact(what, runs["learns"] if count is None else count, shown, rank=float(runs["learns"]))


def _interval(loss: Document) -> str:
    """ "-2.00 (-2.50 to -1.50)": the difference to the unchanged network of the same report."""
    interval = loss.get("interval") or ()
    if loss["difference"] is None:
        return "none"
    between = f" ({' to '.join(map(number, interval))})" if interval and None not in interval else ""
    return number(loss["difference"]) + between


def _verdict(verdict: str) -> str:
    return VERDICTS[verdict].word if verdict in VERDICTS else verdict


def _decades(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f}"
