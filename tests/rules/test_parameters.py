"""Parameters that cannot move are named, and choices that look like it are left alone."""

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
from unstick.rules import Finding, Severity

STEPS = 120
kaiming = nn.init.kaiming_normal_


class Cut(nn.Module):
    """Three layers, and something between the first two that no gradient passes; `how` says what."""

    def __init__(self, how: Callable[[Cut, Tensor], Tensor], outputs: int = 10) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, outputs)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(self.how(self, x))))


def detached(net: Cut, x: Tensor) -> Tensor:
    return torch.relu(net.first(x)).detach()


def without_grad(net: Cut, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.relu(net.first(x))


def rounded(net: Cut, x: Tensor) -> Tensor:
    return (net.first(x) > 0).float()


def whole(net: Cut, x: Tensor) -> Tensor:
    return torch.relu(net.first(x))


def on_noise(model: Callable[[], nn.Module], **options: Any) -> Case:
    """Labels that no network can learn in so few steps, so that it fails whatever else is wrong with it."""
    x, y = cases.digits()
    mixed = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    return Case(model, (x, mixed), F.cross_entropy, optimizer=cases.sgd(0.01), **options)


def found(case: Case, rule: str, steps: int = STEPS) -> Finding | None:
    return next((f for f in diagnose(case, steps=steps).findings if f.rule == rule), None)


@pytest.mark.parametrize("how", [detached, without_grad, rounded])
def test_a_cut_graph_is_named_first_where_the_network_fails(how: Callable[[Cut, Tensor], Tensor]) -> None:
    finding = diagnose(on_noise(lambda: Cut(how)), steps=STEPS).findings[0]
    assert (finding.rule, finding.severity) == ("no-gradient", Severity.ERROR)
    assert finding.module == "first"
    assert finding.evidence["parameters"] == ["first.weight", "first.bias"]
    assert finding.evidence["behind"] == "second"
    assert finding.source is not None
    assert "test_parameters.py" in finding.source


@pytest.mark.parametrize("how", [detached, without_grad])
def test_a_cut_graph_is_a_note_where_the_network_learns(how: Callable[[Cut, Tensor], Tensor]) -> None:
    finding = found(cases.digits_case(lambda: Cut(how), "cut", optimizer=cases.adam(3e-3)), "no-gradient")
    assert finding is not None
    assert finding.severity is Severity.INFO


class OnlyTheHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = cases.dense(2, nn.ReLU, outputs=32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.from_numpy(self.body(x).detach().numpy().copy()))


def test_a_trip_through_numpy_is_certain_at_once() -> None:
    finding = diagnose(cases.digits_case(OnlyTheHead, "numpy", optimizer=cases.sgd(1e-4)), steps=2).findings[0]
    assert (finding.rule, finding.severity) == ("no-gradient", Severity.ERROR)
    assert finding.module == "body.0"


def shut(activation: Callable[[], nn.Module]) -> nn.Module:
    """A frozen layer of zeros in the middle."""
    model = cases.dense(3, activation, kaiming)
    nn.init.zeros_(model[4].weight).requires_grad_(False)
    return model


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Identity])
def test_zeros_upstream_are_named(activation: Callable[[], nn.Module]) -> None:
    finding = diagnose(cases.digits_case(lambda: shut(activation), "shut"), steps=STEPS).findings[0]
    assert (finding.rule, finding.module) == ("no-gradient", "0")
    assert finding.evidence["gradient"] == 0.0
    assert finding.evidence["behind"] == "4"


def test_dead_units_keep_their_name() -> None:
    assert found(cases.dead_units(), "no-gradient") is None


class Pooler(Cut):
    """A head whose output nobody reads."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        self.second(hidden)
        return self.head(hidden)


class Siamese(Cut):
    """A stop-gradient with another path around it (Chen and He 2021)."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        return self.head(torch.relu(self.second(hidden)) + hidden.detach())


def asked_for_its_shape() -> nn.Module:
    """An unused layer of which only the dtype is read."""

    class Asked(Cut):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(self.first(x.to(self.second.weight.dtype))))

    return Asked(whole)


@pytest.mark.parametrize("build", [lambda: Pooler(whole), lambda: Siamese(whole), asked_for_its_shape])
@pytest.mark.parametrize("make", [on_noise, lambda build: cases.digits_case(build, "near")])
def test_what_gets_no_gradient_on_purpose(build: Callable[[], nn.Module], make: Callable[..., Case]) -> None:
    """Silent, and so in a network that fails for another reason."""
    assert found(make(build), "no-gradient") is None


def head_only(rate: float) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(list(parameters)[-2:], lr=rate)


def test_what_the_optimizer_does_not_hold_is_named_first_where_the_network_fails() -> None:
    case = cases.digits_case(lambda: cases.dense(6, nn.Sigmoid), "left-out", optimizer=head_only(1e-3))
    finding = diagnose(case, steps=STEPS).findings[0]
    assert (finding.rule, finding.severity) == ("not-in-optimizer", Severity.ERROR)
    assert finding.module == "0"
    assert finding.remedies == ("adam",)


def test_to_train_only_the_head_is_a_choice() -> None:
    """A network that learns: a note; and none of its standing weights is called stuck."""
    case = cases.digits_case(lambda: cases.dense(2, nn.Tanh), "head", optimizer=head_only(1e-2))
    findings = diagnose(case, steps=STEPS).findings
    assert [(f.rule, f.severity) for f in findings] == [("not-in-optimizer", Severity.INFO)]
    assert {f.severity for f in diagnose(case, steps=3).findings} <= {Severity.INFO}


def test_a_deep_network_of_which_only_the_head_is_trained_does_not_vanish() -> None:
    case = cases.digits_case(lambda: cases.dense(10, nn.Tanh), "head", optimizer=head_only(3e-2))
    assert found(case, "vanishing-gradient", steps=3) is None


def test_frozen_parameters_need_no_optimizer() -> None:
    def build() -> nn.Module:
        model = cases.dense(3, nn.ReLU, kaiming)
        model[:4].requires_grad_(False)
        return model

    case = cases.digits_case(build, "frozen", optimizer=head_only(1e-2))
    findings = diagnose(case, steps=STEPS).findings
    assert {f.severity for f in findings} <= {Severity.INFO}
    assert all("0.weight" not in f.evidence.get("parameters", []) for f in findings)


# -- frozen on purpose, or not -----------------------------------------------------------------------------------------


def parity() -> tuple[Tensor, Tensor]:
    """Two numbers, and whether their signs are the same: no linear map of them tells."""
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    return x, ((x > 0).sum(1) % 2).long()


def features(width: int, thawed: bool = False) -> Case:
    """A head on random features that stay as they are."""

    def build() -> nn.Module:
        model = cases.dense(1, nn.Tanh, inputs=2, outputs=2, width=width)
        model[0].requires_grad_(thawed)
        return model

    return Case(build, parity(), F.cross_entropy, optimizer=cases.adam(0.03))


def body(depth: int, activation: Callable[[], nn.Module]) -> Case:
    """All layers frozen but the last."""

    def build() -> nn.Module:
        model = cases.dense(depth, activation)
        model[:-1].requires_grad_(False)
        return model

    return cases.digits_case(build, "body", optimizer=cases.adam(3e-3))


def test_frozen_layers_of_a_network_that_fails_are_named_first() -> None:
    finding = diagnose(features(2), steps=STEPS).findings[0]
    assert (finding.rule, finding.severity, finding.module) == ("frozen-parameters", Severity.ERROR, "0")
    assert finding.evidence == {"parameters": ["0.weight"], "matrices": 2}
    assert observe(features(8, thawed=True), steps=STEPS).learning.learns


def test_what_frozen_layers_make_of_the_input_is_not_the_datas_fault() -> None:
    """20 layers leave a signal of 1e-8 to the head."""
    found = [f.rule for f in diagnose(body(20, nn.ReLU), steps=STEPS).findings]
    assert found == ["frozen-parameters", "not-learning"]


def test_frozen_layers_of_a_network_that_lags_are_warned_of() -> None:
    diagnosis = diagnose(body(2, nn.ReLU), steps=STEPS)
    found = [(f.rule, f.severity, f.cause) for f in diagnosis.findings]
    assert found == [
        ("frozen-parameters", Severity.WARNING, None),
        ("not-learning", Severity.WARNING, "frozen-parameters"),
    ]


def test_a_head_that_learns_on_frozen_features() -> None:
    diagnosis = diagnose(features(64), steps=STEPS)
    assert diagnosis.observation.learning.learns
    assert diagnosis.findings == ()


def test_where_something_else_explains_it() -> None:
    """Frozen, and at a learning rate at which nothing moves."""

    def build() -> nn.Module:
        model = cases.dense(3, nn.ReLU, kaiming)
        model[:-1].requires_grad_(False)
        return model

    found = [
        f.rule for f in diagnose(cases.digits_case(build, "slow", optimizer=cases.sgd(1e-7)), steps=STEPS).findings
    ]
    assert found[0] == "learning-rate-too-low"
    assert "frozen-parameters" not in found
