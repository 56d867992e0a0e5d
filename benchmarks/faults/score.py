"""From results to counts: what was detected, named, repaired, and flagged without cause, with Wilson intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unstick.remedies import parse

from . import truth
from .catalogue import first_with_fix
from .program import Fault

HERE = Path(__file__).parent
Result = dict[str, Any]
NEAR = 0.9
"""A remedy repairs where it covers this share of the way from the unchanged network's score to the fix's."""

SINGLES: dict[str, Any] = json.loads(file.read_text()) if (file := HERE / "singles.json").exists() else {}
"""What `sweep.py` found for programs that no proposal repairs."""

SYMPTOMS = {"not-learning", "non-finite"}


@dataclass(frozen=True)
class Count:
    hits: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "—"
        low, high = wilson(self.hits, self.of)
        return f"{self.hits}/{self.of} ({100 * low:.0f}–{100 * high:.0f} %)"


def wilson(hits: int, of: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval for a share (Wilson 1927), which keeps to 0 and 1 and holds for few cases."""
    p, n = hits / of, of
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


# -- one run -----------------------------------------------------------------------------------------------------------


def telling(run: Result) -> list[str]:
    """The rules that found something, in the tool's order, without notes."""
    return list(dict.fromkeys(f["rule"] for f in run["findings"] if f["severity"] != "info"))


def detected(run: Result) -> bool:
    return any(f["severity"] == "error" or f["rule"] == "not-learning" for f in run["findings"])


def named(case: Fault, run: Result) -> bool:
    """The first finding names a cause. A symptom in front of it is passed over only where the truth is one."""
    return telling(run)[:1] != [] and telling(run)[0] in truth.first(case)


def among_three(case: Fault, run: Result) -> bool:
    return any(rule in truth.acceptable(case) for rule in telling(run)[:3])


def flagged(run: Result, severity: str) -> bool:
    return any(f["severity"] == severity for f in run["findings"])


# -- one case ----------------------------------------------------------------------------------------------------------


def failing(result: Result) -> list[Result]:
    """The runs in which plain training of the same weights on the same batches fails."""
    return [run for run in result["runs"] if run["fails"]]


def most(runs: list[Result], holds: Callable[[Result], bool]) -> bool:
    return 2 * sum(map(holds, runs)) > len(runs)


def survives(case: Fault, result: Result) -> bool:
    """The published label holds here: it is a fault that fails for some seed at least."""
    return not case.control and result["label"] in ("fails", "fails for some seeds")


def has_cause(case: Fault) -> bool:
    return bool(truth.first(case))


def tried(trials: Result, which: str) -> list[Result]:
    """The trials of the proposed or of the published remedies, which may be written in another way than reported."""
    names = {str(parse(text)) for text in trials[which]}
    return [t for t in trials["tried"] if t["remedy"] in names]


def goal(result: Result) -> float | None:
    """The score from which on a program counts as repaired; None where the fix is no better in as many steps."""
    trials = result.get("trials")
    if not trials or trials["level"] is None:
        return None
    start = max(trials["unchanged"], result["base"])  # an R² of minus infinity is no longer way than one of zero
    if trials["level"] < start + 0.05:
        return None
    return start + NEAR * (trials["level"] - start)


def repairable(case: Fault, result: Result) -> bool | None:
    """Whether a proposal repairs it, where any single change does: a proposal, the published one, or one of a sweep."""
    proposed = repaired(result, "proposed")
    if proposed is not False:
        return proposed
    single = bool(repaired(result, "published")) or bool(SINGLES.get(case.id, {}).get("repairing"))
    return False if single else None


def repaired(result: Result, which: str) -> bool | None:
    """Whether a remedy of `which` ("proposed", "published") comes near the fix; None where nothing can be said.

    That is so where the fix is no better in as many steps, or where the time was too short for all of them.
    """
    trials, aim = result.get("trials"), goal(result)
    if not trials or aim is None:
        return None
    if which == "published" and not trials["published"]:
        return None
    reached = [t["score"] is not None and t["score"] >= aim for t in tried(trials, which)]
    if not any(reached) and not trials["whole"]:
        return None
    return any(reached)


# -- many cases --------------------------------------------------------------------------------------------------------


def count(pairs: Iterable[tuple[Fault, Result]], holds: Callable[[Fault, Result], bool | None]) -> Count:
    answers = [answer for case, result in pairs if (answer := holds(case, result)) is not None]
    return Count(sum(answers), len(answers))


FAULT_COLUMNS: dict[str, Callable[[Fault, Result], bool | None]] = {
    "detected": lambda c, r: most(failing(r), detected),
    "cause first": lambda c, r: most(failing(r), lambda run: named(c, run)) if has_cause(c) else None,
    "cause in three": lambda c, r: most(failing(r), lambda run: among_three(c, run)) if has_cause(c) else None,
    "repaired by a proposal": lambda c, r: repaired(r, "proposed"),
    "of what one change repairs": repairable,
    "by the published words": lambda c, r: repaired(r, "published"),
}


def healthy_runs(pairs: Iterable[tuple[Fault, Result]], controls: bool) -> list[tuple[str, Result]]:
    """(id, run) of the controls that are healthy here, or of repaired programs that learn when trained plainly."""
    found: list[tuple[str, Result]] = []
    for case, result in pairs:
        if case.control and controls and result["label"] == "healthy":
            found += [(case.id, run) for run in result["runs"]]
        elif case.fix is not None and not controls and first_with_fix(case).id == case.id:
            found += [(f"{case.id}, repaired", run) for run in result["repaired_runs"] if run["works"]]
    return found
