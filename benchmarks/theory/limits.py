"""What the two limits of the map are made of, and whether they hold for networks that they were not chosen on.

    python benchmarks/theory/limits.py

Three minutes on one core. First, Adam's epsilon: if it is what a vanished gradient falls below, then a smaller epsilon
bridges more decades, one for one. Then the learning rate, for deep networks that lose and gain little and still do not
learn. Then other activations, twice as wide, with other biases and depths.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from functools import partial

import torch
from points import SIGMAS, adam
from training import FAMILIES, Family, Outcome, Point, train

from unstick.theory import trainability
from unstick.theory.trainability import decades, trains

EPSILONS = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-16)
GRADIENT = 0.1
"""Of the loss by a weight of a network that loses nothing, to an order of magnitude."""
VANISHING = {"sigmoid": 14, "tanh": 20, "relu": 28}
"""Depths at which weight scales up to 4 cover losses of 0 to 14 decades."""
STUCK = (("tanh", 1.4142, 40), ("tanh", 2.0, 56), ("sigmoid", 8.0, 56), ("sigmoid", 11.3137, 56))
"""Family, weight scale, depth of networks that should learn, and do not with a learning rate of 1e-3."""
RATES = (1e-3, 3e-4, 1e-4)
UNSEEN = (
    Family("gelu", torch.nn.functional.gelu),
    Family("elu", torch.nn.functional.elu),
    Family("softsign", torch.nn.functional.softsign),
)
UNSEEN_DEPTHS, UNSEEN_SIGMA_B, UNSEEN_WIDTH = (8, 24), 0.3, 128


def run(
    family: Family, depth: int, sigma_b: float, sigmas: Sequence[float], optimise: object, width: int = 64
) -> list[tuple[float, Outcome]]:
    """For each weight scale, the decades that theory says its gradient changes by, and what became of it."""
    points = [Point(family.name, sigma, sigma_b, depth, 0) for sigma in sigmas]
    plain = trainability.Family(family.name, family.name)
    predicted = [decades(plain, sigma, sigma_b, depth)[-1] for sigma in sigmas]
    return list(zip(predicted, train(family, points, optimise, width=width), strict=True))  # type: ignore[arg-type]


def epsilon() -> None:
    print("epsilon   predicted   found (best on)     most lost that learns   least lost that does not")
    small = [sigma for sigma in SIGMAS if sigma <= 4.0]
    for eps in EPSILONS:
        optimise = partial(torch.optim.Adam, lr=1e-3, eps=eps)
        found = [pair for f in FAMILIES if f.name in VANISHING and not f.normalised
                 for pair in run(f, VANISHING[f.name], 1.0, small, optimise)]  # fmt: skip
        lost = [(-change, outcome.learns) for change, outcome in found if change < 0.0]
        most = max(decade for decade, learns in lost if learns)
        least = min(decade for decade, learns in lost if not learns)
        low, high, right = best_split(lost)
        print(f"{eps:7g} {math.log10(GRADIENT / eps):11.1f}   {low:4.1f} to {high:4.1f} ({right} of {len(lost)})"
              f"{most:20.1f} {least:26.1f}", flush=True)  # fmt: skip


def best_split(lost: Sequence[tuple[float, bool]]) -> tuple[float, float, int]:
    """Between which two losses the limit lies that has most of those below it learn and most above it not."""
    ordered = sorted(lost)
    right = [sum(learns == (j < i) for j, (_, learns) in enumerate(ordered)) for i in range(len(ordered) + 1)]
    i = right.index(max(right))
    ends = [0.0, *(decade for decade, _ in ordered), math.inf]
    return ends[i], ends[i + 1], right[i]


def rate() -> None:
    print("\nlearning rate: loss (learns) with each of two seeds")
    for name, sigma_w, depth in STUCK:
        (family,) = (f for f in FAMILIES if f.name == name)
        for lr in RATES:
            optimise = partial(torch.optim.Adam, lr=lr)
            outcomes = [train(family, [Point(name, sigma_w, 1.0, depth, seed)], optimise)[0] for seed in (0, 1)]
            losses = ", ".join(f"{o.loss:.2f} ({'yes' if o.learns else 'no'})" for o in outcomes)
            print(f"{name} sigma_w {sigma_w:g} depth {depth}, rate {lr:g}: {losses}", flush=True)


def unseen() -> None:
    print(f"\n{UNSEEN_WIDTH} units, sigma_b {UNSEEN_SIGMA_B}, the package's limits")
    everything = []
    for family in UNSEEN:
        for depth in UNSEEN_DEPTHS:
            found = run(family, depth, UNSEEN_SIGMA_B, SIGMAS, adam, UNSEEN_WIDTH)
            right = [trains(change) == outcome.learns for change, outcome in found]
            wrong = [f"sigma_w {SIGMAS[i]:g} ({change:+.1f} decades, {'learns' if outcome.learns else 'does not'})"
                     for i, (change, outcome) in enumerate(found) if not right[i]]  # fmt: skip
            everything += right
            print(f"{family.name}, depth {depth}: {sum(right)} of {len(right)} right; {', '.join(wrong)}", flush=True)
    print(f"all: {statistics.fmean(everything):.1%} of {len(everything)}")


def main() -> int:
    torch.set_num_threads(1)
    epsilon()
    rate()
    unseen()
    return 0


if __name__ == "__main__":
    sys.exit(main())
