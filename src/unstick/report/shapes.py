"""What a document must hold for its report to be read again, in words and in pictures. Other fields
may be there, such as newer versions add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ReportError
from .style import SEVERITIES, VERDICTS

TEXT, NUMBER, WHOLE, TRUTH, NULL = "a text", "a number", "a whole number", "true or false", "null"
ANYTHING = "anything"

TESTS = {
    TEXT: lambda value: isinstance(value, str),
    NUMBER: lambda value: _whole(value) or isinstance(value, float),
    WHOLE: lambda value: _whole(value),
    TRUTH: lambda value: isinstance(value, bool),
    NULL: lambda value: value is None,
    ANYTHING: lambda value: True,
}
LARGEST = 1e300  # whole numbers beyond it would not fit a float

# A tuple holds alternatives, a list what each of its members is, a set the words that are known, a dictionary its
# fields: a ? marks those that may be missing, since older versions did not write them, * stands for all.
MAYBE = (NUMBER, NULL)
WORDS = (TEXT, NULL)
PARTS = ({"*": MAYBE}, NULL)
CURVE = {"steps": [NUMBER], "middle": [MAYBE], "low": [MAYBE], "high": [MAYBE]}
CIRCUMSTANCES: dict[str, Any] = {
    "target": TEXT,
    "interrupted?": TRUTH,
    "versions?": {"*": TEXT},
    "seconds?": NUMBER,
    "command?": WORDS,
    "seed?": (WHOLE, NULL),
}
PLACE = {"module": WORDS, "op?": WORDS, "kind?": WORDS, "source?": WORDS}
NETWORK: dict[str, Any] = {
    "attenuation_decades?": MAYBE,
    "attenuation_truncated?": WORDS,
    "attribution?": PARTS,
    "theory?": ({"sentence": TEXT}, NULL),
    "path?": [
        {**PLACE, "decades": MAYBE, "index?": WHOLE, "expected?": MAYBE, "lost?": MAYBE, "lost_in?": WORDS},
    ],
    "layers?": [
        {
            **PLACE,
            "shape?": [WHOLE],
            "forward?": ({"rms?": MAYBE, "between?": MAYBE}, NULL),
            "backward?": ({"norm?": MAYBE}, NULL),
        }
    ],
    "curve?": CURVE,
}
DIAGNOSIS = {
    **CIRCUMSTANCES,
    **NETWORK,
    "learning": {
        "learns": (TRUTH, NULL),
        "initial_loss": MAYBE,
        "final_loss": MAYBE,
        "steps": WHOLE,
        "constant_loss?": MAYBE,
        "uses_input?": (TRUTH, NULL),
    },
    "findings": [
        {
            "rule": TEXT,
            "severity": set(SEVERITIES),
            "module?": WORDS,
            "source?": WORDS,
            "since?": (WHOLE, NULL),
            "summary": TEXT,
            "cause": WORDS,
            "evidence": {"*": ANYTHING},
            "remedies": [TEXT],
            "reading?": WORDS,
        }
    ],
    "metric?": MAYBE,
    "experiments?": [{"name": TEXT, "question": TEXT, "answer": TEXT}],
    "uncovered?": [TEXT],
}
TRIALS = {
    **CIRCUMSTANCES,
    "baseline": {
        **NETWORK,
        "loss": MAYBE,
        "learns": TRUTH,
        "seeds": WHOLE,
        "learned?": WHOLE,
        "steps?": WHOLE,
        "metric?": MAYBE,
        "findings?": [TEXT],
    },
    "trials": [
        {
            "remedy": TEXT,
            "verdict": set(VERDICTS),
            "explanation": TEXT,
            "changes?": [TEXT],
            "lines?": [TEXT],
            "learns": TRUTH,
            "seeds": WHOLE,
            "learned?": WHOLE,
            "loss": ({"before?": MAYBE, "after?": MAYBE, "difference?": MAYBE, "interval?": ([MAYBE], NULL)}, NULL),
            "gradient?": ({"before?": MAYBE, "after?": MAYBE, "restored?": TRUTH}, NULL),
            "metric?": ({"after?": MAYBE}, NULL),
            "curve?": CURVE,
        }
    ],
    "recommended": WORDS,
    "notes?": [TEXT],
    "patch?": ({"diff?": TEXT}, NULL),
}
CLAIM = {"text": TEXT, "holds": (TRUTH, NULL), "explanation": TEXT}
JUDGED = {
    **CIRCUMSTANCES,
    "question?": (
        {"title?": TEXT, "claim?": (CLAIM, NULL)},
        NULL,
    ),
    "answer": [WHOLE],
    "asked?": ([WHOLE], NULL),
    "statements": [
        {
            "id": WHOLE,
            "text": TEXT,
            "holds": TRUTH,
            "helps": TRUTH,
            "verdict": set(VERDICTS),
            "reason": WORDS,
            "reason_holds": (TRUTH, NULL),
            "explanation": TEXT,
            "textbook": (TRUTH, NULL),
            "reading?": WORDS,
        }
    ],
}
ANSWER = {**JUDGED, "trials": TRIALS}
SHAPES: dict[str, dict[str, Any]] = {
    "unstick/diagnosis/1": DIAGNOSIS,
    "unstick/trials/1": TRIALS,
    "unstick/answer/1": ANSWER,
    "unstick/demo/1": {"diagnosis": DIAGNOSIS, "trials": TRIALS, "answer": {**JUDGED, "trials?": TRIALS}},
}
KINDS = {
    "unstick/diagnosis/1": "a diagnosis (unstick diagnose)",
    "unstick/trials/1": "a report of trials (unstick try)",
    "unstick/answer/1": "an answer (unstick check)",
    "unstick/demo/1": "a demo (unstick demo)",
    "unstick/comparison/1": "a comparison (unstick compare)",
    "unstick/theory/1": "theory (unstick theory)",
    "unstick/rules/1": "the list of rules (unstick rules)",
    "unstick/remedies/1": "the list of remedies (unstick remedies)",
}
COMPARED = "what diagnose, try, check and demo write with --json can be compared"


def check(document: Any, name: str) -> str:
    """The document's schema. Raises ReportError, which calls the document `name`, where it cannot be compared."""
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if not isinstance(schema, str):
        raise ReportError(f"{name} is not a report of unstick: it has no schema; {COMPARED}.")
    if schema in SHAPES:
        if wrong := misfit(document, SHAPES[schema]):
            raise ReportError(
                f"{name} is not a report that this version of unstick can read: {wrong}; write it anew with --json."
            )
        return schema
    if schema in KINDS:
        raise ReportError(f"{name} is {KINDS[schema]}; only {COMPARED}.")
    if schema.startswith("unstick/"):
        raise ReportError(
            f"{name} has the schema {schema[:60]!r}, which this version of unstick does not know; update unstick, or "
            "write the report anew."
        )
    raise ReportError(f"{name} is not a report of unstick: its schema is {schema[:60]!r}; {COMPARED}.")


def misfit(value: Any, shape: Any, where: str = "") -> str | None:
    """The first thing in `value` that is not as `shape` asks for, in words; None where there is none."""
    if isinstance(shape, tuple):
        found = [misfit(value, each, where) for each in shape]
        return None if None in found else found[0]
    if isinstance(shape, str):
        return None if TESTS[shape](value) else f"{where} should be {shape}"
    if isinstance(shape, set):
        known = isinstance(value, str) and value in shape
        return None if known else f"{where} should be one of {', '.join(sorted(shape))}"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} should be a list"
        return _first(misfit(each, shape[0], f"{where}[{i}]") for i, each in enumerate(value))
    if not isinstance(value, Mapping):
        return f"{where} should be an object"
    return _first(_field(value, name, each, where) for name, each in shape.items())


def _field(value: Mapping[str, Any], name: str, shape: Any, where: str) -> str | None:
    path = f"{where}.{name}".removeprefix(".").removesuffix("?")
    if name == "*":
        return _first(misfit(each, shape, path) for each in value.values())
    if name.removesuffix("?") in value:
        return misfit(value[name.removesuffix("?")], shape, path)
    return None if name.endswith("?") else f"{path} is missing"


def _first(found: Any) -> str | None:
    return next((each for each in found if each is not None), None)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
