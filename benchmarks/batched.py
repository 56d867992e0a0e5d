"""How much faster seeds are trained together than one after the other: python benchmarks/batched.py

Untraced steps of eight runs as one stack, and the same steps of eight others alone, take turns in one process and on
one thread, and their processor time is compared: the ratio is the median of the pairs. Where a stack is not chosen,
what `observe_many` makes of one seed is compared with `observe`, so that the price of finding that out is seen.
`wanted` is what the project would like to reach; exits with 1 where a ratio is below 0.95.

The networks are others than those that the rule was fitted to. `--count` compares another number of seeds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.nn import functional as F

from unstick import Case
from unstick.batched import observe_many, suits
from unstick.observe import STEPS, Run, observe
from unstick.stacked import Stack
from unstick.state import preserved

PAIRS, DISCARDED = 15, 3  # the first ones fill caches
WANTED, LEAST = 2.0, 0.95
ADAM, SGD = partial(torch.optim.Adam, lr=1e-3), partial(torch.optim.SGD, lr=0.1)
Part = Callable[[int], nn.Module]


def mlp(depth: int, width: int, between: Part = lambda _: nn.Tanh()) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(64, width)]
    for _ in range(depth - 1):
        layers += [between(width), nn.Linear(width, width)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(width, 10))


def normalised(width: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm1d(width), nn.Tanh())


def dropping(_: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.1), nn.Tanh())


def convolutions() -> nn.Sequential:
    layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))


class Sequence(nn.Module):
    """Rows of eight numbers, through a recurrent or an attention layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer(x.unflatten(1, (8, 8)))
        return self.out((out[0] if isinstance(out, tuple) else out).mean(1))


def case(model: Callable[[], nn.Module], optimizer: Callable[..., torch.optim.Optimizer]) -> Case:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 64, generator=generator)
    y = (x @ torch.randn(64, 10, generator=generator)).argmax(1)
    return Case(model, (x, y), F.cross_entropy, optimizer=optimizer)


def cases() -> dict[str, tuple[Case, float]]:
    """With the ratio that is wanted of each."""
    found = {}
    for depth in (5, 20, 40):
        for width in (16, 64, 128):
            for optimizer in (ADAM, SGD):
                name = f"{depth} x {width}, {optimizer.func.__name__}"
                found[name] = case(partial(mlp, depth, width), optimizer), WANTED
    others = {
        "5 x 1024": partial(mlp, 5, 1024),
        "convolutions": convolutions,
        "batch norm": partial(mlp, 5, 64, normalised),
        "dropout": partial(mlp, 5, 64, dropping),
        "GRU": lambda: Sequence(nn.GRU(8, 8, batch_first=True)),
        "transformer": lambda: Sequence(nn.TransformerEncoderLayer(8, 2, 32, dropout=0.0, batch_first=True)),
    }
    return found | {f"{name}, Adam": (case(model, ADAM), LEAST) for name, model in others.items()}


def compare(case: Case, count: int) -> tuple[bool, float]:
    """Whether a stack of so many runs is made, and how many times faster `observe_many` is because of it."""
    with preserved(threads=1):
        runs = [Run(case, None, seed, None) for seed in range(2 * count)]
        if suits(case, runs[0], count, STEPS):
            return True, steps(runs[:count], runs[count:])
    return False, one_run(case, count)


def steps(stacked: list[Run], alone: list[Run]) -> float:
    for run in (*stacked, *alone):
        run.traced_step(run.next_batch(), 0)
    stack = Stack(stacked)

    def together() -> None:
        stack.step([run.next_batch() for run in stacked])

    def apart() -> None:
        for run in alone:
            run.plain_step(run.next_batch())

    return ratio(apart, together)


def one_run(case: Case, count: int) -> float:
    return ratio(lambda: observe(case, steps=30), lambda: observe_many(case, range(count), steps=30))


def ratio(slow: Callable[[], object], fast: Callable[[], object]) -> float:
    pairs = [(seconds(slow), seconds(fast)) for _ in range(PAIRS + DISCARDED)][DISCARDED:]
    return median(one / other for one, other in pairs)


def seconds(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=8)
    count = parser.parse_args().count
    status = 0
    print(f"{'network':<20}{'together':>10}{'ratio':>8}{'wanted':>8}")
    for name, (made, limit) in cases().items():
        chosen, gained = compare(made, count)
        status |= gained < LEAST
        print(f"{name:<20}{'yes' if chosen else 'no':>10}{gained:>8.2f}{limit:>8.2f}", flush=True)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
