from __future__ import annotations

import dataclasses
import math
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from unstick.case import Case
from unstick.observe import observe, traced_steps
from unstick.state import preserved, seed_everything

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def net(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), *layers, nn.Tanh(), nn.Linear(8, 2))


NETS: dict[str, Any] = {
    "plain": net,
    "dropout": lambda: net(nn.Dropout(0.5)),
    "batch normalisation": lambda: net(nn.BatchNorm1d(8)),
    "spectral normalisation": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(net()[0]), nn.Linear(8, 2)),
    "in place": lambda: net(nn.ReLU(inplace=True)),
    "live": net(),
}
OPTIMIZERS: dict[str, Any] = {
    "adam": None,
    "momentum": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
    "weight decay": lambda ps: torch.optim.AdamW(ps, lr=0.01, weight_decay=0.1),
}


def by_hand(case: Case, steps: int, seed: int) -> tuple[list[float], nn.Module]:
    """The same training, written out."""
    with preserved(threads=1):
        setup = case.fresh(seed)
        optimizer = setup.make_optimizer(list(setup.model.parameters()))
        seed_everything(seed)
        losses = []
        for x, y in islice(case.stream(seed), steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(setup.model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, setup.model


@pytest.mark.parametrize("model", NETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trains_as_a_plain_loop_does_to_the_last_bit(model: str, optimizer: str) -> None:
    case = Case(NETS[model], (X, Y), F.cross_entropy, optimizer=OPTIMIZERS[optimizer], batch_size=16)
    seen = observe(case, steps=24, seed=3)
    assert list(seen.losses) == by_hand(case, 24, 3)[0]


@given(steps=st.integers(1, 2000))
@settings(max_examples=20, derandomize=True)
def test_traced_steps(steps: int) -> None:
    expected = {s for s in (0, 1, 3, 10, 30, 100, 300, 1000) if s < steps} | {steps - 1}
    assert traced_steps(steps) == expected


def test_traces_are_taken_at_these_steps() -> None:
    seen = observe(Case(net, (X, Y), F.cross_entropy), steps=14)
    assert [t.step for t in seen.traces] == [0, 1, 3, 10, 13]
    assert [t.loss for t in seen.traces] == [seen.losses[t.step] for t in seen.traces]
    assert seen.learning.steps == seen.requested == len(seen.losses) == 14


def test_an_exhausted_budget_keeps_what_there_is() -> None:
    seen = observe(Case(net, (X, Y), F.cross_entropy), steps=500, budget=0.0)
    assert seen.requested == 500
    assert 1 <= len(seen.losses) < 500
    assert seen.learning.steps == len(seen.losses)
    assert seen.traces[-1].step == len(seen.losses) - 1


def comparable(value: Any) -> Any:
    """NaN equals NaN here, and time does not count."""
    if dataclasses.is_dataclass(value):
        fields = (f.name for f in dataclasses.fields(value) if f.name != "seconds")
        return {name: comparable(getattr(value, name)) for name in fields}
    if isinstance(value, tuple | list):
        return [comparable(v) for v in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def test_the_same_seed_gives_the_same_observation() -> None:
    case = Case(lambda: net(nn.Dropout(0.3)), (X, Y), F.cross_entropy, batch_size=16)
    one = comparable(observe(case, steps=12, seed=1))
    torch.rand(5)
    assert comparable(observe(case, steps=12, seed=1)) == one
    assert comparable(observe(case, steps=12, seed=2)) != one


def test_stops_at_the_first_traced_step_after_divergence() -> None:
    case = Case(net, (X, Y), F.cross_entropy, optimizer=lambda ps: torch.optim.SGD(ps, lr=1e38))
    seen = observe(case, steps=300)
    assert seen.diverged is not None
    assert len(seen.losses) < 300
    assert not math.isfinite(seen.losses[-1])
    assert all(math.isfinite(loss) for loss in seen.losses[: seen.diverged])
    assert not seen.learning.learns


def test_lbfgs_learns() -> None:
    case = Case(net, (X, Y), F.cross_entropy, optimizer=lambda ps: torch.optim.LBFGS(ps, lr=0.5, max_iter=5))
    assert observe(case, steps=12).learning.learns


class Growing(nn.Module):
    """The gradient grows by a factor of 1e5 on its way back to the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        with torch.no_grad():
            for parameter in self.first.parameters():
                parameter.mul_(1e-5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.second(1e5 * self.first(x))))


def changes(model: Any, rate: float, *, clipped: bool = False) -> list[tuple[float | None, float | None]]:
    def sgd(ps: Any) -> torch.optim.Optimizer:
        made = torch.optim.SGD(ps, lr=rate)
        if clipped:
            made.register_step_pre_hook(lambda *_: nn.utils.clip_grad_norm_(ps, 1e-9) and None)
        return made

    seen = observe(Case(model, (X, Y), F.cross_entropy, optimizer=sgd, batch_size=40), steps=4)
    return [(t.change, t.predicted) for t in seen.traces]


def test_change_and_its_prediction_agree_for_a_small_step() -> None:
    for change, predicted in changes(Growing, 1e-12):
        assert change == pytest.approx(predicted, rel=0.1)


def test_a_step_without_doubt_is_not_evaluated_again() -> None:
    assert changes(net, 0.01) == [(None, None)] * 3


def test_the_promise_of_a_gradient_that_the_optimizer_overwrote_is_not_known() -> None:
    assert all(change is not None and predicted is None for change, predicted in changes(Growing, 1.0, clipped=True))


class Complex(nn.Module):
    """Complex parameters with two axes, one and none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 2, dtype=torch.cfloat))
        self.shift = nn.Parameter(torch.randn(2, dtype=torch.cfloat))
        self.turn = nn.Parameter(torch.tensor(1 + 1j))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x.cfloat() @ self.weight + self.shift).conj() * self.turn).real


def test_steps_of_complex_parameters_are_measured_as_pairs_of_real_ones() -> None:
    case = Case(Complex, (X, X[:, :2]), F.mse_loss, optimizer=lambda ps: torch.optim.SGD(ps, lr=0.2))
    trace = observe(case, steps=1).traces[0]
    for p in trace.parameters:
        assert p.gradient
        assert p.step == pytest.approx(0.2 * p.gradient, rel=1e-4)
        assert p.resolution == torch.finfo(torch.float32).eps
    assert trace.predicted == pytest.approx(-0.2 * sum((p.gradient or 0.0) ** 2 for p in trace.parameters), rel=1e-4)
    assert "matmul: complex numbers are not measured" in trace.uncovered


@pytest.mark.parametrize(("size", "batches"), [(1, 128), (5, 26), (8, 16), (40, 16)])
def test_tiny_batches_are_evaluated_on_more_of_them(size: int, batches: int) -> None:
    met: list[int] = []

    def metric(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        met.append(len(targets))
        return 0.0

    observe(Case(net, (X, Y), F.cross_entropy, batch_size=size, metric=metric), steps=1)
    assert met == [size] * (1 + batches)  # once before the run, to see that it works


def test_progress_is_told_after_each_step() -> None:
    told: list[tuple[str, int, int]] = []
    observe(Case(net, (X, Y), F.cross_entropy), steps=5, progress=lambda *state: told.append(state))
    assert told == [("training", k, 5) for k in range(1, 6)]


def test_one_dimensional_outputs() -> None:
    """Regression and binary networks often end in `.squeeze(1)` or a sum."""
    case = Case(lambda: Summed(), (X, X.sum(1)), F.mse_loss, batch_size=16)
    assert observe(case, steps=4).diverged is None


class Summed(nn.Linear):
    def __init__(self) -> None:
        super().__init__(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).tanh().sum(1) + 1
