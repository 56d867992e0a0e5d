"""Deep networks that theory repairs: python benchmarks/theory/deep.py [repair] [sigmoid] [search]

repair: 1,000 dense tanh layers of width 64, without normalisation or residual connections, PyTorch's own initialisation
and Adam at 0.001, on scikit-learn's digits: unchanged, and with what theory prescribes. sigmoid: 50 layers of sigmoid,
which stay sigmoid. search: the same 1,000 layers given to `try_remedies` without a word on what to try. All three by
default. Standardised pixels; loss and accuracy are those of 16 held batches of 64; one thread a run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case, try_remedies
from unstick.observe import observe
from unstick.remedies import parse

WIDTH = 64
STEPS = 100  # enough for the verdict "does not learn", and a third of the default
BUDGET = 1800.0  # seconds for the search


def digits() -> tuple[Tensor, Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32)
    deviation = x.std(0)
    return (x - x.mean(0)) / torch.where(deviation > 0, deviation, 1.0), torch.tensor(labels)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    return (outputs.argmax(1) == targets).float().mean().item()


def case(depth: int, activation: Callable[[], nn.Module]) -> Case:
    def model() -> nn.Module:
        hidden = [layer for _ in range(depth) for layer in (nn.Linear(WIDTH, WIDTH), activation())]
        return nn.Sequential(*hidden, nn.Linear(WIDTH, 10))

    return Case(model, digits(), F.cross_entropy, metric=accuracy, name=f"{activation().__class__.__name__} x {depth}")


def repair(what: Case, remedies: Sequence[str | None], steps: int) -> None:
    """One line for each remedy: one run, seed 0."""
    print(f"{what.title}, {steps} steps", flush=True)
    for text in remedies:
        started = time.perf_counter()
        run = observe(what, remedy=None if text is None else parse(text), steps=steps, budget=float("inf"))
        seconds = time.perf_counter() - started
        below = next((step for step, loss in enumerate(run.losses) if loss < 1.0), None)
        print(
            f"  {text or 'unchanged':26} loss {run.learning.final_loss:.3f}, accuracy {run.metric:.3f}, training loss "
            f"below 1 at step {below}, {seconds:.0f} s",
            flush=True,
        )
        for change in run.changes:
            print(f"      {change}", flush=True)


def search() -> None:
    def progress(what: str, done: int, total: int) -> None:
        print(f"  {what}: {done} of {total} after {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)

    started = time.perf_counter()
    report = try_remedies(case(1000, nn.Tanh), steps=STEPS, budget=BUDGET, progress=progress)
    print(report)


PARTS: dict[str, Callable[[], None]] = {
    "repair": lambda: repair(
        case(1000, nn.Tanh), (None, "init(critical)", "init(orthogonal)+lr(depth)", "init(critical)+lr(depth)"), STEPS
    ),
    "sigmoid": lambda: repair(
        case(50, nn.Sigmoid), (None, "init(critical)", "init(critical)+lr(depth)", "init(data)"), 300
    ),
    "search": search,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
