"""The whole story on the reference case: what is wrong, what helps, and which of four statements hold."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .diagnose import Diagnosis, diagnose
from .observation import Progress
from .questions import Answer, check, load
from .report.notebooks import watched
from .report.types import Report
from .target import load as load_case

QUESTION = "kaylee"
LOOKING = 0.2
"""Share of the time budget for the diagnosis; the trials need many runs, the diagnosis one."""


@dataclass(frozen=True, repr=False)
class Demo(Report):
    """The diagnosis and the answer; the trials that the answer rests on come with it."""

    diagnosis: Diagnosis
    answer: Answer

    @property
    def interrupted(self) -> bool:
        return self.answer.trials.interrupted

    def to_dict(self) -> dict[str, Any]:
        answer = self.answer.to_dict()
        trials = answer.pop("trials")
        return {
            "schema": "unstick/demo/1",
            "interrupted": self.interrupted,
            "diagnosis": self.diagnosis.to_dict(),
            "trials": trials,
            "answer": answer,
        }


@watched
def demo(
    *,
    steps: int | None = None,
    seeds: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    resume: str | Path | None = None,
    asked: tuple[int, ...] | None = None,
    progress: Progress | None = None,
) -> Demo:
    """Diagnose the reference case and judge its question. Options as for `diagnose` and `check`.

    asked: what a reader answered beforehand, to be compared. resume: keeps the trials, not the diagnosis. budget:
    seconds for both together.
    """
    question = load(QUESTION)
    assert question.target is not None
    case = load_case(question.target)
    looking = None if budget is None else budget * LOOKING
    diagnosis = diagnose(case, steps=steps, seed=seed, budget=looking, device=device, progress=progress)
    trying = None if budget is None else budget * (1 - LOOKING)
    answer = check(
        question,
        case,
        steps=steps,
        seeds=seeds,
        seed=seed,
        budget=trying,
        # The work is known to be worth it, so the processes can start up beside the first run.
        workers=(os.cpu_count() or 1) if workers is None else workers,
        device=device,
        resume=resume,
        progress=progress,
    )
    return Demo(diagnosis, replace(answer, asked=asked))
