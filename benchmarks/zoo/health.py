"""Is a network of the zoo healthy? Plain training, without the tool, against what a constant output would get.

Nothing here uses more of the package than the `Case`, which says what model, data, loss and optimizer are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from benchmarks.zoo.tasks import token_loss
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

STEPS = 300
LOOK = 100  # steps after which it is looked whether the network has learned
SEEDS = (0, 1, 2)
HELD_BATCHES = 16
MARGIN = 0.1
"""A network has learned when its loss is a tenth below the reference, on held batches, with every seed."""


@dataclass(frozen=True)
class Health:
    """Mean loss on held batches before and after training; reference: of the best constant output, else `initial`."""

    seed: int
    steps: int
    initial: float
    final: float
    reference: float
    constant: bool

    @property
    def learned(self) -> bool:
        return math.isfinite(self.final) and self.final < self.reference - MARGIN * abs(self.reference)

    def row(self) -> dict[str, Any]:
        return asdict(self) | {"learned": self.learned}


def examine(case: Case, seed: int) -> Health:
    """Train a fresh network until it has learned, and for `STEPS` steps at most. `case.model` is a function here."""
    torch.manual_seed(1000 + seed)
    held = list(islice(batches(case), HELD_BATCHES))
    torch.manual_seed(seed)
    model = case.model()
    steps = training(case, model, seed)
    next(steps)
    initial = evaluate(case, model, held)
    constant = constant_loss(case, held)
    for taken in range(LOOK, STEPS + 1, LOOK):
        model.train()
        train(steps, LOOK)
        final = evaluate(case, model, held)
        found = Health(seed, taken, initial, final, initial if constant is None else constant, constant is not None)
        if found.learned:
            break
    return found


def train(steps: Iterator[None], count: int) -> None:
    for _ in islice(steps, count):
        pass


def training(case: Case, model: nn.Module, seed: int) -> Iterator[None]:
    """Plain training in place; what is yielded first is the network before any step, then one step at a time."""
    torch.manual_seed(seed)
    model.train()
    source = batches(case)
    if any(isinstance(p, nn.UninitializedParameter) for p in model.parameters()):
        model(*next(source)[:-1])
    parameters = list(model.parameters())
    optimizer = case.optimizer(parameters) if case.optimizer else torch.optim.Adam(parameters, lr=1e-3)
    yield
    for batch in source:

        def closure(batch: Any = batch) -> Tensor:
            optimizer.zero_grad()
            loss = batch_loss(case, model, batch)
            loss.backward()
            return loss

        optimizer.step(closure)
        yield


def evaluate(case: Case, model: nn.Module, held: list[Any]) -> float:
    """Mean loss, the model in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return sum(float(batch_loss(case, model, batch)) for batch in held) / len(held)


def batch_loss(case: Case, model: nn.Module, batch: Any) -> Tensor:
    if case.step is not None:
        return case.step(model, batch)
    if case.loss is None:
        return model(**batch).loss
    if isinstance(batch, Mapping):
        inputs = {name: part for name, part in batch.items() if name != "labels"}
        return case.loss(model(**inputs), batch["labels"])
    *inputs, target = batch
    return case.loss(model(*inputs), target)


def batches(case: Case) -> Iterator[Any]:
    """Batches without end."""
    data = case.data
    if isinstance(data, tuple):  # (X, y), X one tensor or several
        inputs, target = data
        parts = (*inputs, target) if isinstance(inputs, tuple) else (inputs, target)
        size = min(case.batch_size, len(target))
        while True:
            for chosen in torch.randperm(len(target))[: len(target) - len(target) % size].split(size):
                yield tuple(part[chosen] for part in parts)
    while True:
        yield from data() if callable(data) else data


# -- the best constant output ------------------------------------------------------------------------------------------


def _entropy(targets: Tensor) -> float:
    """Of the classes that occur: the cross-entropy of their frequencies."""
    kept = targets[targets != -100]
    share = kept.unique(return_counts=True)[1] / kept.numel()
    return float(-(share * share.log()).sum())


def _variance(targets: Tensor) -> float:
    return float((targets.float() - targets.float().mean(0)).square().mean())


def _deviation(targets: Tensor) -> float:
    return float((targets - targets.median(0).values).abs().mean())


def _binary_entropy(targets: Tensor) -> float:
    p = targets.mean(0)
    return float(-(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).mean())


CLOSED_FORMS: dict[Any, Callable[[Tensor], float]] = {
    F.cross_entropy: _entropy,
    token_loss: _entropy,
    F.mse_loss: _variance,
    F.l1_loss: _deviation,
    F.binary_cross_entropy_with_logits: _binary_entropy,
    F.binary_cross_entropy: _binary_entropy,
}
BY_CLASS: dict[type, Callable[[Tensor], float]] = {nn.BCELoss: _binary_entropy, nn.NLLLoss: _entropy}


def constant_loss(case: Case, held: list[Any]) -> float | None:
    """In closed form from the held targets; None where the loss has none."""
    if case.step is not None:
        return None
    form = _entropy if case.loss is None else CLOSED_FORMS.get(case.loss) or BY_CLASS.get(type(case.loss))
    targets = torch.cat([batch["labels"] if isinstance(batch, Mapping) else batch[-1] for batch in held])
    if form is None or (form is _entropy and targets.is_floating_point()):
        return None
    return form(targets)
