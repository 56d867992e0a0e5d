"""Each rule's fault in each healthy architecture: is it found, and is it named first?

    python benchmarks/injected/run.py [--only RULE ...] [--hosts HOST ...] [--jobs 1] [--steps 150] [--again]

Each host is trained plainly, with and without the fault, and diagnosed. An answer is written to results.json as soon as
it is there; a later call goes on where the first was stopped, and asks again what another state of the package answered
(not with --keep). Prints the tables and writes docs/injected.md. Exits with 1 where the aims are not met.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks.injected` is found, here and in the workers, from wherever this is called

import torch  # noqa: E402
from benchmarks.injected.hosts import HOSTS, Host  # noqa: E402
from benchmarks.injected.page import page, summary  # noqa: E402
from benchmarks.injected.plain import Outcome, train  # noqa: E402
from benchmarks.injected.score import BY_ID, Answer, aims_met, key, rows  # noqa: E402
from benchmarks.injected.table import INJECTORS, Injector, unchanged  # noqa: E402

import unstick  # noqa: E402
from unstick.errors import CaseError  # noqa: E402

RESULTS = HERE / "results.json"
PAGE = ROOT / "docs" / "injected.md"
STEPS, BUDGET, HEALTHY = 150, 120.0, "healthy"
Work = tuple[str, str]


def case(host: Host, name: str) -> unstick.Case:
    data: Any = host.data() if host.stream is None else functools.partial(host.stream, host.data(), host.batch)
    return unstick.Case(host.build, data, host.objective, optimizer=host.optimize, batch_size=host.batch, name=name)


@functools.cache
def outcome(injector: str, host: str, steps: int, compared: bool) -> Outcome:
    """Of plain training; `compared`: of what the injected network is compared with."""
    how = BY_ID.get(injector)
    if how is None:
        return train(HOSTS[host], steps)
    if compared and how.against is unchanged:
        return outcome(HEALTHY, host, steps, True)
    return train((how.against if compared else how.inject)(HOSTS[host]), steps)


def answer(work: Work, steps: int, code: str) -> Answer:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    injector, name = work
    how: Injector | None = BY_ID.get(injector)
    host = HOSTS[name] if how is None else how.inject(HOSTS[name])
    started = time.process_time()
    blank = Answer(
        injector, name, outcome(injector, name, steps, True), outcome(injector, name, steps, False),
        (), (), (), None, None, {}, 0.0, code,
    )  # fmt: skip
    try:
        seen = unstick.diagnose(case(host, key(*work)), steps=steps, budget=BUDGET)
    except Exception as error:  # a case that is refused, or a defect of the tool: an answer, and a wrong one
        said = str(error) if isinstance(error, CaseError) else f"{type(error).__name__}: {error}"
        return replace(blank, error=said, seconds=time.process_time() - started)
    return replace(
        blank,
        findings=tuple(f.rule for f in seen.findings),
        severities=tuple(str(f.severity.value) for f in seen.findings),
        summaries=tuple(f.summary for f in seen.findings),
        learns=seen.observation.learning.learns,
        numbers=numbers(seen.to_dict()),
        seconds=time.process_time() - started,
    )


def numbers(document: dict[str, Any]) -> dict[str, Any]:
    """What was measured, for whoever wants to know why a fault was missed."""
    wanted = ("learning", "attenuation_decades", "attribution")
    return {name: document[name] for name in wanted} | {e["name"]: e["numbers"] for e in document["experiments"]}


def state() -> str:
    """A digest of the package's source."""
    digest = hashlib.sha256()
    for file in sorted(Path(unstick.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def plan(only: list[str], hosts: list[str]) -> Iterator[Work]:
    """The healthy hosts, then pairs of all kinds mixed, so that a run that was stopped is a fair sample."""
    for host in HOSTS.values():
        if (not hosts or host.name in hosts) and (not only or HEALTHY in only):
            yield HEALTHY, host.name
    pairs = (
        (injector.id, host.name)
        for injector in INJECTORS
        for host in HOSTS.values()
        if injector.suits(host) is None
        and (not hosts or host.name in hosts)
        and (not only or {injector.rule, injector.id} & set(only))
    )
    yield from sorted(pairs, key=lambda work: hashlib.sha256(key(*work).encode()).digest())


def read() -> dict[str, Answer]:
    if not RESULTS.exists():
        return {}
    return {name: Answer.from_dict(d) for name, d in json.loads(RESULTS.read_text()).items()}


def write(answers: dict[str, Answer]) -> None:
    new = RESULTS.with_suffix(".new")
    lines = (f"{json.dumps(name)}: {json.dumps(answers[name].to_dict())}" for name in sorted(answers))
    new.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    os.replace(new, RESULTS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="RULE", help="rules, rule/variant, or healthy")
    parser.add_argument("--hosts", nargs="*", default=[], choices=list(HOSTS), metavar="HOST")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--keep", action="store_true", help="keep what another state of the package answered")
    parser.add_argument("--again", action="store_true", help="ask everything again")
    args = parser.parse_args()
    code, answers = state(), read()
    known = {n for n, a in answers.items() if not args.again and (args.keep or a.code == code)}
    todo = [work for work in plan(args.only, args.hosts) if key(*work) not in known]
    ask(todo, answers, args.jobs, args.steps, code)
    print(summary(answers.values()))
    PAGE.write_text(page(answers.values(), args.steps))
    return 0 if aims_met(rows(answers.values())) else 1


def ask(todo: list[Work], answers: dict[str, Answer], jobs: int, steps: int, code: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = [pool.submit(answer, work, steps, code) for work in todo]
        for count, future in enumerate(as_completed(running), 1):
            made = future.result()
            answers[made.key] = made
            write(answers)
            print(
                f"{count}/{len(todo)} {made.key}: {', '.join(made.findings) or made.first}", file=sys.stderr, flush=True
            )


if __name__ == "__main__":
    sys.exit(main())
