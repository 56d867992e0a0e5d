"""Each rule's own fault is found, named first, and placed; by real training of small networks."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from unstick.case import Case
from unstick.diagnose import Diagnosis, diagnose
from unstick.rules import RULES, Severity


@functools.cache
def diagnosed(name: str, steps: int = 300) -> Diagnosis:
    return diagnose(getattr(cases, name)(), steps=steps)


SICK = {
    "kaylee_like": "vanishing-gradient",
    "sigmoid_default": "vanishing-gradient",
    "relu_default": "weights-too-small",
    "tanh_large": "weights-too-large",
    "constant_weights": "symmetric-weights",
    "rate_too_high": "learning-rate-too-high",
    "rate_too_low": "learning-rate-too-low",
    "unscaled_inputs": "unscaled-inputs",
    "dead_units": "dead-units",
    "diverging": "learning-rate-too-high",
}


@pytest.mark.parametrize(("name", "rule"), SICK.items())
def test_cause_comes_first(name: str, rule: str) -> None:
    found = diagnosed(name).findings
    assert found
    assert found[0].rule == rule
    assert found[0].severity is Severity.ERROR
    assert found[0].remedies


@pytest.mark.parametrize("name", [n for n in SICK if n not in ("constant_weights", "diverging")])
def test_symptom_is_found_and_points_at_its_cause(name: str) -> None:
    found = {f.rule: f for f in diagnosed(name).findings}
    assert "not-learning" in found
    assert found["not-learning"].cause == SICK[name]


@pytest.mark.parametrize(
    "name", ["kaylee_like", "sigmoid_default", "relu_default", "constant_weights", "rate_too_low", "dead_units"]
)
@pytest.mark.parametrize("steps", [1, 10])
def test_what_is_wrong_at_once_is_found_at_once(name: str, steps: int) -> None:
    """The number of steps changes how long one looks, not what is wrong."""
    assert diagnosed(name, steps).findings[0].rule == SICK[name]


@pytest.mark.parametrize("steps", [10, 300])
def test_a_ruinous_rate_needs_no_long_look(steps: int) -> None:
    assert diagnosed("rate_too_high", steps).findings[0].rule == "learning-rate-too-high"


def test_steps_that_half_precision_swallows() -> None:
    x, y = cases.digits()
    case = Case(
        lambda: cases.dense(2, nn.ReLU, nn.init.kaiming_normal_).bfloat16(),
        (x.bfloat16(), y),
        F.cross_entropy,
        optimizer=cases.adam(1e-8),
    )
    assert diagnose(case, steps=1).findings[0].rule == "learning-rate-too-low"


def test_one_sample_a_batch_hides_no_vanished_gradient() -> None:
    case = dataclasses.replace(cases.kaylee_like(), batch_size=1)
    assert diagnose(case, steps=3).findings[0].rule == "vanishing-gradient"


def test_the_mechanism_of_a_vanishing_gradient_is_named() -> None:
    by_sigmoid = {f.rule: f for f in diagnosed("kaylee_like").findings}["vanishing-gradient"]
    assert by_sigmoid.cause == "activation"
    assert by_sigmoid.evidence["parts"]["activation"] > 0.5 * by_sigmoid.evidence["decades"]
    by_weights = {f.rule: f for f in diagnosed("relu_default").findings}["vanishing-gradient"]
    assert by_weights.cause == "weights-too-small"


def test_the_line_of_source_is_named() -> None:
    """The activation's own line, not that of the layer before it."""
    source = diagnosed("kaylee_like").findings[0].source
    assert source is not None
    path, line = source.rsplit(":", 1)
    assert path.endswith("cases.py")
    assert "activation()" in Path(cases.__file__).read_text().splitlines()[int(line) - 1]


def test_non_finite_is_a_finding_and_says_since_when() -> None:
    found = {f.rule: f for f in diagnosed("diverging").findings}["non-finite"]
    assert found.cause == "learning-rate-too-high"
    assert found.since is not None
    assert found.since <= 3


class Overflowing(nn.Module):
    """A sigmoid written by hand: its value is right where exp is infinite, and its gradient is 0 * infinity."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-200 * x))


def test_an_infinity_that_spoils_only_the_gradient() -> None:
    case = cases.digits_case(lambda: nn.Sequential(nn.Linear(64, 32), Overflowing(), nn.Linear(32, 10)), "overflow")
    found = {f.rule: f for f in diagnose(case, steps=1).findings}["non-finite"]
    assert found.since == 0
    assert found.module == "1"


def test_an_infinity_on_purpose_is_not_taken_for_the_origin() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.head = nn.Linear(8, 8), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            scores = self.mix(x.view(-1, 8, 8)).masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf)
            return torch.log(self.head(scores.softmax(-1).flatten(1)))

    found = {f.rule: f for f in diagnose(cases.digits_case(Masked, "log"), steps=3).findings}["non-finite"]
    assert "first in log" in found.summary


def test_saturation_by_unscaled_inputs_is_a_symptom() -> None:
    found = {f.rule: f for f in diagnosed("unscaled_inputs").findings}
    assert found["saturated-activation"].cause == "unscaled-inputs"


def test_explosion_by_large_weights_is_a_symptom() -> None:
    found = {f.rule: f for f in diagnosed("tanh_large").findings}
    assert found["exploding-gradient"].cause == "weights-too-large"
    assert abs(found["exploding-gradient"].evidence["promise_kept"]) < 0.01


def test_collapse_is_the_forward_twin() -> None:
    found = {f.rule: f for f in diagnosed("kaylee_like").findings}["collapsed-signal"]
    assert found.cause == "vanishing-gradient"
    assert found.evidence["between_samples"] < 1e-10


def test_every_rule_is_exercised_here() -> None:
    seen = {f.rule for name in SICK for f in diagnosed(name).findings}
    assert seen == {rule.id for rule in RULES}
