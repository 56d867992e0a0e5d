"""Small networks whose activations are given from outside, so that a remedied one can be compared with one written by
hand; and the way from a network and a remedy to a remedied setup."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unstick.case import Case
from unstick.remedies import parse
from unstick.setup import Anatomy, Setup
from unstick.trace.record import record

Activate = Callable[[Tensor], Tensor]


class Mlp(nn.Module):
    """Three hidden layers of 6 units; inputs (n, 6) or (n, time, 6), averaged over time at the end."""

    def __init__(self, hidden: Sequence[Activate], output: Activate = lambda x: x) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.head = nn.Linear(6, 3)
        self.hidden = nn.ModuleList(hidden) if all(isinstance(f, nn.Module) for f in hidden) else list(hidden)
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        for layer, activate in zip(self.layers, self.hidden, strict=True):
            x = activate(layer(x))
        return self.output(self.head(x if x.dim() == 2 else x.mean(1)))


class Conv(nn.Module):
    """Two convolutions and a linear layer behind a `view`, which needs its input in the usual layout."""

    def __init__(self, hidden: Sequence[Activate]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)])
        self.head = nn.Linear(4 * 25, 3)
        self.hidden = nn.ModuleList(hidden) if all(isinstance(f, nn.Module) for f in hidden) else list(hidden)

    def forward(self, x: Tensor) -> Tensor:
        for layer, activate in zip(self.layers, self.hidden, strict=True):
            x = activate(layer(x))
        return self.head(x.view(len(x), -1))


class Unrolled(nn.Module):
    """A recurrent cell written out, over inputs (n, time, 6)."""

    def __init__(self, activate: Activate) -> None:
        super().__init__()
        self.into, self.across, self.head = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 5)
        for step in x.unbind(1):
            h = self.activate(self.into(step) + self.across(h))
        return self.head(h)


def in_place(x: Tensor) -> Tensor:
    """The caller goes on with the tensor that it gave, not with what is returned."""
    x.sigmoid_()
    return x


SIGMOIDS: dict[str, Activate] = {
    "module": nn.Sigmoid(),
    "function": torch.sigmoid,
    "method": Tensor.sigmoid,
    "functional": functional.sigmoid,
    "keyword": lambda x: torch.sigmoid(input=x),
    "in place": in_place,
}


def flat(n: int = 16) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))


def series(n: int = 16) -> Tensor:
    return torch.randn(n, 4, 6, generator=torch.Generator().manual_seed(2))


def images(n: int = 16) -> Tensor:
    return torch.randn(n, 2, 5, 5, generator=torch.Generator().manual_seed(3))


def remedied(model: nn.Module, x: Tensor, remedy: str, **options: Any) -> tuple[Setup, Any]:
    """A setup with the remedy applied, and a batch. Targets `y`: three classes, unless they are given."""
    y = options.pop("y", torch.arange(len(x)) % 3)
    case = Case(model, (x, y), options.pop("loss", functional.cross_entropy), batch_size=len(x), **options)
    setup = case.fresh(0)
    batches = tuple(islice(case.stream(0), 2))
    anatomy = Anatomy(record(copy_of(setup), batches[0]), batches)
    parse(remedy).apply(setup, anatomy)
    return setup, batches[0]


def copy_of(setup: Setup) -> Setup:
    """So that the trace leaves nothing on the setup that the remedy changes."""
    return Setup(copy.deepcopy(setup.model), setup.loss, setup.make_optimizer)


def added(setup: Setup) -> dict[str, nn.Parameter]:
    return {name: p for name, p in setup.model.named_parameters() if name.startswith("unstick_added")}


def assert_same(setup: Setup, by_hand: nn.Module, model: nn.Module, batch: Any) -> None:
    """The remedied `model` and the network written by hand give the same loss and the same gradients."""
    by_hand.load_state_dict(model.state_dict(), strict=False)
    x, y = batch
    loss, expected = setup.forward(batch), functional.cross_entropy(by_hand(x), y)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    ours = dict(setup.model.named_parameters())
    for name, p in by_hand.named_parameters():
        if name in ours:
            torch.testing.assert_close(ours[name].grad, p.grad, msg=lambda m, n=name: f"{n}: {m}")
