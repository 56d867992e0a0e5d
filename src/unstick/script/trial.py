"""Trials of a script: each is a run of the script as it is, in a process of its own, with a remedy put in or none."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from threading import Event

from ..errors import ScriptError
from ..observation import Observation
from ..observe import BUDGET
from ..trials.jobs import Failure, Job, OutOfTime, Result
from .launch import Run, run
from .look import why_nothing
from .spec import Script, Spec


class ScriptTrials:
    """Makes one run for each job, of its first seed. The script's own failure is raised as ScriptError, with what it
    printed."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._cancelled = Event()

    def __reduce__(self) -> tuple[type[ScriptTrials], tuple[Script]]:
        """For another machine, which has to see the same folder."""
        return ScriptTrials, (replace(self._script, folder=self._script.folder or os.getcwd()),)

    def cancel(self) -> None:
        """End all that are running."""
        self._cancelled.set()

    def __call__(self, job: Job) -> tuple[Result]:
        """The run of the first seed."""
        return (self._result(job),)

    def _result(self, job: Job) -> Result:
        left = min(job.left, job.limit)
        if left <= 0.0 or self._cancelled.is_set():
            return OutOfTime()
        left = BUDGET if left == math.inf else left
        ran = self._run(None if job.remedy is None else str(job.remedy), job.seeds[0], job.steps, left)
        seen = _observation(ran)
        if seen is None:
            return self._nothing(job, ran, left)
        seen = replace(seen, seed=job.seeds[0])
        complete = seen.learning.steps >= seen.requested or seen.diverged is not None or not job.whole
        return seen if complete else job.overdue()

    def examine(self, seen: Observation, deadline: float) -> Observation:
        """The unchanged network once more, and what is tried on copies of it. deadline: by `time.perf_counter`."""
        left = deadline - time.perf_counter()
        again = _observation(self._run(None, seen.seed, seen.requested, left / 2, experiments=left / 2))
        return seen if again is None else again

    def _run(self, remedy: str | None, seed: int, steps: int | None, budget: float, experiments: float = 0.0) -> Run:
        spec = Spec(self._script, steps, seed, budget, experiments, trial=True, remedy=remedy)
        ran = run(spec, cancelled=self._cancelled)
        if ran.interrupted:
            raise KeyboardInterrupt
        return ran

    def _nothing(self, job: Job, ran: Run, budget: float) -> Result:
        """A run of which nothing was seen, or that its own error ended."""
        if self._cancelled.is_set():
            return OutOfTime()
        if ran.late and job.whole:
            return job.overdue()
        outcome = ran.outcome
        if outcome is not None and outcome.refused is not None:
            if job.remedy is None:
                raise ScriptError(f"{self._script.title} cannot be tried: {outcome.refused}")
            return Failure(outcome.refused)
        if job.remedy is not None:
            why = outcome.error if outcome and outcome.error else why_nothing(ran, budget)
            return Failure(f"With this change the script fails: {why}")
        raise ScriptError(f"{self._script.title} {why_nothing(ran, budget)}", ran.printed)


def _observation(ran: Run) -> Observation | None:
    """What was seen, unless an error ended it. A script that ends by itself asks for as many steps as it makes."""
    outcome = ran.outcome
    if outcome is None or not outcome.seen or outcome.error is not None or outcome.refused is not None:
        return None
    seen = outcome.seen[0]
    return seen if outcome.ended else replace(seen, requested=seen.learning.steps)
