"""Outputs that do not fit their loss or their targets; by real training of small networks, sick and well."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from unstick.case import Case
from unstick.diagnose import Diagnosis, diagnose
from unstick.rules import Severity

STEPS = 120
Loss = Callable[[Tensor, Tensor], Tensor]

X, Y = cases.digits()
ONE_HOT = F.one_hot(Y, 10).float()
_draws = torch.Generator().manual_seed(0)
POINTS = torch.randn(512, 6, generator=_draws)
BITS = (POINTS[:, :1] > 0).float()
NUMBERS = POINTS[:, :1] + 0.5 * POINTS[:, 1:2] ** 2 - 0.5


def net(inputs: int, outputs: int, *end: nn.Module, bias: float | None = None) -> Callable[[], nn.Module]:
    """One hidden layer; `bias` of the last weights, if given."""

    def build() -> nn.Module:
        last = nn.Linear(32, outputs)
        if bias is not None:
            nn.init.constant_(last.bias, bias)
        return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), last, *end)

    return build


class Functional(nn.Module):
    """A convolution, with its softmax called in `forward`."""

    def __init__(self, axis: int = 1) -> None:
        super().__init__()
        self.first, self.head, self.axis = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 10), axis

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.head(F.relu(self.first(x.view(-1, 1, 8, 8))).flatten(1)), self.axis)


class KeepsProbabilities(nn.Module):
    """Gives its scores to the loss, and keeps probabilities for whoever asks."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(64, 10)()

    def forward(self, x: Tensor) -> Tensor:
        scores = self.net(x)
        self.probabilities = scores.softmax(1)
        return scores


def clipped_bce(p: Tensor, t: Tensor) -> Tensor:
    p = p.clamp(1e-7, 1 - 1e-7)
    return -(t * p.log() + (1 - t) * (1 - p).log()).mean()


def normalised_cross_entropy(p: Tensor, t: Tensor) -> Tensor:
    p = (p / p.sum(1, keepdim=True)).clamp(1e-7, 1 - 1e-7)
    return -(t * p.log()).sum(1).mean()


def nll_of_probabilities(p: Tensor, t: Tensor) -> Tensor:
    return F.nll_loss((p + 1e-9).log(), t)


def cross_entropy_by_hand(scores: Tensor, t: Tensor) -> Tensor:
    return -(t * torch.log_softmax(scores, 1)).sum(1).mean()


def focal(p: Tensor, t: Tensor) -> Tensor:
    q = p.gather(1, t[:, None])
    return -((1 - q) ** 2 * q.log()).mean()


SLOW = cases.sgd(0.01)  # so slow that a mistake that only costs something keeps it from learning in so few steps

LOSS, RANGE = "loss-input-mismatch", "output-range-mismatch"
Parts = tuple[Callable[[], nn.Module], tuple[Tensor, Tensor], Loss, Any]

FAULTS: dict[str, tuple[str, Parts]] = {
    "softmax_twice": (LOSS, (net(64, 10, nn.Softmax(1)), (X, Y), F.cross_entropy, SLOW)),
    "softmax_in_the_loss": (LOSS, (net(64, 10, nn.Softmax(1)), (X, ONE_HOT), cross_entropy_by_hand, SLOW)),
    "functional_softmax_after_convolution": (LOSS, (Functional, (X, Y), F.cross_entropy, SLOW)),
    "sigmoid_twice": (
        LOSS,
        (net(6, 1, nn.Sigmoid()), (POINTS, BITS), F.binary_cross_entropy_with_logits, cases.sgd(0.001)),
    ),
    "softmax_over_one_unit": (LOSS, (net(6, 1, nn.Softmax(1)), (POINTS, BITS), F.binary_cross_entropy, None)),
    "one_class": (LOSS, (net(6, 1), (POINTS, torch.zeros(512).long()), F.cross_entropy, None)),
    "softmax_along_the_batch": (LOSS, (lambda: Functional(0), (X, Y), nll_of_probabilities, None)),
    "log_softmax_along_the_batch": (LOSS, (net(64, 10, nn.LogSoftmax(0)), (X, Y), F.nll_loss, None)),
    "scores_for_logarithms": (LOSS, (net(64, 10), (X, Y), F.nll_loss, None)),
    "scores_for_probabilities": (LOSS, (net(6, 1, bias=-5.0), (POINTS, BITS), clipped_bce, None)),
    "log_probabilities_for_probabilities": (RANGE, (net(64, 10, nn.LogSoftmax(1)), (X, ONE_HOT), F.mse_loss, None)),
    "relu_for_negative_numbers": (RANGE, (net(6, 1, nn.ReLU()), (POINTS, -1 - NUMBERS.abs()), F.mse_loss, None)),
    "sigmoid_for_large_numbers": (RANGE, (net(6, 1, nn.Sigmoid()), (POINTS, 5 + NUMBERS), F.mse_loss, None)),
    "tanh_for_large_numbers": (RANGE, (net(6, 1, nn.Tanh()), (POINTS, 5 + NUMBERS), F.l1_loss, None)),
    "relu_that_died": (RANGE, (net(6, 1, nn.ReLU(), bias=-50.0), (POINTS, NUMBERS.abs()), F.mse_loss, None)),
    "classifier_with_a_relu_that_died": (RANGE, (net(64, 10, nn.ReLU(), bias=-50.0), (X, Y), F.cross_entropy, None)),
}
SICK = {name: rule for name, (rule, _) in FAULTS.items()}


@functools.cache
def diagnosed(name: str, steps: int = STEPS) -> Diagnosis:
    model, data, loss, optimizer = FAULTS[name][1]
    return diagnose(Case(model, data, loss, optimizer=optimizer, name=name), steps=steps)


@pytest.mark.parametrize(("name", "rule"), SICK.items())
def test_cause_comes_first(name: str, rule: str) -> None:
    found = diagnosed(name).findings
    assert found[0].rule == rule
    assert found[0].severity is Severity.ERROR
    assert found[0].remedies or name == "one_class"
    assert {f.rule: f for f in found}["not-learning"].cause == rule


@pytest.mark.parametrize("name", ["softmax_over_one_unit", "one_class"])
def test_what_can_never_learn_is_an_error_at_once(name: str) -> None:
    first = diagnosed(name, 1).findings[0]
    assert (first.rule, first.severity) == (LOSS, Severity.ERROR)


@pytest.mark.parametrize("name", ["softmax_twice", "sigmoid_twice", "softmax_along_the_batch"])
def test_before_a_run_can_fail_it_is_a_warning(name: str) -> None:
    assert [(f.rule, f.severity) for f in diagnosed(name, 3).findings] == [(LOSS, Severity.WARNING)]


@pytest.mark.parametrize("classes", [2, 10])
def test_the_loss_that_a_softmax_cannot_get_below(classes: int) -> None:
    """All probability on the right class: log(1 + (classes - 1) / e)."""
    labels = torch.arange(512) % classes
    case = Case(net(6, classes, nn.Softmax(1)), (POINTS, labels), F.cross_entropy)
    evidence = diagnose(case, steps=1).findings[0].evidence
    floor = math.log(1 + (classes - 1) / math.e)
    assert evidence["best_within"] == pytest.approx(floor, abs=1e-3)
    assert evidence["out_of_reach"] == pytest.approx(floor / math.log(classes), abs=5e-3)


def test_the_line_of_source_and_the_words() -> None:
    found = diagnosed("functional_softmax_after_convolution").findings[0]
    assert found.source is not None
    assert "cross_entropy applies a softmax itself" in found.summary
    assert "runs along the batch" in diagnosed("log_softmax_along_the_batch").findings[0].summary


COSTLY: dict[str, tuple[str, Parts]] = {
    "softmax": (LOSS, (net(64, 10, nn.Softmax(1)), (X, Y), F.cross_entropy, cases.adam(0.01))),
    "sigmoid": (LOSS, (net(64, 10, nn.Sigmoid()), (X, Y), F.cross_entropy, cases.adam(0.01))),
    "probabilities": (LOSS, (net(64, 10, nn.Softmax(1)), (X, Y), F.nll_loss, cases.adam(0.01))),
    "half of the numbers": (RANGE, (net(6, 1, nn.ReLU()), (POINTS, NUMBERS), F.mse_loss, cases.adam(0.01))),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_network_that_learns_all_the_same_gets_a_warning(name: str) -> None:
    rule, (model, data, loss, optimizer) = COSTLY[name]
    diagnosis = diagnose(Case(model, data, loss, optimizer=optimizer), steps=STEPS)
    assert diagnosis.observation.learning.learns
    assert [(f.rule, f.severity) for f in diagnosis.findings] == [(rule, Severity.WARNING)]


WELL: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, Tensor], Loss]] = {
    "log-softmax before cross-entropy": (net(64, 10, nn.LogSoftmax(1)), (X, Y), F.cross_entropy),
    "relu before cross-entropy": (net(64, 10, nn.ReLU()), (X, Y), F.cross_entropy),
    "label smoothing": (net(64, 10), (X, Y), functools.partial(F.cross_entropy, label_smoothing=0.1)),
    "softmax and squares": (net(64, 10, nn.Softmax(1)), (X, ONE_HOT), F.mse_loss),
    "softmax and a sum": (net(64, 10, nn.Softmax(1)), (X, ONE_HOT), functools.partial(F.mse_loss, reduction="sum")),
    "softmax, log, nll": (net(64, 10, nn.Softmax(1)), (X, Y), nll_of_probabilities),
    "softmax, log by hand": (
        net(64, 10, nn.Softmax(1)),
        (X, ONE_HOT),
        lambda p, t: -(t * torch.log(p + 1e-9)).sum(1).mean(),
    ),
    "minus the probability": (net(64, 10, nn.Softmax(1)), (X, Y), lambda p, t: -p.gather(1, t[:, None]).mean()),
    "focal loss": (net(64, 10, nn.Softmax(1)), (X, Y), focal),
    "divergence": (
        net(64, 10, nn.LogSoftmax(1)),
        (X, 0.9 * ONE_HOT + 0.01),
        functools.partial(F.kl_div, reduction="batchmean"),
    ),
    "sigmoids as shares": (net(64, 10, nn.Sigmoid()), (X, ONE_HOT), normalised_cross_entropy),
    "soft labels": (net(6, 1, nn.Sigmoid()), (POINTS, POINTS[:, :1].sigmoid()), F.binary_cross_entropy),
    "reconstruction": (net(64, 64, nn.Sigmoid()), (X.sigmoid(), X.sigmoid()), F.binary_cross_entropy),
    "tanh to its very ends": (net(6, 1, nn.Tanh()), (POINTS, 2 * BITS - 1), F.mse_loss),
    "tanh and a hinge": (net(6, 1, nn.Tanh()), (POINTS, 2 * BITS - 1), lambda o, t: (1 - o * t).clamp(min=0).mean()),
    "relu for what is not negative": (net(6, 1, nn.ReLU()), (POINTS, NUMBERS.abs()), F.mse_loss),
    "a sigmoid and a little more": (net(6, 1, nn.Sigmoid()), (POINTS, 1.05 * BITS), F.mse_loss),
    "a wide hardtanh": (net(6, 1, nn.Hardtanh(-10, 10)), (POINTS, 3 * NUMBERS), F.mse_loss),
    "exp for a rate": (
        net(6, 1, nn.Softplus()),
        (POINTS, POINTS[:, :1].exp().floor()),
        lambda rate, n: F.poisson_nll_loss(rate, n, log_input=False),
    ),
    "probabilities that the loss never sees": (KeepsProbabilities, (X, Y), F.cross_entropy),
}


@pytest.mark.parametrize("name", WELL)
@pytest.mark.parametrize("steps", [3, STEPS])
def test_what_fits_is_not_mentioned(name: str, steps: int) -> None:
    model, data, loss = WELL[name]
    diagnosis = diagnose(Case(model, data, loss, optimizer=cases.adam(3e-3)), steps=steps)
    assert diagnosis.findings == ()


def test_a_failing_network_whose_outputs_fit_is_not_blamed_for_them() -> None:
    """Labels that nothing can be learned from."""
    labels = torch.randint(0, 10, (512,), generator=torch.Generator().manual_seed(1))
    case = Case(net(6, 10, nn.LogSoftmax(1)), (POINTS, labels), F.nll_loss, optimizer=SLOW)
    diagnosis = diagnose(case, steps=STEPS)
    assert not diagnosis.observation.learning.learns
    assert not {LOSS, RANGE} & {f.rule for f in diagnosis.findings}
