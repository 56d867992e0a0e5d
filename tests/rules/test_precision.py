"""Gradients too small for float16, or for Adam's epsilon."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from unstick.case import Case
from unstick.diagnose import diagnose
from unstick.observe import observe
from unstick.remedies import parse
from unstick.rules import Severity

STEPS = 120
kaiming = nn.init.kaiming_normal_


class Stored(nn.Module):
    """Weights in another dtype."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model.to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.to(self.dtype)).float()


class Autocast(nn.Module):
    """Weights in float32, operations in another dtype."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=self.dtype):
            return self.model(x).float()


def relu(depth: int = 3, init: Callable[[Tensor], object] | None = kaiming) -> nn.Sequential:
    return cases.dense(depth, nn.ReLU, init)


def scaled(model: Callable[[], nn.Module], scale: float, **options: object) -> Case:
    """The whole loss multiplied by `scale`."""
    return Case(model, cases.digits(), lambda out, y: scale * F.cross_entropy(out, y), **options)  # type: ignore[arg-type]


def names(case: Case, steps: int = STEPS) -> list[str]:
    return [f.rule for f in diagnose(case, steps=steps).findings]


@pytest.mark.parametrize("wrapped", [Stored, Autocast])
def test_a_small_loss_underflows_in_half_precision(wrapped: type[Stored]) -> None:
    """The step is the same as with the loss unscaled, and in float32 it would do."""
    optimizer = cases.sgd(0.05 / 1e-6)
    finding = diagnose(scaled(lambda: wrapped(relu(), torch.float16), 1e-6, optimizer=optimizer), steps=STEPS).findings[
        0
    ]
    assert (finding.rule, finding.severity) == ("gradient-underflow", Severity.ERROR)
    assert finding.evidence["zeros_first"] > 0.9
    assert names(scaled(lambda: Stored(relu(), torch.float32), 1e-6, optimizer=optimizer)) == []


def test_entries_become_zero_on_their_way_back() -> None:
    case = cases.digits_case(lambda: Stored(relu(10, None), torch.float16), "half", optimizer=cases.sgd(0.1))
    finding = diagnose(case, steps=STEPS).findings[0]
    assert finding.rule == "gradient-underflow"
    assert finding.evidence["zeros_first"] > finding.evidence["zeros_last"]
    assert finding.evidence["entry"] < 2**-14


def test_adam_divides_by_zero_in_half_precision() -> None:
    case = cases.digits_case(lambda: Stored(relu(), torch.float16), "half-adam")
    findings = diagnose(case, steps=STEPS).findings
    assert [f.rule for f in findings[:2]] == ["gradient-underflow", "non-finite"]
    assert findings[1].cause == "gradient-underflow"
    assert observe(case, remedy=parse(findings[0].remedies[0]), steps=STEPS).learning.learns


def test_what_float32_would_lose_too_has_vanished() -> None:
    model = lambda: Stored(cases.dense(20, nn.Sigmoid, width=16), torch.float16)  # noqa: E731
    found = names(cases.digits_case(model, "deep-half", optimizer=cases.sgd(0.1)))
    assert found[0] == "vanishing-gradient"
    assert "gradient-underflow" not in found


@pytest.mark.parametrize(
    ("build", "rate"),
    [
        (lambda: Stored(relu(), torch.float16), 0.05),
        (lambda: Stored(relu(), torch.bfloat16), 0.05),
        (lambda: Autocast(relu(), torch.bfloat16), 0.05),
        (lambda: Autocast(relu(), torch.float16), 0.05),
    ],
)
def test_half_precision_that_is_enough(build: Callable[[], nn.Module], rate: float) -> None:
    assert names(cases.digits_case(build, "half", optimizer=cases.sgd(rate))) == []


def test_zeros_of_relu_are_no_underflow() -> None:
    """A float32 network that fails: half of its gradient's entries are zero all the same."""
    assert "gradient-underflow" not in names(cases.rate_too_low())


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_epsilon_swallows_the_gradient_of_a_small_loss(make: type[torch.optim.Optimizer]) -> None:
    """Not a learning rate that is too low: with a smaller epsilon the same rate learns."""
    case = scaled(relu, 1e-10, optimizer=lambda parameters: make(parameters, lr=1e-3))  # type: ignore[call-arg]
    findings = diagnose(case, steps=STEPS).findings
    assert (findings[0].rule, findings[0].severity, findings[0].cause) == ("below-epsilon", Severity.ERROR, None)
    assert "learning-rate-too-low" not in [f.rule for f in findings]
    assert findings[0].evidence["step_over_rate"] < 0.1
    assert observe(case, remedy=parse(findings[0].remedies[0]), steps=STEPS).learning.learns


def test_behind_a_vanishing_gradient_it_is_the_last_link() -> None:
    """Small weights make the gradient fade, faded it is below epsilon: in this order. Either remedy is enough."""
    case = cases.digits_case(lambda: cases.dense(25, nn.ReLU, width=32), "relu-25")
    findings = diagnose(case, steps=STEPS).findings
    assert [f.rule for f in findings[:3]] == ["weights-too-small", "vanishing-gradient", "below-epsilon"]
    finding = findings[2]
    assert finding.cause == "vanishing-gradient"
    assert observe(case, remedy=parse(finding.remedies[0]), steps=300).learning.learns


def test_where_no_epsilon_would_help_nothing_is_said_of_it() -> None:
    """The squares of 1e-20 are no float32 numbers."""
    found = names(cases.kaylee_like())
    assert found[0] == "vanishing-gradient"
    assert "below-epsilon" not in found


@pytest.mark.parametrize(
    "case",
    [
        cases.converged(),
        scaled(relu, 1e-3),
        scaled(relu, 1e-10, optimizer=cases.adam(1e-3, eps=1e-16)),
        cases.digits_case(lambda: cases.dense(10, nn.ReLU), "relu-10"),
    ],
    ids=["converged", "small-loss", "small-epsilon", "attenuated"],
)
def test_small_gradients_that_are_no_problem(case: Case) -> None:
    assert names(case) == []


def test_plain_descent_has_no_epsilon() -> None:
    assert "below-epsilon" not in names(scaled(relu, 1e-10, optimizer=cases.sgd(0.1)))
