"""What unstick says of the published programs: python -m benchmarks.faults

For each case: a diagnosis for each seed, one of its repaired twin, and where it fails, paired trials of what the
diagnosis proposes and of the published repair. Results go to results.json as they arrive. What was computed by the same
code is not computed again: observations are kept (in .cache), so that changed rules are judged on them in seconds, and
trials are made again only where other remedies are proposed. `--fresh` forgets both.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import unstick
from unstick.observation import Observation
from unstick.report.types import jsonable
from unstick.rules import find
from unstick.trials.run import MOST_SUGGESTED

from .catalogue import first_with_fix
from .dataset import load
from .plain import fails, stored, verdict
from .program import Fault, Program

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
RESULTS = HERE / "results.json"
PUBLISHED = 1
"""How many of the published repairs are tried beside what the tool proposes."""

PAIRS = 2
"""Seeds of the trials: a repair is told by its mean score, which does not need the verdict to be settled."""

LATER = ("rules", "report", "cli", "questions", "theory", "demo.py")
"""Rooms that read what was measured. A change of which experiments are made asks for `--fresh`."""


@dataclass(frozen=True)
class Options:
    seeds: int = 3
    steps: int | None = None  # the tool's own number
    budget: float = 120.0  # seconds for one case's trials
    trials: bool = True
    fresh: bool = False


def fingerprint(without: Iterable[str]) -> str:
    """Of unstick's own source, less these rooms: what was measured by equal code need not be measured again."""
    root = Path(unstick.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        if file.relative_to(root).parts[0] not in without:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def study(case: Fault, options: Options, before: dict[str, Any] | None) -> dict[str, Any]:
    """Everything about one case, in numbers and words for the reports."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    plain = stored(case)
    base = load(case.program.data).base
    runs = [_diagnosed(case.program, case.id, seed, options) for seed in _seeds(case, options)]
    fixed = []
    if case.fix:
        twin = first_with_fix(case)
        fixed = [_diagnosed(case.fix, f"{twin.id}, repaired", seed, options) for seed in _seeds(twin, options)]
    found: dict[str, Any] = {
        "id": case.id,
        "label": verdict(case, plain, base),
        "plain": plain,
        "base": base,
        "runs": [
            {**run, "fails": not case.control and fails(score, plain, base)}
            for run, score in zip(runs, plain["scores"], strict=False)
        ],
        "repaired_runs": [
            {**run, "works": (score or -1.0) > base + 0.05}
            for run, score in zip(fixed, plain["fixed"] or (), strict=False)
        ],
    }
    if options.trials and any(run["fails"] for run in found["runs"]):
        found["trials"] = _trials(case, found, options, (before or {}).get("trials"))
    return {**found, "seconds": time.perf_counter() - started}


def _seeds(case: Fault, options: Options) -> range:
    return range(case.seed, case.seed + options.seeds)


def _diagnosed(program: Program, name: str, seed: int, options: Options) -> dict[str, Any]:
    """One diagnosis."""
    seen = _observed(program, name, seed, options)
    learning = seen.learning
    document: dict[str, Any] = jsonable(
        {
            "seed": seed,
            "learns": learning.learns,
            "initial": learning.initial_loss,
            "constant": learning.constant_loss,
            "final": learning.final_loss,
            "below": learning.below,
            "uses_input": learning.uses_input,
            "steps": learning.steps,
            "diverged": seen.diverged,
            "score": seen.metric,
            "seconds": seen.seconds,
            "experiments": [{"name": e.name, "answer": e.answer} for e in seen.experiments],
            "findings": [
                {
                    "rule": f.rule,
                    "severity": f.severity.value,
                    "module": f.module,
                    "cause": f.cause,
                    "summary": f.summary,
                    "evidence": f.evidence,
                    "remedies": f.remedies,
                    "since": f.since,
                }
                for f in find(seen)
            ],
        }
    )
    return document


def _observed(program: Program, name: str, seed: int, options: Options) -> Observation:
    code = fingerprint((*LATER, "trials"))
    file = CACHE / f"{program.key[:16]}-{seed}-{options.steps or 'usual'}-{code}.pickle"
    if file.exists() and not options.fresh:
        seen: Observation = pickle.loads(file.read_bytes())
        return seen
    seen = unstick.diagnose(program.case(name), steps=options.steps, seed=seed, budget=options.budget).observation
    CACHE.mkdir(exist_ok=True)
    file.write_bytes(pickle.dumps(seen))
    return seen


def proposals(runs: list[dict[str, Any]]) -> list[str]:
    """What `unstick try` would try by itself: the first remedies that the findings name."""
    texts = [text for run in runs for finding in run["findings"] for text in finding["remedies"]]
    return list(dict.fromkeys(texts))[:MOST_SUGGESTED]


def _trials(case: Fault, found: dict[str, Any], options: Options, before: dict[str, Any] | None) -> dict[str, Any]:
    proposed = proposals(found["runs"])
    remedies = list(dict.fromkeys([*proposed, *case.remedies[:PUBLISHED]]))
    key = f"{fingerprint(LATER)} {case.program.key[:16]} {options.steps} {options.budget} {remedies}"
    if before is not None and before.get("key") == key and not options.fresh:
        return before
    report = unstick.try_remedies(
        case.program.case(case.id),
        remedies,
        steps=options.steps,
        seeds=PAIRS,
        seed=case.seed,
        budget=options.budget,
        workers=1,
    )
    base = found["base"]
    return {
        "key": key,
        "proposed": proposed,
        "published": list(case.remedies[:PUBLISHED]),
        "unchanged": mean_score(report.baseline, base),
        "level": _level([run["score"] for run in found["repaired_runs"]], base),
        "cause": report.cause,
        "steps": max(run.learning.steps for run in report.baseline),
        "whole": all(run.diverged is not None or run.learning.steps == run.requested for run in report.baseline),
        "notes": list(report.notes),
        "seconds": report.seconds,
        "tried": [
            {
                "remedy": t.remedy,
                "verdict": t.verdict,
                "learns": t.learns,
                "score": mean_score(t.runs, base),
                "runs": len(t.runs),
                "explanation": t.explanation,
            }
            for t in report.trials
        ],
    }


def mean_score(runs: Iterable[Observation], base: float) -> float | None:
    """A run that ended in NaN knows no more than a constant answer."""
    return _level([run.metric for run in runs], base)


def _level(scores: list[float | None], base: float) -> float | None:
    return fmean(base if s is None else s for s in scores) if scores else None


def read() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def study_all(cases: list[Fault], options: Options, jobs: int) -> dict[str, dict[str, Any]]:
    """Studies the cases in `jobs` processes, and writes each result down when it is there."""
    done = read()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        running = {pool.submit(study, case, options, done.get(case.id)): case for case in cases}
        for number, job in enumerate(as_completed(running), 1):
            result = job.result()
            if not options.trials and (earlier := done.get(result["id"], {}).get("trials")):
                result["trials"] = earlier  # of an older tool, perhaps: its key says which
            done[result["id"]] = result
            RESULTS.write_text(json.dumps(done, indent=1))
            print(f"{number}/{len(cases)} {result['id']} ({result['seconds']:.0f} s): {_line(result)}", flush=True)
    return done


def _line(result: dict[str, Any]) -> str:
    rules = [" ".join(f["rule"] for f in run["findings"]) or "nothing" for run in result["runs"]]
    return f"{result['label']} | " + " | ".join(rules)
