"""Trials on a Ray cluster, and what they cost beside the training: python benchmarks/cluster.py

Two nodes of one core each, simulated on this machine. First the same trials here, there, and there while a node is
killed: verdicts and numbers have to be the same to the last digit. Then what one trial costs: its training, and what
the driver, which is one process, spends on sending it, receiving its result, keeping it in a folder and judging it.
From these follows on paper what 10,000 trials take (the table of docs/cluster.md). Exits with 1 where the results
differ. Needs the extra `ray`.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unstick import Observation, TrialReport, observe, try_remedies
from unstick.target import load
from unstick.trials.codec import decode, encode
from unstick.trials.folder import RunFolder
from unstick.trials.ray import RayEngine
from unstick.trials.verdict import compare

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

TARGET = f"{Path(__file__).parents[1] / 'examples' / 'own_network.py'}:case"
REMEDIES = ("relu+init(he)", "tanh", "layernorm", "lr(x0.1)")
SENT = 500
TRIALS = 10_000
SEEDS = 8
WORKERS = (1, 8, 64, 512)


def main() -> int:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    try:
        same = compared(cluster)
        seen = observe(load(TARGET))
        costs = {"training": seen.seconds, **driver(cluster, seen)}
    finally:
        cluster.shutdown()
    memory, line = size(seen)
    print(f"\none trial of {TARGET.rpartition('/')[2]}, {seen.requested} steps")
    for name, seconds in costs.items():
        print(f"  {name:28} {1000 * seconds:8.1f} ms")
    print(f"  {'result as sent':28} {len(pickle.dumps(seen)) / 1000:8.0f} kB")
    print(f"  {'result in the folder':28} {line / 1000:8.0f} kB")
    print(f"  {'result in memory':28} {memory / 1000:8.0f} kB")
    print()
    print(table((costs["training"], 10.0, 60.0), sum(costs.values()) - costs["training"]))
    return int(not same)


def compared(cluster: Cluster) -> bool:
    """Whether the cluster gives the local report, left alone and with a node killed after a third of the runs."""
    case = load(TARGET)
    options: dict[str, Any] = {"steps": 60, "seeds": 3}
    local = document(try_remedies(case, REMEDIES, workers=2, **options))
    there = document(try_remedies(case, REMEDIES, engine=f"ray:{cluster.address}", **options))
    node = cluster.add_node(num_cpus=1)

    def kill(_: str, done: int, __: int) -> None:
        if done == 5:
            cluster.remove_node(node, allow_graceful=False)

    bereft = document(try_remedies(case, REMEDIES, engine=f"ray:{cluster.address}", progress=kill, **options))
    print(
        "verdicts:", *(f"{trial['remedy']} {trial['verdict']} ({trial['seeds']} seeds)," for trial in local["trials"])
    )
    print("two nodes give the local report:", local == there)
    print("so do they while a third is killed:", local == bereft)
    return local == there == bereft


def document(report: TrialReport) -> dict[str, Any]:
    return {key: value for key, value in report.to_dict().items() if key != "seconds"}


def driver(cluster: Cluster, seen: Observation) -> dict[str, float]:
    """Seconds of the driver's processor for each result. Jobs that compute nothing bring a real result back."""
    packed = pickle.dumps(seen)
    engine = RayEngine(lambda job: pickle.loads(packed), cluster.address)
    try:
        list(engine.run(range(10)))  # until the processes are there
        started, wall = time.process_time(), time.perf_counter()
        received = sum(1 for _ in engine.run(range(SENT)))
        assert received == SENT
        sending = (time.process_time() - started) / SENT
        each_took = 1000 * (time.perf_counter() - wall) / SENT
        print(f"\n{SENT} results through two nodes on one machine: {each_took:.1f} ms each")
    finally:
        engine.close()
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(place, {"target": "benchmark"})
        keeping = each(lambda seed: folder.add(None, seed, seen))
        folder.close()
    runs = [replace(seen, seed=seed) for seed in range(SEEDS)]
    judging = each(lambda _: compare(runs, runs, "vanishing-gradient", 3), times=5) / SEEDS
    return {"sending and receiving": sending, "keeping in a folder": keeping, "judging": judging}


def each(work: Callable[[int], object], times: int = 50) -> float:
    started = time.perf_counter()
    for index in range(times):
        work(index)
    return (time.perf_counter() - started) / times


def size(seen: Observation) -> tuple[int, int]:
    """Bytes of a result in memory, and of its line in the folder."""
    text = json.dumps(encode(seen))
    data = json.loads(text)
    tracemalloc.start()
    held = decode(data, Observation)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del held
    return taken, len(text)


def table(trainings: tuple[float, ...], driver: float) -> str:
    """Workers train side by side; the driver takes up one result after the other: whichever takes longer decides."""
    lines = ["| workers | " + " | ".join(f"{training:.1f} s a run" for training in trainings) + " |"]
    lines.append("|---|" + "---|" * len(trainings))
    for workers in WORKERS:
        times = [max(TRIALS * training / workers, TRIALS * driver) + training for training in trainings]
        shares = [TRIALS * each / workers / whole for each, whole in zip(trainings, times, strict=True)]
        cells = [f"{spoken(whole)} ({share:.0%})" for whole, share in zip(times, shares, strict=True)]
        lines.append(f"| {workers} | {' | '.join(cells)} |")
    most = ", ".join(f"{training / driver:.0f}" for training in trainings)
    lines.append(f"\nOne driver takes up a result in {1000 * driver:.0f} ms: enough for {most} workers.")
    return "\n".join(lines)


def spoken(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    sys.exit(main())
