"""What a traced training step costs, in plain training steps: python benchmarks/overhead.py

Both kinds of step alternate in one process, on one thread, so that the machine's moods touch both alike; the ratio is
the median of the pairs. A traced step is all of it: recording the forward and backward pass, the optimizer's step with
every parameter measured, and the loss of the same batch once more. Exits with 1 where a ratio is above its limit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn
from torch.nn import functional as F

from unstick import Case
from unstick.cases.kaylee import kaylee
from unstick.observe import Run
from unstick.state import preserved


def large() -> Case:
    """A network whose plain step takes well over 50 ms."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2048, 1024, generator=generator), torch.randint(0, 10, (2048,), generator=generator)
    layers = [part for _ in range(5) for part in (nn.Linear(1024, 1024), nn.ReLU())]
    return Case(lambda: nn.Sequential(*layers, nn.Linear(1024, 10)), (x, y), F.cross_entropy, batch_size=512)


def compare(case: Case, pairs: int) -> tuple[float, float, float]:
    """Median milliseconds of a plain and of a traced step, and the median ratio."""
    with preserved(threads=1):
        run = Run(case, None, 0, None)
        batch = next(case.stream(0))
        seconds: list[tuple[float, float]] = []
        for _ in range(pairs + 3):
            plain = timed(lambda: run.plain_step(batch))
            seconds.append((plain, timed(lambda: run.traced_step(batch, 0))))
        run.close()
    kept = seconds[3:]  # the first ones fill caches
    return (
        1e3 * median(p for p, _ in kept),
        1e3 * median(t for _, t in kept),
        median(t / p for p, t in kept),
    )


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> int:
    status = 0
    print(f"{'network':<28}{'plain ms':>10}{'traced ms':>11}{'ratio':>8}{'limit':>7}")
    for name, case, pairs, limit in (("kaylee", kaylee(), 100, 2.0), ("5 hidden layers of 1024", large(), 12, 1.3)):
        plain, traced, ratio = compare(case, pairs)
        status |= ratio > limit
        print(f"{name:<28}{plain:>10.2f}{traced:>11.2f}{ratio:>8.2f}{limit:>7.1f}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
