"""What a verdict costs: `try_remedies` against a plain loop that trains every change with every seed in full.

Ten networks that do not learn, each with the same seven changes. The loop runs one training after the other, 8 seeds of
300 steps each, and judges all of them together. Printed for each network: the time of `try_remedies` on two processes
as a share of the loop's, how many verdicts are equal, and whether the recommended change is the same, or one whose loss
comes within the margin of it.

    python benchmarks/racing.py [NETWORK...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case, Observation, TrialReport, try_remedies
from unstick.observe import observe
from unstick.remedies import parse
from unstick.trials.report import Trial
from unstick.trials.verdict import compare, leading_cause

REMEDIES = ("relu", "tanh", "batchnorm", "layernorm", "init(xavier)", "lr(x10)", "residual")
SEEDS, STEPS = 8, 300


def digits() -> tuple[Tensor, Tensor]:
    """Standardised."""
    pixels, labels = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32)
    deviation = x.std(0)
    return (x - x.mean(0)) / torch.where(deviation > 0, deviation, 1), torch.tensor(labels)


def dense(depth: int, activation: Callable[[], nn.Module], weights: Any = None, bias: Any = None) -> nn.Sequential:
    """`depth` hidden layers of 64 units, with PyTorch's own initialisation unless another is given."""
    layers: list[nn.Module] = []
    for width in [64] * depth:
        layers += [nn.Linear(64, width), activation()]
    network = nn.Sequential(*layers, nn.Linear(64, 10))
    for module in network:
        if isinstance(module, nn.Linear) and weights is not None:
            weights(module.weight)
            (bias or nn.init.zeros_)(module.bias)
    return network


def sgd(rate: float) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def adam(rate: float) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


class Convolutional(nn.Module):
    """Eight sigmoid convolutions."""

    def __init__(self) -> None:
        super().__init__()
        layers = [layer for _ in range(7) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.Sigmoid())]
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Sigmoid(), *layers)
        self.head = nn.Linear(8 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.view(-1, 1, 8, 8)).flatten(1))


def large(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=1.0)


NETWORKS: dict[str, Callable[[], tuple[Callable[[], nn.Module], Any]]] = {
    "kaylee": lambda: (lambda: dense(40, nn.Sigmoid, nn.init.kaiming_normal_, nn.init.normal_), None),
    "sigmoid 15": lambda: (lambda: dense(15, nn.Sigmoid), None),
    "sigmoid 8, SGD": lambda: (lambda: dense(8, nn.Sigmoid), sgd(0.1)),
    "relu 20, SGD": lambda: (lambda: dense(20, nn.ReLU), sgd(0.1)),
    "tanh 20, large weights": lambda: (lambda: dense(20, nn.Tanh, large), None),
    "tanh 30, SGD": lambda: (lambda: dense(30, nn.Tanh), sgd(0.01)),
    "rate too high": lambda: (lambda: dense(3, nn.ReLU, nn.init.kaiming_normal_), adam(1.0)),
    "rate too low": lambda: (lambda: dense(3, nn.ReLU, nn.init.kaiming_normal_), sgd(1e-7)),
    "softsign 40": lambda: (lambda: dense(40, nn.Softsign), sgd(0.05)),
    "convolutions": lambda: (Convolutional, None),
}


def case(name: str) -> Case:
    model, optimizer = NETWORKS[name]()
    return Case(model, digits(), F.cross_entropy, optimizer=optimizer, name=name)


def plainly(network: Case) -> tuple[dict[str, Trial], float]:
    """The verdict on each change from all of its seeds, and the seconds that the loop took."""
    started = time.perf_counter()
    runs: dict[str | None, tuple[Observation, ...]] = {}
    for text in (None, *REMEDIES):
        remedy = None if text is None else parse(text)
        runs[text] = tuple(_one(network, remedy))
    seconds = time.perf_counter() - started
    cause = leading_cause(runs[None])
    found = {}
    for text in REMEDIES:
        seen = compare(runs[None], runs[text], cause, looks=1)
        found[text] = Trial(text, seen.verdict, "", compared=seen) if runs[text] else Trial(text, "not-applicable", "")
    return found, seconds


def _one(network: Case, remedy: Any) -> Iterator[Observation]:
    from unstick import NotApplicable

    for seed in range(SEEDS):
        try:
            yield observe(network, remedy=remedy, steps=STEPS, seed=seed, budget=float("inf"))
        except NotApplicable:
            return


def main(names: list[str]) -> None:
    shares, equal, agreed = [], 0, 0
    for name in names or NETWORKS:
        network = case(name)
        started = time.perf_counter()
        raced = try_remedies(network, list(REMEDIES), steps=STEPS, workers=2)
        seconds = time.perf_counter() - started
        full, loop = plainly(network)
        best = TrialReport(name, (), tuple(full.values())).best
        same = sum(raced[text].verdict == full[text].verdict for text in REMEDIES)
        alike = _alike(raced, full, best)
        shares.append(seconds / loop)
        equal += same
        agreed += alike
        print(
            f"{name:24} {seconds:6.1f} s of {loop:6.1f} s: {seconds / loop:.2f}   equal {same} of {len(REMEDIES)}"
            f"   {raced.recommended} / {best.remedy if best else None}{'' if alike else '  DIFFERENT'}",
            flush=True,
        )
        for text in REMEDIES:
            if raced[text].verdict != full[text].verdict:
                print(f"    {text}: {raced[text].verdict}, in full {full[text].verdict}", flush=True)
    count = len(shares)
    print(
        f"in all: share {sum(shares) / count:.2f} (most {max(shares):.2f}), verdicts equal {equal} of "
        f"{count * len(REMEDIES)}, recommendation the same or as good {agreed} of {count}"
    )


def _alike(raced: TrialReport, full: dict[str, Trial], best: Trial | None) -> bool:
    """The same recommendation, or one that the full runs do not tell from it."""
    if best is None or raced.recommended is None:
        return raced.recommended is None and best is None
    mine = full[raced.recommended]
    if mine.compared is None or best.compared is None or mine.verdict != best.verdict:
        return False
    gap = abs((mine.difference or 0.0) - (best.difference or 0.0))
    return gap <= best.compared.margin or mine.remedy == best.remedy


if __name__ == "__main__":
    main(sys.argv[1:])
