"""Why does it not learn? Watch a short training run, let the rules read what was measured, report."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

from .case import Case
from .observation import Observation, Progress
from .observe import observe
from .report.types import Report, jsonable, versions
from .rules import Finding, Severity, find
from .trace.attribution import attenuation
from .trace.types import KINDS, Operation, Trace


def diagnose(
    case: Case,
    *,
    steps: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Observe a short training run of a copy of `case` and say what is wrong with it.

    steps: optimizer steps to watch (300). budget: seconds after which the run ends, with what it has (120). device:
    where to run; None leaves the model where it is. progress: called with (description, done, total).

    Nothing of the user's is changed. Same seed, same findings. Ctrl-C ends the run and keeps what it has, marked as
    interrupted. Raises CaseError where the case cannot run.
    """
    started = time.perf_counter()
    observation = observe(
        case, steps=steps, seed=seed, budget=budget, device=device, progress=progress, interruptible=True
    )
    return Diagnosis(observation, find(observation), time.perf_counter() - started)


@dataclass(frozen=True)
class Diagnosis(Report):
    """What was seen, and what it means."""

    observation: Observation
    findings: tuple[Finding, ...]
    seconds: float

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
        shown = next((t for t in seen.traces if attenuation(t) is not None), seen.traces[0])
        lost = attenuation(shown)
        document: dict[str, Any] = {
            "schema": "unstick/diagnosis/1",
            "target": seen.target,
            "healthy": self.healthy,
            "learning": asdict(seen.learning),
            "metric": seen.metric,
            "findings": [{**asdict(finding), "severity": finding.severity.value} for finding in self.findings],
            "attenuation_decades": lost.decades if lost else None,
            "attenuation_truncated": lost.truncated if lost else None,
            "attribution": dict(lost.parts) if lost else dict.fromkeys(KINDS),
            "traces": [_summary(trace) for trace in seen.traces],
            "path": [_on_path(op) for op in shown.hidden],
            "layers": [_layer(op) for op in shown.operations],
            "uncovered": list(seen.uncovered),
            "interrupted": self.interrupted,
            "seed": seen.seed,
            "seconds": self.seconds,
            "versions": versions(),
        }
        cleaned: dict[str, Any] = jsonable(document)
        return cleaned


def _summary(trace: Trace) -> dict[str, Any]:
    lost = attenuation(trace)
    return {"step": trace.step, "loss": trace.loss, "attenuation_decades": lost.decades if lost else None}


def _on_path(op: Operation) -> dict[str, Any]:
    norm = op.backward.norm if op.backward else 0.0
    return {
        "module": op.module,
        "op": op.name,
        "kind": op.kind,
        "source": op.source,
        "decades": math.log10(norm) if 0 < norm < math.inf else None,
    }


def _layer(op: Operation) -> dict[str, Any]:
    return {
        "module": op.module,
        "op": op.name,
        "kind": op.kind,
        "source": op.source,
        "shape": list(op.shape),
        "forward": asdict(op.forward),
        "backward": asdict(op.backward) if op.backward else None,
    }
