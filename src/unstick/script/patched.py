"""The remedy that won, as a patch of the script's own source, which is tried before anybody is given it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import ScriptError
from ..observation import Observation
from ..patch import express
from ..remedies import parse
from ..trials.engines import Threads
from ..trials.explain import explain
from ..trials.jobs import Job
from ..trials.report import Patched, Trial, TrialReport
from ..trials.run import LOOKS
from ..trials.verdict import compare
from .spec import Script
from .trial import ScriptTrials

MOST = 5  # remedies that are looked at


def patched(script: Script, report: TrialReport, *, budget: float | None = None, workers: int | None = None) -> Patched:
    """The recommended remedy as a patch, and what came of running the patched script with the seeds of the trials.

    Where it cannot be expressed, or does something else there, another remedy with the same verdict is; where none
    can, what is returned is about the recommended one. budget: seconds for the runs of each. workers: processes.
    Raises UnstickError where LibCST is not installed, or nothing is recommended.
    """
    first: Patched | None = None
    for trial in report.ranked[:MOST]:
        made = _of_trial(trial, script, report, budget, workers)
        if made.verified:
            return made
        first = first or made
    if first is None:
        raise ScriptError("no change can be recommended, so there is no patch to write")
    return first


def _of_trial(trial: Trial, script: Script, report: TrialReport, budget: float | None, workers: int | None) -> Patched:
    patch = express(parse(trial.remedy), report.baseline[0])
    made = Patched(trial.remedy, patch.content, patch.missing)
    if not patch.complete:
        return made
    with tempfile.TemporaryDirectory(prefix="unstick-") as folder:
        try:
            twin = mirrored(script, patch.contents, Path(folder).resolve())
            verdict, text = _verdict(twin, report, budget, workers or os.cpu_count() or 1)
        except ScriptError as error:
            return replace(made, explanation=f"The patched script {str(error).removeprefix(script.title).strip()}")
    return replace(made, verdict=verdict, explanation=text, verified=verdict == trial.verdict)


def _verdict(twin: Script, report: TrialReport, budget: float | None, workers: int) -> tuple[str | None, str]:
    trials = ScriptTrials(twin)
    engine = Threads(trials, trials.cancel, workers)
    deadline = None if budget is None else time.time() + budget
    jobs = [Job(None, (run.seed,), run.learning.steps, deadline) for run in report.baseline]
    try:
        runs = [result for _, (result,) in engine.run(jobs) if isinstance(result, Observation)]
    finally:
        engine.close()
    if len(runs) < len(jobs):
        return None, "The time was used up before the patched script had been run with each seed."
    compared = compare(report.baseline, runs, report.cause, len(LOOKS))
    return compared.verdict, explain(compared)


def mirrored(script: Script, contents: Mapping[Path, bytes], into: Path) -> Script:
    """The script as it would be with these contents of its files: its folder, and whatever lies around a file that
    changes, with Python files copied, since they import each other, and all else linked. Raises ScriptError.
    """
    start = Path.cwd() if script.module else Path(os.path.abspath(script.path)).parent
    root = Path(os.path.commonpath([start, *(path.parent for path in contents)]))
    real = {start, root} | {parent for path in contents for parent in path.parents if parent.is_relative_to(root)}
    _mirror(root, into, real | {parent for parent in start.parents if parent.is_relative_to(root)})
    for path, content in contents.items():
        (into / path.relative_to(root)).write_bytes(content)
    there = into / start.relative_to(root)
    if script.module:
        return replace(script, folder=str(there))
    return replace(script, path=str(there / Path(script.path).name))


def _mirror(folder: Path, into: Path, real: set[Path]) -> None:
    """real: folders that have to be folders, since a file in them changes; so have packages."""
    for entry in os.scandir(folder):
        path, twin = Path(entry.path), into / entry.name
        if entry.is_dir() and (path in real or (path / "__init__.py").exists()):
            twin.mkdir()
            _mirror(path, twin, real)
        elif entry.is_file() and entry.name.endswith(".py"):
            shutil.copyfile(path, twin)
        else:
            twin.symlink_to(path)
