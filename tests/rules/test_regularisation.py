"""Decay and dropout that leave nothing; and amounts of them that are usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from unstick.case import Case
from unstick.diagnose import diagnose
from unstick.observe import observe
from unstick.remedies import parse
from unstick.rules import Finding, Severity

STEPS = 120
kaiming = nn.init.kaiming_normal_


def network() -> nn.Sequential:
    return cases.dense(3, nn.ReLU, kaiming, width=32)


def decayed(
    make: type[torch.optim.Optimizer], rate: float, decay: float, build: Callable[[], nn.Module] = network
) -> Case:
    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return make(parameters, lr=rate, weight_decay=decay)  # type: ignore[call-arg]

    return cases.digits_case(build, "decayed", optimizer=optimizer)


def findings(case: Case, steps: int = STEPS) -> tuple[Finding, ...]:
    return diagnose(case, steps=steps).findings


@pytest.mark.parametrize(
    ("make", "rate", "decay"),
    [(torch.optim.AdamW, 1e-3, 30.0), (torch.optim.SGD, 0.05, 1.0), (torch.optim.Adam, 5e-3, 1.0)],
    ids=["adamw", "sgd", "adam"],
)
def test_a_decay_to_nothing_is_named_first(make: type[torch.optim.Optimizer], rate: float, decay: float) -> None:
    case = decayed(make, rate, decay)
    first = findings(case)[0]
    assert (first.rule, first.severity) == ("over-regularised", Severity.ERROR)
    assert first.evidence["weight_decay"] == decay
    assert first.evidence["norm_after"] < 0.5 * first.evidence["norm_before"]
    assert first.since is not None
    assert first.since > 0
    assert observe(case, remedy=parse(first.remedies[0]), steps=STEPS).learning.learns


def penalised() -> Case:
    """The penalty is in the loss, where no setting tells of it, and the loss falls all the while."""

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return F.cross_entropy(model(x), y) + 10 * sum(p.square().sum() for p in model.parameters())

    return Case(network, cases.digits(), step=step, name="penalised", optimizer=cases.adam(5e-3))


def test_a_penalty_in_the_loss_is_told_by_what_it_does() -> None:
    found = {f.rule: f for f in findings(penalised())}
    assert found["over-regularised"].severity is Severity.ERROR
    assert found["over-regularised"].evidence["weight_decay"] in (None, 0.0)


@pytest.mark.parametrize(
    "case",
    [
        decayed(torch.optim.AdamW, 1e-3, 0.1),
        decayed(torch.optim.SGD, 0.05, 5e-4),
        decayed(torch.optim.Adam, 1e-3, 1e-4),
    ],
    ids=["adamw", "sgd", "adam"],
)
def test_usual_decay(case: Case) -> None:
    assert findings(case) == ()


def test_a_gradient_that_vanished_before_is_not_the_decays_doing() -> None:
    build = lambda: cases.dense(20, nn.Sigmoid, width=16)  # noqa: E731
    found = [f.rule for f in findings(decayed(torch.optim.SGD, 0.1, 5e-3, build))]
    assert found[0] == "vanishing-gradient"
    assert "over-regularised" not in found


def test_a_rate_too_low_is_not_the_decays_doing() -> None:
    found = [f.rule for f in findings(decayed(torch.optim.SGD, 1e-7, 5e-4))]
    assert found[0] == "learning-rate-too-low"
    assert "over-regularised" not in found


class Dropping(nn.Module):
    def __init__(self, share: float, inputs: float = 0.0) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.share, self.inputs = share, inputs

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(F.dropout(x, self.inputs)))
        x = torch.relu(self.second(F.dropout(x, self.share)))
        return self.head(F.dropout(x, self.share))


class Modules(nn.Module):
    """Convolutions with dropout of whole channels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.95), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout(0.95), nn.Linear(1024, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.view(-1, 1, 8, 8)).flatten(1))


def test_dropout_that_lets_nothing_through_is_named_first() -> None:
    first = findings(cases.digits_case(lambda: Dropping(0.95), "dropping"))[0]
    assert (first.rule, first.severity) == ("over-regularised", Severity.ERROR)
    assert first.evidence["dropped"] == pytest.approx(0.95, abs=0.02)
    assert first.evidence["operations"] == 2


def test_dropout_of_modules_and_channels_is_seen() -> None:
    case = cases.digits_case(Modules, "channels", optimizer=cases.adam(1e-5))
    found = {f.rule: f for f in findings(case)}
    assert found["over-regularised"].evidence["operations"] == 2


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_usual_dropout(share: float) -> None:
    case = cases.digits_case(lambda: Dropping(share, inputs=0.2), "dropping", optimizer=cases.adam(3e-3))
    assert findings(case) == ()


def test_usual_dropout_in_a_network_that_fails() -> None:
    case = cases.digits_case(lambda: Dropping(0.5), "dropping", optimizer=cases.sgd(1e-7))
    assert "over-regularised" not in [f.rule for f in findings(case)]
