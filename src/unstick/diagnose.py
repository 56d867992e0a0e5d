"""Why does it not learn? Watch a short training run, let the rules read what was measured, report."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from .case import Case
from .curve import curve
from .experiments import examined
from .network import described
from .observation import Observation, Progress
from .observe import BUDGET, STEPS, observe
from .report.notebooks import watched
from .report.types import Report, jsonable, versions
from .rules import Finding, Severity, find, in_order
from .script.look import look
from .script.spec import Outcome, Script
from .trace.attribution import attenuation
from .trace.types import Trace


@watched
def diagnose(
    case: Case | Script,
    *,
    steps: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    keep_going: bool = False,
) -> Diagnosis:
    """Observe a short training run of a copy of `case` and say what is wrong with it. A script is run as it is, in a
    process of its own, and ended when enough was seen.

    steps: optimizer steps to watch (300, and more where batches are so small that these hold fewer than 1,000 samples).
    budget: seconds after which the run ends, with what it has (120). device: where to run; None leaves the model where
    it is. progress: called with (description, done, total); None: a bar where this is called in a notebook (Jupyter or
    marimo), and nothing elsewhere; `lambda *_: None` for nothing in a notebook, either. keep_going: let a script run to
    its end. seed: of a script, for what it leaves unseeded.

    Nothing of the user's is changed. Same seed, same findings. Ctrl-C ends the run and keeps what it has, marked as
    interrupted. Raises CaseError where the case cannot run, ScriptError for a script that makes no step.
    """
    started = time.perf_counter()
    if isinstance(case, Script):
        case.check_device(device)
        outcome, interrupted = look(
            case,
            steps=steps,
            seed=seed,
            budget=BUDGET if budget is None else budget,
            keep_going=keep_going,
            advance=None if progress is None else partial(_told, progress, steps or STEPS),
        )
        return _of_script(outcome, interrupted, started)
    observation = observe(
        case, steps=steps, seed=seed, budget=budget, device=device, progress=progress, interruptible=True
    )
    if not observation.interrupted:
        deadline = started + (BUDGET if budget is None else budget)
        try:
            observation = examined(case, observation, device=device, deadline=deadline, progress=progress)
        except KeyboardInterrupt:
            observation = replace(observation, interrupted=True)
    return Diagnosis(observation, find(observation), time.perf_counter() - started)


def _told(progress: Progress, wanted: int, steps: int) -> None:
    progress("training", min(steps, wanted), wanted)


def _of_script(outcome: Outcome, interrupted: bool, started: float) -> Diagnosis:
    """What all of its optimizers show. The observation is that of the one with the gravest finding."""
    each = [(seen, find(seen)) for seen in outcome.seen]
    worst, _ = min(each, key=lambda pair: pair[1][0].severity.rank if pair[1] else len(Severity))
    found: dict[tuple[str, str | None], Finding] = {}
    for _, findings in each:
        for finding in findings:
            found.setdefault((finding.rule, finding.module), finding)
    if interrupted:
        worst = replace(worst, interrupted=True)
    return Diagnosis(worst, in_order(found.values()), time.perf_counter() - started, outcome)


@dataclass(frozen=True, repr=False)
class Diagnosis(Report):
    """What was seen, and what it means. outcome: of a script's process."""

    observation: Observation
    findings: tuple[Finding, ...]
    seconds: float
    outcome: Outcome | None = None

    @property
    def target(self) -> str:
        return self.observation.target

    @property
    def interrupted(self) -> bool:
        return self.observation.interrupted

    @property
    def healthy(self) -> bool:
        """No finding of severity error. Look at `observation.uncovered` for what could not be seen."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The document `unstick/diagnosis/1`. Attenuation and layers are those of the first trace that shows them."""
        seen = self.observation
        document: dict[str, Any] = {
            "schema": "unstick/diagnosis/1",
            "target": seen.target,
            "healthy": self.healthy,
            "learning": asdict(seen.learning),
            "metric": seen.metric,
            "findings": [{**asdict(finding), "severity": finding.severity.value} for finding in self.findings],
            "curve": asdict(curve([seen])),
            "experiments": [asdict(tried) for tried in seen.experiments],
            "traces": [_summary(trace) for trace in seen.traces],
            **described(seen.traces),
            "uncovered": list(seen.uncovered),
            "script": _script(self.outcome),
            "interrupted": self.interrupted,
            "seed": seen.seed,
            "seconds": self.seconds,
            "versions": versions(),
        }
        cleaned: dict[str, Any] = jsonable(document)
        return cleaned


def _script(outcome: Outcome | None) -> dict[str, Any] | None:
    """How a script ended, and how many optimizer steps it made."""
    if outcome is None:
        return None
    return {
        "exit_status": outcome.status,
        "ended_early": outcome.ended,
        "error": outcome.error,
        "steps": outcome.steps,
        "optimizers": len(outcome.seen),
    }


def _summary(trace: Trace) -> dict[str, Any]:
    lost = attenuation(trace)
    return {"step": trace.step, "loss": trace.loss, "attenuation_decades": lost.decades if lost else None}
