"""What a finding weighs depends on what became of the network: it failed, it lags behind a linear model, it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from unstick.case import Case
from unstick.diagnose import Diagnosis, diagnose
from unstick.observe import observe
from unstick.rules import Finding, Severity
from unstick.rules.measures import lags, left_constant, trouble, weak

STEPS = 150


def scaled(model: nn.Module, factor: float) -> nn.Module:
    """With all weight matrices times `factor`."""
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.mul_(factor)
    return model


def relu(depth: int = 2, factor: float = 1.0, norm: Callable[[int], nn.Module] | None = None) -> Callable[[], Case]:
    build = lambda: scaled(cases.dense(depth, nn.ReLU, nn.init.kaiming_normal_, norm=norm), factor)  # noqa: E731
    return lambda: cases.digits_case(build, f"relu-{depth}-x{factor:g}")


def found(case: Case, rule: str, steps: int = STEPS) -> Finding | None:
    return next((f for f in diagnose(case, steps=steps).findings if f.rule == rule), None)


# -- behind a linear model ---------------------------------------------------------------------------------------------


def slow(rate: float) -> Diagnosis:
    return diagnose(cases.digits_case(lambda: cases.dense(2, nn.ReLU), "slow", optimizer=cases.sgd(rate)), steps=STEPS)


def test_what_learns_next_to_nothing_is_warned_of() -> None:
    diagnosis = slow(0.01)
    seen = diagnosis.observation
    assert seen.learning.learns
    assert weak(seen)
    assert lags(seen)
    assert trouble(seen) is Severity.WARNING
    assert diagnosis.healthy
    assert [f.rule for f in diagnosis.findings] == ["learning-rate-too-low", "not-learning"]
    assert {f.severity for f in diagnosis.findings} == {Severity.WARNING}
    assert diagnosis.findings[1].evidence["reference_loss"] < 1.0 < seen.learning.final_loss


def test_what_keeps_up_is_not() -> None:
    diagnosis = slow(0.5)
    assert diagnosis.findings == ()
    assert diagnosis.observation.experiments == ()


def test_a_hard_task_is_not_lagging() -> None:
    """A linear model is no better at parity."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(50):
            x = torch.randn(64, 2)
            yield x, ((x > 0).sum(1) % 2).long()

    model = lambda: nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))  # noqa: E731
    diagnosis = diagnose(Case(model, batches, F.cross_entropy, optimizer=cases.sgd(0.1)), steps=STEPS)
    assert not lags(diagnosis.observation)
    assert diagnosis.healthy


# -- weights, layer by layer -------------------------------------------------------------------------------------------


def test_large_weights_of_few_layers() -> None:
    finding = diagnose(relu(factor=30.0)(), steps=STEPS).findings[0]
    assert (finding.rule, finding.severity, finding.since) == ("weights-too-large", Severity.ERROR, 0)
    assert finding.evidence["factor"] > 30
    assert observe(relu()(), steps=STEPS).learning.learns


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_weights_of_about_the_right_size(factor: float) -> None:
    assert diagnose(relu(factor=factor)(), steps=STEPS).findings == ()


def test_small_weights_that_grow_are_a_note() -> None:
    diagnosis = diagnose(relu(factor=0.01)(), steps=300)
    assert diagnosis.observation.learning.learns
    assert [(f.rule, f.severity) for f in diagnosis.findings] == [("weights-too-small", Severity.INFO)]
    assert diagnosis.findings[0].evidence["factor"] < 0.05


def test_normalisation_takes_the_size_of_weights_out_again() -> None:
    assert diagnose(relu(factor=0.01, norm=nn.BatchNorm1d)(), steps=STEPS).findings == ()


# -- a gradient that held the network up -------------------------------------------------------------------------------


def plateau(activation: Callable[[], nn.Module]) -> Case:
    return cases.digits_case(lambda: cases.dense(6, activation, width=32), "plateau", optimizer=cases.adam(1e-3))


def test_a_plateau_behind_a_faded_gradient_is_warned_of() -> None:
    diagnosis = diagnose(plateau(nn.Sigmoid), steps=600)
    left = left_constant(diagnosis.observation)
    assert diagnosis.observation.learning.learns
    assert left is not None
    assert left >= 100
    finding = diagnosis.findings[0]
    assert (finding.rule, finding.severity) == ("vanishing-gradient", Severity.WARNING)
    assert f"until step {left}" in finding.summary


def test_without_a_plateau_nothing_is_said() -> None:
    assert diagnose(plateau(nn.Tanh), steps=300).findings == ()


# -- units that began alike, or never did anything ---------------------------------------------------------------------


class Beside(nn.Module):
    """A residual branch beside a linear map, which is enough to learn."""

    def __init__(self, bias: float, activation: nn.Module) -> None:
        super().__init__()
        self.first, self.branch, self.act = nn.Linear(64, 32), nn.Linear(32, 32), activation
        self.back, self.head = nn.Linear(32, 32), nn.Linear(32, 10)
        nn.init.constant_(self.branch.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.head(x + self.back(self.act(self.branch(x))))


@pytest.mark.parametrize(
    ("bias", "activation", "rule"),
    [(-100.0, nn.ReLU(), "dead-units"), (30.0, nn.Tanh(), "saturated-activation")],
)
def test_a_branch_that_is_shut_is_a_note(bias: float, activation: nn.Module, rule: str) -> None:
    diagnosis = diagnose(cases.digits_case(lambda: Beside(bias, activation), "beside"), steps=STEPS)
    assert diagnosis.healthy
    assert [(f.rule, f.severity) for f in diagnosis.findings] == [(rule, Severity.INFO)]


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh()])
def test_a_branch_that_works_is_not(activation: nn.Module) -> None:
    assert diagnose(cases.digits_case(lambda: Beside(0.0, activation), "beside"), steps=STEPS).findings == ()


class Images(nn.Module):
    def __init__(self, same: bool) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3, stride=2), nn.Linear(72, 10)
        if same:
            nn.init.constant_(self.conv.weight, 0.05)
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(x.view(-1, 1, 8, 8))).flatten(1))


def test_units_that_began_alike_and_came_apart_are_a_note() -> None:
    finding = found(cases.digits_case(lambda: Images(True), "same"), "symmetric-weights")
    assert finding is not None
    assert (finding.severity, finding.module, finding.since) == (Severity.INFO, "conv", 0)
    assert found(cases.digits_case(lambda: Images(False), "different"), "symmetric-weights") is None


def test_a_single_unit_is_not_alike() -> None:
    build = lambda: nn.Sequential(nn.Linear(64, 1), nn.Tanh(), nn.Linear(1, 10))  # noqa: E731
    assert found(cases.digits_case(build, "one unit"), "symmetric-weights") is None


# -- what is one for all -----------------------------------------------------------------------------------------------


class OverBatch(nn.Module):
    """The mean over `axis` of the hidden units."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.first, self.head, self.axis = nn.Linear(64, 32), nn.Linear(32, 10), axis

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x))
        return self.head(h.mean(self.axis, keepdim=True).expand_as(h))


def test_a_mean_over_the_batch_makes_all_samples_one() -> None:
    finding = found(cases.digits_case(lambda: OverBatch(0), "over the batch"), "collapsed-signal")
    assert finding is not None
    assert finding.severity is Severity.ERROR
    assert finding.evidence["between_samples"] < 1e-10


def test_a_mean_over_units_does_not() -> None:
    assert found(cases.digits_case(lambda: OverBatch(1), "over units"), "collapsed-signal") is None


def test_a_gradient_that_ran_out_of_range_is_not_cut_off() -> None:
    names = [f.rule for f in diagnose(cases.kaylee_like(150), steps=10).findings]
    assert names[0] == "vanishing-gradient"
    assert "no-gradient" not in names


# -- batches of one sample ---------------------------------------------------------------------------------------------


def single(rate: float = 0.05) -> Case:
    x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    model = lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))  # noqa: E731
    return Case(model, (x, x[:, :1]), F.mse_loss, optimizer=cases.sgd(rate), batch_size=1)


def test_as_many_steps_as_tiny_batches_need() -> None:
    assert observe(single()).requested == 1000
    assert observe(relu()()).requested == 300


def test_single_samples_are_no_trouble() -> None:
    assert diagnose(single()).findings == ()


def test_the_reference_is_given_more_than_one_sample_at_a_time() -> None:
    seen = diagnose(single(1e-7)).observation
    reference, heart = seen.tried("reference"), seen.tried("one-batch")
    assert reference is not None
    assert heart is not None
    assert reference.numbers["learns"] is True
    assert reference.numbers["same_batches"] is False
    assert reference.numbers["final_loss"] < heart.numbers["final_loss"]
