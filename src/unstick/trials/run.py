"""Paired trials: each remedy beside the unchanged network, with the same seeds, batches and number of steps."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..batched import MOST, observe_many
from ..case import Case, describe
from ..errors import CaseError, NotApplicable, UnstickError
from ..experiments import examined
from ..observation import Observation, Progress
from ..observe import BUDGET
from ..remedies import parse
from ..remedies.base import Compose, Remedy
from ..report.notebooks import watched
from ..rules import find
from ..script.spec import Script
from ..script.trial import ScriptTrials
from ..trace.source import of_traceback
from .engines import Engine, InProcess, LocalEngine, Lost, Threads, ray_address
from .explain import explain
from .jobs import PATIENCE, SLOWEST, Failure, Job, OutOfTime, Result
from .limit import Hung, limited
from .report import Trial, TrialReport
from .verdict import compare, diverged, error_rules, leading_cause

if TYPE_CHECKING:
    from .folder import RunFolder

LOOKS = (3, 5, 8)
"""Seeds after which the verdicts are looked at; what is settled stops there."""

MOST_SUGGESTED = 5
SMALL_WORK = 8.0
"""Seconds of work below which starting processes, which import torch, would take longer than it saves."""


@watched
def try_remedies(
    case: Case | Script,
    remedies: Sequence[str | Remedy] | None = None,
    *,
    steps: int | None = None,
    seeds: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    workers: int | None = None,
    device: str | None = None,
    resume: str | Path | None = None,
    engine: str = "local",
    gpus: float | None = None,
    progress: Progress | None = None,
) -> TrialReport:
    """Trains the case with and without each remedy and says what each of them does, with its uncertainty. A script is
    run as it is, each time in a process of its own and with files of its own.

    remedies: strings such as "relu+init(he)" or Remedy objects; None: what the findings on the unchanged network
    suggest. steps: of each run, 300 by default, and more where batches are tiny; fewer where they do not fit in the
    time. seeds: exactly so many runs of each, at least 2; None: 3, and up to 8 where 3 do not settle it. seed: of the
    first run. budget: seconds for everything; what is not settled by then is `inconclusive`. workers: processes; None:
    as many as the work is worth. resume: a folder to keep finished runs in; where it holds some of the same request,
    only the others are made. engine: "ray" for a Ray cluster, the one at RAY_ADDRESS or on this machine, "ray:ADDRESS"
    for another; gpus: the share of a GPU that each run takes there. progress: called with what is going on and the
    number of runs that are done and planned, which may still grow; None: a bar in a notebook, as in `diagnose`.

    The same seed gives the same report, timings aside, with any number of workers. Ctrl-C ends the trials and returns
    what is known, marked as interrupted. A remedy that cannot be applied, or whose network fails, is a verdict; so is a
    run that hangs, or whose process dies.
    Raises RemedyError for a misspelt remedy, CaseError for a case that cannot be trained as it stands, ValueError for
    a number of seeds, steps or workers that makes no sense, ScriptError for a script that makes no step, OutputError
    for a folder that is in use, belongs to another request or cannot be written.
    """
    _check(steps, seeds, workers)
    if engine == "local" and gpus is not None:
        raise UnstickError("gpus is for the engine ray: on this machine, a run takes the device that it is given.")
    if engine != "local" and workers is not None:
        raise UnstickError("workers is for this machine: on a Ray cluster there are as many as it has cores.")
    parsed = None if remedies is None else [parse(r) if isinstance(r, str) else r for r in remedies]
    if isinstance(case, Script):
        case.check_device(device)
        trials = ScriptTrials(case)
        parts = _Parts(trials, 1, trials.examine, partial(Threads, trials, trials.cancel), small=0.0)
    else:
        task = partial(_trials, case, device)
        examine = partial(examined, case, device=device, progress=progress)
        parts = _Parts(task, MOST, examine, partial(LocalEngine, task), SMALL_WORK)
    if engine != "local":
        address = ray_address(engine)
        from .ray import RayEngine

        remote = partial(RayEngine, parts.task, address, gpus or 0.0)
        parts = replace(parts, start=lambda workers: remote(), small=0.0)
    asked = {
        "target": case.title,
        "remedies": None if parsed is None else [str(remedy) for remedy in parsed],
        "steps": steps,
        "seeds": seeds,
        "seed": seed,
        "device": device,
    }
    with _kept(resume, case, asked) as folder:
        bench = Bench(
            parts if folder is None else replace(parts, small=0.0),  # whoever keeps results may have runs that crash
            looks=(seeds,) if seeds else LOOKS,
            steps=steps,
            seed=seed,
            budget=budget,
            deadline=None if budget is None else time.time() + budget,
            workers=workers,
            progress=progress,
            folder=folder,
        )
        return bench.report(case.title, parsed)


def _kept(
    resume: str | Path | None, case: Case | Script, asked: Mapping[str, object]
) -> AbstractContextManager[RunFolder | None]:
    if resume is None:
        return nullcontext()
    from .fingerprint import fingerprint
    from .folder import RunFolder

    return closing(RunFolder(resume, {**asked, "case": fingerprint(case)}))


@dataclass(frozen=True)
class _Parts:
    """What is different between cases and scripts. task: makes the runs of a job, or the first of them. together: how
    many seeds a job may have. examine: adds experiments to the unchanged network's. start: an engine of so many
    workers. small: seconds of work that are not worth one."""

    task: Callable[[Job], tuple[Result, ...]]
    together: int
    examine: Callable[..., Observation]
    start: Callable[[int], Engine]
    small: float


@dataclass
class Bench:
    """The runs done so far, and what is left to do. Lives for one call of `try_remedies`. apart: remedies whose seeds
    are not worth training together, or cannot be."""

    parts: _Parts
    looks: tuple[int, ...]
    steps: int | None
    seed: int
    budget: float | None
    deadline: float | None
    workers: int | None
    progress: Progress | None
    folder: RunFolder | None = None
    limit: float = math.inf
    results: dict[tuple[str | None, int], Result] = field(default_factory=dict)
    apart: set[str | None] = field(default_factory=set)
    planned: int = 1

    def report(self, title: str, remedies: list[Remedy] | None) -> TrialReport:
        started = time.perf_counter()
        interrupted = False
        engine: Engine | None = None
        try:
            self._tell()
            if self.workers is not None and self.workers > 1:
                engine = self.parts.start(self.workers)  # starts up while the first run goes on here
            self._first_run(MOST_SUGGESTED if remedies is None else len(remedies))
            remedies = _unique(self._suggested() if remedies is None else remedies)
            engine = engine or self._engine(len(remedies))
            self._look(engine, remedies)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if engine is not None:
                engine.close()
        before = self._runs(None)
        cause = leading_cause(before)
        return TrialReport(
            target=title,
            baseline=before,
            trials=tuple(self._judge(remedy, before, cause, interrupted) for remedy in remedies or ()),
            cause=cause,
            interrupted=interrupted,
            notes=(engine.notes if engine else ()) + self._time_notes(),
            seconds=time.perf_counter() - started,
        )

    def _first_run(self, remedies: int) -> None:
        """In this process, so that whatever is wrong with the case itself is raised here.

        It also finds the pace: where it cannot take all its steps in its share of the time, every run takes as many
        steps as it did.
        """
        runs = self.looks[0] * (remedies + 1)
        share = BUDGET if self.budget is None else self.budget / (runs + 1)  # one part to spare
        deadline = time.time() + share
        first = Job(None, (self.seed,), self.steps, deadline, whole=False)
        if not self._recall(first):
            results = self.parts.task(first)
            if isinstance(results[0], Failure | Lost):
                raise CaseError(results[0].reason)
            self._took(first, results)
        for run in self._runs(None):
            self.steps = run.requested if diverged(run) else run.learning.steps
            self.limit = PATIENCE + SLOWEST * run.seconds

    def _suggested(self) -> list[Remedy]:
        """What the findings say to try. Where none of them names a cause, experiments may."""
        if self.folder is not None and self.folder.suggested is not None:
            return [parse(text) for text in self.folder.suggested]
        (run,) = self._runs(None)
        if not error_rules(run):
            deadline = time.perf_counter() + (BUDGET if self.budget is None else self.budget / 4)
            run = self.parts.examine(run, deadline=deadline)
        named = dict.fromkeys(text for finding in find(run) for text in finding.remedies)
        texts = list(named)[:MOST_SUGGESTED]
        if self.folder is not None:
            self.folder.suggest(texts)
        return [parse(text) for text in texts]

    def _engine(self, remedies: int) -> Engine:
        runs = (remedies + 1) * self.looks[0] - 1
        seconds = sum(run.seconds for run in self._runs(None)) * runs
        cores = os.cpu_count() or 1
        if seconds < self.parts.small:
            return InProcess(self.parts.task)
        return self.parts.start(min(self.workers or cores, runs))

    def _look(self, engine: Engine, remedies: list[Remedy]) -> None:
        """Runs until every remedy is settled, or the seeds or the time are used up."""
        open_ = remedies
        for seeds in self.looks:
            if not open_:
                return
            self._run(engine, open_, seeds)
            before = self._runs(None)
            cause = leading_cause(before)
            open_ = [remedy for remedy in open_ if not self._settled(remedy, before, cause)]

    def _run(self, engine: Engine, remedies: list[Remedy], seeds: int) -> None:
        """Seed by seed, the unchanged network first, so that whatever cuts the runs short leaves whole pairs."""
        while jobs := self._jobs(remedies, seeds):
            left = [job for job in jobs if not self._recall(job)]
            self.planned = len(self.results) + sum(len(job.seeds) for job in left)
            self._tell()
            for index, results in engine.run(left):
                self._took(left[index], results)

    def _jobs(self, remedies: list[Remedy], seeds: int) -> list[Job]:
        """For all that is missing. Which seeds go together depends on results alone, not on how many processes there
        are or which was the fastest."""
        jobs = []
        for remedy in (None, *remedies):
            name = _name(remedy)
            missing = [s for s in range(self.seed, self.seed + seeds) if (name, s) not in self.results]
            size = 1 if name in self.apart else self.parts.together
            parts = (tuple(missing[i : i + size]) for i in range(0, len(missing), size))
            jobs += [Job(remedy, part, self.steps, self.deadline, limit=self.limit * len(part)) for part in parts]
        return sorted(jobs, key=lambda job: job.seeds[-1])

    def _took(self, job: Job, results: tuple[Result, ...] | Lost) -> None:
        """What came of a job, to be kept and counted."""
        if isinstance(results, Lost):  # several runs at once may have been more than the memory holds
            results = (results,) if len(job.seeds) == 1 else ()
        if self.folder is not None:
            self.folder.add(_name(job.remedy), job.seeds, results)
        self._count(job, results)

    def _recall(self, job: Job) -> bool:
        """Counts what was kept of this very job, if it was, in the order in which it would be made."""
        kept = None if self.folder is None else self.folder.results.get((_name(job.remedy), job.seeds))
        if kept is not None:
            self._count(job, kept)
        return kept is not None

    def _count(self, job: Job, results: tuple[Result, ...]) -> None:
        if len(results) < len(job.seeds):
            self.apart.add(_name(job.remedy))
        for seed, result in zip(job.seeds, results, strict=False):
            if job.remedy is None and isinstance(result, Failure):
                raise CaseError(result.reason)
            self.results[_name(job.remedy), seed] = result
            self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress("trials", len(self.results), self.planned)

    def _of(self, remedy: Remedy | None) -> list[Result]:
        """All results of one remedy, by seed."""
        name = _name(remedy)
        return [self.results[key] for key in sorted((k for k in self.results if k[0] == name), key=lambda k: k[1])]

    def _runs(self, remedy: Remedy | None) -> tuple[Observation, ...]:
        return tuple(result for result in self._of(remedy) if isinstance(result, Observation))

    def _settled(self, remedy: Remedy, before: tuple[Observation, ...], cause: str | None) -> bool:
        results = self._of(remedy)
        if any(isinstance(result, Failure | Lost | OutOfTime) for result in results):
            return True
        return compare(before, self._runs(remedy), cause, len(self.looks)).settled

    def _judge(self, remedy: Remedy, before: tuple[Observation, ...], cause: str | None, interrupted: bool) -> Trial:
        results, runs = self._of(remedy), self._runs(remedy)
        name, parts = str(remedy), len(remedy.parts) if isinstance(remedy, Compose) else 1
        failure = next((result for result in results if isinstance(result, Failure)), None)
        if failure is not None:
            return Trial(name, "not-applicable", failure.reason, parts)
        compared = compare(before, runs, cause, len(self.looks))
        text = explain(compared)
        if not compared.settled and (reason := _cut_short(results, interrupted)):
            text = f"{text} {reason}"
        changes = runs[0].changes if runs else ()
        about = remedy.lines(before[0]) if before else ()
        lines = tuple(dict.fromkeys(line for line in about if line is not None))
        return Trial(name, compared.verdict, text, parts, changes, compared, runs, lines)

    def _time_notes(self) -> tuple[str, ...]:
        first = next(iter(self._runs(None)), None)
        late = sum(isinstance(result, OutOfTime) for result in self.results.values())
        notes = []
        if first is not None and self.steps is not None and self.steps < first.requested:
            notes.append(f"Each run was cut from {first.requested} to {self.steps} steps to fit in the time.")
        if late:
            notes.append(f"The time was used up: {late} of {self.planned} runs were not finished.")
        return tuple(notes)


def _trials(case: Case, device: str | None, job: Job) -> tuple[Result, ...]:
    """The runs of a job, or the first of them: the same numbers in this process and in any other."""
    left = job.left
    if left <= 0.0:
        return tuple(OutOfTime() for _ in job.seeds)
    try:
        with limited(job.patience):
            seen = observe_many(case, job.seeds, remedy=job.remedy, steps=job.steps, budget=left, device=device)
    except (CaseError, NotApplicable) as error:
        return (Lost(_MEMORY + str(error)) if _out_of_memory(error) else Failure(str(error)),)
    except Hung:
        return (job.overdue(),)
    except (Exception, SystemExit) as error:
        if _out_of_memory(error):
            return (Lost(_MEMORY + describe(error)),)
        if job.remedy is not None:
            return (Failure(f"With this change the network fails: {describe(error)}"),)
        if of_traceback(error.__traceback__) is None:
            raise
        return (Failure(f"it failed while it was running: {describe(error)}"),)
    return tuple(s if s.learning.steps == s.requested or diverged(s) or not job.whole else OutOfTime() for s in seen)


_MEMORY = "it ran out of memory: "


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether that is what it is, or what it came from. On the CPU, torch has no class of its own for it."""
    if error is None:
        return False
    here = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return here or isinstance(error, MemoryError | torch.OutOfMemoryError) or _out_of_memory(error.__cause__)


def _cut_short(results: Iterable[Result], interrupted: bool) -> str:
    lost = next((result.reason for result in results if isinstance(result, Lost)), None)
    if lost is not None:
        return f"Not all runs came back: {lost}."
    if any(isinstance(result, OutOfTime) for result in results):
        return "The time budget was used up before this was settled."
    return "Interrupted before this was settled." if interrupted else ""


def _name(remedy: Remedy | None) -> str | None:
    return None if remedy is None else str(remedy)


def _unique(remedies: Iterable[Remedy]) -> list[Remedy]:
    return list({str(remedy): remedy for remedy in remedies}.values())


def _check(steps: int | None, seeds: int | None, workers: int | None) -> None:
    for name, value, least in (("steps", steps, 1), ("seeds", seeds, 2), ("workers", workers, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name}={value}: must be at least {least}")
