"""Targets of another shape, and of another size, than the outputs."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from rules.test_answers import BITS, NUMBERS, POINTS, STEPS, net
from unstick.case import Case
from unstick.diagnose import Diagnosis, diagnose
from unstick.rules import Severity

SHAPE, SIZE = "target-shape-mismatch", "unscaled-targets"
X, Y = cases.digits()


class Cell(nn.Module):
    """A recurrent network with one output a sample, of shape (n, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(2, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x.view(-1, 3, 2))[0][:, -1])


def squares(out: Tensor, target: Tensor) -> Tensor:
    return ((out - target) ** 2).mean()


FAULTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "column_against_row": (SHAPE, (net(6, 1), (POINTS, NUMBERS[:, 0]), F.mse_loss)),
    "row_against_column": (SHAPE, (net(6, 1, nn.Flatten(0)), (POINTS, NUMBERS), F.l1_loss)),
    "recurrent_column": (SHAPE, (Cell, (POINTS, NUMBERS[:, 0]), squares)),
    "whole_numbers": (SHAPE, (net(6, 1, nn.Sigmoid()), (POINTS, BITS[:, 0].long()), squares)),
    "class_numbers": (SHAPE, (net(64, 10), (X, Y.float()[:, None]), F.mse_loss)),
    "far_away": (SIZE, (net(6, 1), (POINTS, 10 * NUMBERS + 1000), F.mse_loss)),
    "wide": (SIZE, (Cell, (POINTS, 1000 * NUMBERS), F.mse_loss)),
    "wide_absolute": (SIZE, (net(6, 1), (POINTS, 1000 * NUMBERS), F.l1_loss, cases.sgd(0.01))),
    "tiny": (SIZE, (net(6, 1), (POINTS, 1e-3 * NUMBERS), F.mse_loss)),
}
SICK = {name: rule for name, (rule, _) in FAULTS.items()}


@functools.cache
def diagnosed(name: str, steps: int = STEPS) -> Diagnosis:
    model, data, loss, *optimizer = FAULTS[name][1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of these very shapes
        return diagnose(Case(model, data, loss, optimizer=optimizer[0] if optimizer else None), steps=steps)


@pytest.mark.parametrize(("name", "rule"), SICK.items())
def test_cause_comes_first(name: str, rule: str) -> None:
    found = diagnosed(name).findings
    assert found[0].rule == rule
    assert found[0].severity is Severity.ERROR
    assert found[0].remedies or name == "class_numbers"
    assert {f.rule: f for f in found}["not-learning"].cause == rule


@pytest.mark.parametrize("name", [name for name, rule in SICK.items() if rule == SHAPE and name != "class_numbers"])
def test_stretched_shapes_are_an_error_at_once(name: str) -> None:
    assert [(f.rule, f.severity) for f in diagnosed(name, 1).findings] == [(SHAPE, Severity.ERROR)]


def test_the_way_that_is_left_is_told_in_steps() -> None:
    """Adam at 0.001 moves the output by a hundredth a step: a thousand takes about a hundred thousand."""
    found = diagnosed("far_away").findings[0]
    assert 1e4 < found.evidence["steps_left"] < 1e6
    assert found.remedies[0] == "rescale-output"


def test_large_targets_of_a_run_that_broke_down_are_a_warning() -> None:
    case = Case(net(6, 1), (POINTS, 10 * NUMBERS + 1000), F.mse_loss, optimizer=cases.sgd(0.1))
    found = {f.rule: f for f in diagnose(case, steps=STEPS).findings}
    assert found[SIZE].severity is Severity.WARNING
    assert "lr(x0.1)" in found[SIZE].remedies


WELL: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, Tensor], Any]] = {
    "the loss puts the shape right": (
        net(6, 1), (POINTS, NUMBERS[:, 0]), lambda out, target: F.mse_loss(out.squeeze(1), target)),
    "several quantiles of one number": (
        net(6, 3),
        (POINTS, NUMBERS),
        lambda out, target: torch.maximum(
            out.new_tensor([0.1, 0.5, 0.9]) * (target - out), (out.new_tensor([0.1, 0.5, 0.9]) - 1) * (target - out)
        ).mean(),
    ),
    "class numbers of shape (n,)": (net(64, 10), (X, Y), F.cross_entropy),
    "deviation of three": (net(6, 1), (POINTS, 3 * NUMBERS), F.mse_loss),
    "large and within reach": (net(6, 1), (POINTS, 30 * NUMBERS), F.mse_loss),
    "mean of twenty": (net(6, 1, bias=20.0), (POINTS, NUMBERS + 20), F.mse_loss),
}  # fmt: skip


@pytest.mark.parametrize("name", WELL)
@pytest.mark.parametrize("steps", [3, STEPS])
def test_what_fits_is_not_mentioned(name: str, steps: int) -> None:
    model, data, loss = WELL[name]
    diagnosis = diagnose(Case(model, data, loss, optimizer=cases.adam(1e-2)), steps=steps)
    assert diagnosis.findings == ()


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (net(6, 1), lambda out, target: F.mse_loss(out.squeeze(1), target)),
        (net(6, 1, nn.Flatten(0)), F.mse_loss),
    ],
)
def test_noise_is_not_blamed_on_shapes_or_sizes(model: Callable[[], nn.Module], loss: Any) -> None:
    """A network that cannot learn for another reason, with targets that it can reach."""
    noise = torch.randn(512, generator=torch.Generator().manual_seed(2))
    diagnosis = diagnose(Case(model, (POINTS, noise), loss, optimizer=cases.sgd(1e-3)), steps=STEPS)
    assert not diagnosis.observation.learning.learns
    assert not {SHAPE, SIZE} & {f.rule for f in diagnosis.findings}
