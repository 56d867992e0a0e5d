"""Can any single change repair what no proposal repairs? python -m benchmarks.faults.sweep

For the programs of grades A and B whose failure none of the proposed remedies mends, every remedy is tried by itself.
What is found goes to singles.json, and the page counts repairs among the programs that some single change repairs.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import unstick

from . import run, score
from .catalogue import CASES
from .program import Fault

FILE = Path(__file__).with_name("singles.json")
SINGLES = (
    "tanh", "relu", "leaky-relu", "elu", "selu", "gelu", "silu", "trelu",
    "init(he)", "init(xavier)", "init(orthogonal)", "init(lsuv)", "init(critical)", "init(data)",
    "batchnorm", "layernorm", "residual", "rezero", "standardize",
    "output(linear)", "output(softmax)", "output(sigmoid)", "output(log-softmax)", "rescale-output", "match-shape",
    "adam", "sgd", "lr(x0.001)", "lr(x0.01)", "lr(x0.1)", "lr(x10)", "lr(x100)", "lr(x1000)", "clip(1.0)",
)  # fmt: skip


def singles(case: Fault, result: dict[str, Any], budget: float) -> dict[str, Any]:
    """The scores that single remedies reach, and those of them that repair."""
    torch.set_num_threads(1)
    report = unstick.try_remedies(
        case.program.case(case.id), SINGLES, seeds=run.PAIRS, seed=case.seed, budget=budget, workers=1
    )
    reached = {t.remedy: run.mean_score(t.runs, result["base"]) for t in report.trials if t.runs}
    goal = score.goal(result)
    return {
        "reached": reached,
        "goal": goal,
        "repairing": [name for name, value in reached.items() if goal is not None and (value or 0.0) >= goal],
        "steps": max(seen.learning.steps for seen in report.baseline),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--budget", type=float, default=240.0, help="seconds for one program")
    args = parser.parse_args()
    results, done = run.read(), {}
    open_ = [
        c for c in CASES if c.grade in "AB" and c.id in results and score.repaired(results[c.id], "proposed") is False
    ]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        jobs = {pool.submit(singles, case, results[case.id], args.budget): case for case in open_}
        for job in as_completed(jobs):
            done[jobs[job].id] = job.result()
            print(jobs[job].id, done[jobs[job].id], flush=True)
    FILE.write_text(json.dumps(dict(sorted(done.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
