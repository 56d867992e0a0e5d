"""False alarms: what `unstick.diagnose` says of networks that are well.

    python benchmarks/zoo/run.py [--only NAME ...] [--jobs 2] [--results FILE] [--markdown FILE]

For each architecture, first that it is healthy (`health.py`), then what the tool finds, fresh and after 50 steps of
training, when it looks for 1, 10 and 120 steps. A result is written as soon as it is there; a later call goes on where
the first was stopped, and repeats what the code has changed under. Needs the extra `zoo` for all of the architectures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks.zoo` is found, here and in the workers, from wherever this is called
STEPS = (1, 10, 120)
Task = tuple[str, str]  # architecture and condition


def fingerprint(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def health(name: str) -> dict[str, Any]:
    """Plain training with each seed."""
    from benchmarks.zoo.catalogue import architectures
    from benchmarks.zoo.health import SEEDS, examine

    case = architectures()[name].build()
    seeds = [examine(case, seed).row() for seed in SEEDS]
    return {"healthy": all(row["learned"] for row in seeds), "seeds": seeds}


def diagnoses(name: str, condition: str) -> dict[str, Any]:
    """What the tool says at each step count; a failure of the tool is a result, too."""
    from benchmarks.zoo.catalogue import architectures, in_condition

    case = in_condition(architectures()[name], condition)
    return {"runs": [diagnosis(case, steps) for steps in STEPS]}


def diagnosis(case: Any, steps: int) -> dict[str, Any]:
    import unstick

    started = time.perf_counter()
    before = state(case)
    try:
        result = unstick.diagnose(case, steps=steps)
    except Exception as error:
        return {
            "steps": steps,
            "exception": type(error).__name__,
            "message": str(error),
            "traceback": traceback.format_exc(),
        }
    document = result.to_dict()
    kept = ("learning", "attenuation_decades", "attribution", "uncovered")
    return {
        "steps": steps,
        "taken": document["learning"]["steps"],
        "seconds": time.perf_counter() - started,
        "untouched": state(case) == before,
        "findings": document["findings"],
        "other": sorted({op["op"] for op in document["layers"] if op["kind"] == "other"}),
        **{key: document[key] for key in kept},
    }


def state(case: Any) -> str:
    """A digest of what the tool must leave alone."""
    import torch
    from torch import nn

    parts = [torch.get_rng_state()]
    if isinstance(case.model, nn.Module):
        parts += [*case.model.parameters(), *case.model.buffers()]
        parts += [p.grad.to_dense() for p in case.model.parameters() if p.grad is not None]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(
            part.detach().contiguous().view(torch.uint8).numpy().tobytes() if part.dim() else repr(part.item()).encode()
        )
    return digest.hexdigest()


def work(task: Task) -> dict[str, Any]:
    """One architecture in one condition."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    name, condition = task
    started = time.perf_counter()
    try:
        found = health(name) if condition == "health" else diagnoses(name, condition)
    except Exception as error:
        found = {"broken": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return {"architecture": name, "condition": condition, **found, "total_seconds": time.perf_counter() - started}


def versions_of(names: Iterable[str]) -> dict[Task, str]:
    """For each task a digest of the code that its result depends on."""
    from benchmarks.zoo.catalogue import CONDITIONS, collections

    zoo = {member: c for c in collections()[0] for member in c.members}
    tool, found = (ROOT / "src").rglob("*.py"), {}
    tool_digest = fingerprint(tool)
    for name in names:
        file = next(Path(m.__file__) for m in sys.modules.values() if getattr(m, "ZOO", None) is zoo[name])  # type: ignore[arg-type]
        own = fingerprint([file, HERE / "tasks.py", HERE / "health.py"])
        found[name, "health"] = own
        found |= {(name, condition): own + tool_digest for condition in CONDITIONS}
    return found


def main() -> int:
    options = arguments()
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

    from benchmarks.zoo.catalogue import architectures, collections
    from benchmarks.zoo.summary import print_figures, write_page

    for module, reason in collections()[1].items():
        print(f"left out: {module} ({reason})")
    versions = versions_of(n for n in architectures() if not options.only or any(part in n for part in options.only))
    rows = read(options.results, versions)
    todo = sorted(
        (task for task in versions if task not in rows and task[1] in options.conditions),
        key=lambda task: options.conditions.index(task[1]),
    )
    print(f"{len(rows)} results are there, {len(todo)} to be made")
    rows |= made(todo, versions, options.results, options.jobs)
    print_figures(rows)
    if options.markdown:
        write_page(rows, options.markdown)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="architectures whose name contains NAME")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "zoo.jsonl")
    parser.add_argument("--markdown", type=Path, help="write the page for the documentation")
    parser.add_argument("--conditions", nargs="*", default=["health", "fresh", "trained"], help="in this order")
    return parser.parse_args()


def made(todo: list[Task], versions: dict[Task, str], path: Path, jobs: int) -> dict[Task, dict[str, Any]]:
    """The results of these tasks, each written to the file as soon as it is there."""
    rows: dict[Task, dict[str, Any]] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with path.open("a") as file, ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for future in as_completed([pool.submit(work, task) for task in todo]):
            row = future.result()
            task = row["architecture"], row["condition"]
            rows[task] = row | {"version": versions[task]}
            file.write(json.dumps(rows[task]) + "\n")
            file.flush()
            print(f"{len(rows)}/{len(todo)} {' '.join(task)}: {row['total_seconds']:.1f} s{remark(row)}", flush=True)
    return rows


def read(path: Path, versions: dict[Task, str]) -> dict[Task, dict[str, Any]]:
    """Results that the code has not changed under."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {
        (row["architecture"], row["condition"]): row
        for row in rows
        if versions.get((row["architecture"], row["condition"])) == row["version"]
    }


def remark(row: dict[str, Any]) -> str:
    if "broken" in row:
        return f"  BROKEN {row['broken']}"
    if row["condition"] == "health":
        return "" if row["healthy"] else "  DOES NOT LEARN"
    said = [
        f"{f['rule']} ({f['severity']}, {run['steps']} steps)" for run in row["runs"] for f in run.get("findings", ())
    ]
    said += [f"EXCEPTION {run['exception']}: {run['message']}" for run in row["runs"] if "exception" in run]
    said += [f"CHANGED ({run['steps']} steps)" for run in row["runs"] if run.get("untouched") is False]
    return "  " + "; ".join(said) if said else ""


if __name__ == "__main__":
    sys.exit(main())
