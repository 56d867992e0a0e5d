"""A plain training loop of our own, which shares nothing with the tool: does a network learn, and how well?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch import Tensor

from .hosts import Host, Pair

LEARNS = 0.5
"""A host must take away half of what the best constant output leaves open, in skill, to be called healthy."""
WORSE = 0.1
"""A fault counts where the skill, or the loss as a share of the best constant output's, is worse by this much."""


@dataclass(frozen=True)
class Outcome:
    """skill: 1 for perfect, 0 for no better than a constant output, NaN where it diverged: accuracy above that of the
    commonest class, or explained variance. loss: that of the end, as a share of the best constant output's.
    """

    skill: float
    loss: float

    @property
    def learns(self) -> bool:
        return self.skill >= LEARNS

    def worse_than(self, other: Outcome) -> bool:
        """NaN is worse than any number."""
        return not (self.skill > other.skill - WORSE and self.loss < other.loss + WORSE)

    @property
    def fails(self) -> bool:
        """It has not even begun to learn."""
        return not self.skill > WORSE


def batches(host: Host) -> Iterator[Pair]:
    x, y = host.data()
    if host.stream is None:
        for _ in count():
            rows = torch.randint(len(x), (host.batch,))
            yield x[rows], y[rows]
    while True:
        yield from host.stream((x, y), host.batch)  # type: ignore[misc]


def train(host: Host, steps: int, seed: int = 0) -> Outcome:
    torch.manual_seed(seed)
    model = host.build()
    optimizer = host.optimize(model.parameters())
    for x, y in islice(batches(host), steps):
        optimizer.zero_grad()
        loss = host.objective(model(x), y)
        loss.backward()
        optimizer.step()
        if not math.isfinite(loss.item()):
            return Outcome(math.nan, math.nan)
    return judged(host, model)


@torch.no_grad()
def judged(host: Host, model: torch.nn.Module) -> Outcome:
    """Over all data, in evaluation mode, as a user would use the network."""
    model.eval()
    x, y = host.data()
    y = next(islice(host.stream((x, y), len(x)), 1))[1] if host.stream else y
    out = model(x).float()
    loss = host.objective(out, y).item() / host.scale
    return (
        Outcome(skill(host, out, y), loss / constant_loss(host, y))
        if math.isfinite(loss)
        else Outcome(math.nan, math.nan)
    )


def skill(host: Host, out: Tensor, y: Tensor) -> float:
    if host.kind == "numbers":
        return 1 - ((out.flatten() - y.flatten()) ** 2).mean().item() / y.flatten().var(correction=0).item()
    common = torch.bincount(y.flatten().long()).max().item() / y.numel()
    return (accuracy(host, out, y) - common) / (1 - common)


def accuracy(host: Host, out: Tensor, y: Tensor) -> float:
    """Binary outputs are read as logits or as probabilities, whichever is kinder to them."""
    if host.kind == "classes":
        return (out.argmax(1) == y).float().mean().item()
    return max(((out > at) == (y > 0.5)).float().mean().item() for at in (0.0, 0.5))


def constant_loss(host: Host, y: Tensor) -> float:
    """The loss of the best constant output under the host's own kind of loss: entropy, or variance."""
    if host.kind == "numbers":
        return y.var(0, correction=0).mean().item()
    shares = torch.bincount(y.flatten().long()).float() / y.numel()
    return float(torch.special.entr(shares).sum())
