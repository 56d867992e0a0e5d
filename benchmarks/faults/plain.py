"""Does the published label survive? Trains each program and its fix plainly: python -m benchmarks.faults.plain

No line of unstick takes part but `Case.fresh` and its batches, so that a run here starts from the weights, and sees the
batches, of the run that is diagnosed with the same seed. Results go to plain.json, case by case.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from .catalogue import CASES, chosen, first_with_fix
from .program import Fault, Program

FILE = Path(__file__).with_name("plain.json")
SEEDS = 3
MOST, MOST_IMAGES = 2000, 300
"""Optimizer steps at most, of networks and of convolutional ones; where fewer were published, those, but never fewer
than a diagnosis takes. 300 steps are ten epochs of the digits."""

LEAST = 300
GAP = 0.05
"""Where program and fix are not this far apart in score, there is no gap to judge by."""


def updates(program: Program) -> int:
    convolutional = any(layer.kind.startswith("conv") for layer in program.layers)
    return max(LEAST, program.updates(MOST_IMAGES if convolutional else MOST))


def train(program: Program, seed: int) -> float | None:
    """The score on all samples after plain training; None where it ended in NaN."""
    case = program.case("plain")
    setup = case.fresh(seed)
    optimizer = setup.make_optimizer(list(setup.model.parameters()))
    torch.manual_seed(seed)
    stream = case.stream(seed)
    for _ in range(updates(program)):
        optimizer.zero_grad()
        loss = setup.forward(next(stream))
        if not bool(loss.isfinite()):
            return None
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return program.score(setup.model)


def rerun(case: Fault) -> dict[str, Any]:
    torch.set_num_threads(1)
    seeds = range(case.seed, case.seed + SEEDS)
    return {
        "key": case.program.key + (case.fix.key if case.fix else ""),
        "steps": updates(case.program),
        "scores": [train(case.program, seed) for seed in seeds],
        "fixed": [train(case.fix, seed) for seed in seeds] if case.fix and first_with_fix(case).id == case.id else None,
    }


def level(found: dict[str, Any], base: float) -> float:
    """The score that a repaired network should come near: the fix's, or the program's own where it has none."""
    scores = found["fixed"] or found["scores"]
    return fmean(max(value(score), base) for score in scores)


def value(score: float | None) -> float:
    return float("-inf") if score is None else score


def fails(score: float | None, found: dict[str, Any], base: float) -> bool:
    """Less than half of the way from the best constant answer to the level."""
    return value(score) < base + 0.5 * (level(found, base) - base)


def verdict(case: Fault, found: dict[str, Any], base: float) -> str:
    """survives, partly (for some seeds), or does not: in words that the reports use."""
    top = level(found, base)
    count = sum(fails(score, found, base) for score in found["scores"])
    if case.control:
        return "healthy" if min(map(value, found["scores"])) > base + GAP else "does not learn"
    if top < base + GAP:
        return "nothing learns it"
    if count == len(found["scores"]):
        return "fails"
    if count:
        return "fails for some seeds"
    if found["fixed"] is None:
        return "learns"
    return (
        "learns as well as its fix"
        if fmean(map(value, found["scores"])) > top - GAP
        else "learns, but less than its fix"
    )


def read() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def stored(case: Fault) -> dict[str, Any]:
    """What plain training of this case gave, and of its fix."""
    found = read()
    mine = found[case.id]
    return {**mine, "fixed": found[first_with_fix(case).id]["fixed"] if case.fix else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    done = read()
    wanted = [
        c
        for c in chosen(tuple(args.only))
        if done.get(c.id, {}).get("key") != c.program.key + (c.fix.key if c.fix else "")
    ]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        jobs = {pool.submit(rerun, case): case for case in wanted}
        for job in as_completed(jobs):
            case = jobs[job]
            done[case.id] = job.result()
            order = {c.id: i for i, c in enumerate(CASES)}
            FILE.write_text(json.dumps(dict(sorted(done.items(), key=lambda kv: order.get(kv[0], 999))), indent=1))
            print(case.id, done[case.id], flush=True)


if __name__ == "__main__":
    main()
