"""Normalisation over too few values, missing nonlinearities, exponentials; and what only looks like them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from unstick.case import Case
from unstick.diagnose import diagnose
from unstick.rules import Finding, Severity

STEPS = 120
kaiming = nn.init.kaiming_normal_


def findings(case: Case, steps: int = STEPS) -> tuple[Finding, ...]:
    return diagnose(case, steps=steps).findings


def names(case: Case, steps: int = STEPS) -> list[str]:
    return [f.rule for f in findings(case, steps)]


# -- batch normalisation -----------------------------------------------------------------------------------------------


def normalised(batch: int, depth: int = 8, norm: Callable[[int], nn.Module] = nn.BatchNorm1d) -> Case:
    return cases.digits_case(lambda: cases.dense(depth, nn.ReLU, norm=norm, width=32), "normalised", batch_size=batch)


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_statistics_of_a_few_values_are_named_first(batch: int) -> None:
    first = findings(normalised(batch), steps=1000 // batch + 1)[0]
    assert (first.rule, first.severity, first.module) == ("batchnorm-small-batch", Severity.ERROR, "1")
    assert first.evidence["values_per_channel"] == batch
    assert first.evidence["operations"] == 8


def test_its_remedy_learns_where_it_does_not() -> None:
    assert names(normalised(4, norm=nn.LayerNorm)) == []


@pytest.mark.parametrize("batch", [8, 16])
def test_batches_that_are_large_enough(batch: int) -> None:
    assert names(normalised(batch, depth=4)) == []


class FewPositions(nn.Module):
    """Batch normalisation of images whose batch is small, but that have many positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x.view(-1, 1, 8, 8)))).flatten(1))


def test_positions_count_as_well() -> None:
    assert "batchnorm-small-batch" not in names(cases.digits_case(FewPositions, "positions", batch_size=2), steps=30)


class Frozen(nn.Module):
    """Batch normalisation by running averages, as in fine-tuning with small batches."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm
        assert n.running_mean is not None
        assert n.running_var is not None
        return self.head(torch.relu(F.batch_norm(self.first(x), n.running_mean, n.running_var, n.weight, n.bias)))


def test_running_averages_need_no_batch() -> None:
    assert "batchnorm-small-batch" not in names(cases.digits_case(Frozen, "frozen", batch_size=2))


def test_other_normalisations_need_no_batch() -> None:
    assert "batchnorm-small-batch" not in names(normalised(2, norm=lambda width: nn.GroupNorm(4, width)))


# -- nonlinearity ------------------------------------------------------------------------------------------------------


@functools.cache
def ring() -> tuple[Tensor, Tensor]:
    """Two classes, inside and outside of a circle: no linear map tells them apart."""
    x = torch.randn(512, 2, generator=torch.Generator().manual_seed(0))
    return x, (x.square().sum(1) > 1.4).long()


def on_ring(build: Callable[[], nn.Module], **options: object) -> Case:
    return Case(build, ring(), F.cross_entropy, name="ring", optimizer=cases.adam(1e-2), **options)  # type: ignore[arg-type]


def stacked(depth: int = 2, **options: object) -> nn.Sequential:
    return cases.dense(depth, nn.Identity, inputs=2, outputs=2, width=16, **options)  # type: ignore[arg-type]


class Convolved(nn.Module):
    """Convolutions, pooling by mean, a skip connection, dropout: linear all the same."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(1, 8, 1), nn.Conv1d(8, 8, 1)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(16, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.unsqueeze(1))
        return self.head(self.drop(x + self.second(x)).flatten(1))


@pytest.mark.parametrize("build", [stacked, lambda: stacked(3, norm=nn.BatchNorm1d), Convolved])
def test_one_linear_map_is_named_first_where_it_is_not_enough(build: Callable[[], nn.Module]) -> None:
    first = findings(on_ring(build))[0]
    assert (first.rule, first.severity) == ("missing-nonlinearity", Severity.ERROR)


def test_with_a_nonlinearity_the_same_network_learns() -> None:
    assert names(on_ring(lambda: cases.dense(2, nn.ReLU, kaiming, inputs=2, outputs=2, width=16))) == []


def test_it_is_a_note_where_one_linear_map_is_enough() -> None:
    found = findings(cases.digits_case(lambda: cases.dense(2, nn.Identity), "linear"))
    assert [(f.rule, f.severity) for f in found] == [("missing-nonlinearity", Severity.INFO)]


class LowRank(nn.Module):
    """A linear model with an update of low rank beside it (Hu et al. 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(64, 10), nn.Linear(64, 2, bias=False), nn.Linear(2, 10, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


class Gated(nn.Module):
    """The only nonlinearity is a product of two signals."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(2, 16), nn.Linear(2, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.left(x) * self.right(x))


class Squared(Gated):
    """A signal times itself."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.left(x)
        return self.head(h * h)


class HandWritten(Gated):
    """A ReLU that is none of torch's activations."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.left(x)
        return self.head(torch.where(h > 0, h, torch.zeros_like(h)))


@pytest.mark.parametrize("build", [Gated, Squared, HandWritten])
def test_a_nonlinearity_that_is_no_activation(build: Callable[[], nn.Module]) -> None:
    assert "missing-nonlinearity" not in names(on_ring(build))


def autoencoder() -> Case:
    """Deep, linear, and with a bottleneck: principal components on purpose."""
    x, _ = cases.digits()
    build = lambda: cases.dense(3, nn.Identity, width=8, outputs=64)  # noqa: E731
    return Case(build, (x, x), F.mse_loss, name="autoencoder", optimizer=cases.adam(1e-2))


@pytest.mark.parametrize(
    "case",
    [
        cases.digits_case(lambda: nn.Linear(64, 10), "one-layer"),
        cases.digits_case(LowRank, "low-rank"),
        autoencoder(),
        cases.gru(),
        cases.transformer(),
    ],
    ids=["one-layer", "low-rank", "autoencoder", "gru", "transformer"],
)
def test_linear_on_purpose_or_not_linear(case: Case) -> None:
    assert names(case) == []


def test_what_else_is_wrong_comes_first() -> None:
    case = Case(stacked, ring(), F.cross_entropy, name="slow", optimizer=cases.sgd(1e-8))
    assert names(case)[0] == "learning-rate-too-low"
    assert "missing-nonlinearity" not in names(case)


# -- exponentials ------------------------------------------------------------------------------------------------------


class Exponential(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(x)


class Functional(nn.Module):
    """Exponentials between convolutions, called as methods."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(1 if k == 0 else 4, 4, 3, padding=1) for k in range(5))
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 8, 8)
        for layer in self.layers:
            x = layer(x).exp()
        return self.head(x.flatten(1))


@pytest.mark.parametrize(
    "build",
    [lambda: cases.dense(8, Exponential, width=5), lambda: cases.dense(3, Exponential, kaiming, width=32), Functional],
    ids=["published", "he", "functional"],
)
def test_an_exponential_is_named_before_what_it_does(build: Callable[[], nn.Module]) -> None:
    found = findings(cases.digits_case(build, "exponential"))
    assert (found[0].rule, found[0].severity) == ("unbounded-activation", Severity.ERROR)
    rest = {f.rule: f.cause for f in found[1:] if f.severity is Severity.ERROR}
    assert "weights-too-large" not in rest
    assert set(rest) <= {"non-finite", "exploding-gradient", "not-learning"}
    assert set(rest.values()) == {"unbounded-activation"}


class Variational(nn.Module):
    """A variational autoencoder, whose exponential makes a standard deviation (Kingma and Welling 2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.mean, self.log_variance = nn.Linear(64, 32), nn.Linear(32, 4), nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.encoder(x))
        mean, deviation = self.mean(h), torch.exp(self.log_variance(h) / 2)
        return self.decoder(mean + deviation * torch.randn_like(deviation))


def variational(rate: float) -> Case:
    x, _ = cases.digits()
    return Case(Variational, (x, x), F.mse_loss, name="variational", optimizer=cases.adam(rate))


class Attention(nn.Module):
    """A softmax written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(8, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.view(-1, 8, 8))
        weights = torch.exp(x @ x.transpose(1, 2) / 16)
        return self.head((weights / weights.sum(-1, keepdim=True) @ x).mean(1))


@pytest.mark.parametrize(
    "case",
    [
        cases.digits_case(lambda: cases.dense(1, Exponential, width=32), "one-exponential"),
        variational(1e-2),
        cases.digits_case(Attention, "attention", optimizer=cases.adam(1e-2)),
    ],
    ids=["one-exponential", "variational", "attention"],
)
def test_exponentials_that_do_no_harm(case: Case) -> None:
    assert names(case) == []


@pytest.mark.parametrize(
    "case",
    [
        variational(1e-9),
        cases.digits_case(lambda: cases.dense(1, Exponential, width=32), "slow", optimizer=cases.sgd(1e-8)),
    ],
    ids=["variational", "one-exponential"],
)
def test_a_failure_that_is_not_the_exponentials(case: Case) -> None:
    assert names(case)[0] == "learning-rate-too-low"
    assert "unbounded-activation" not in names(case)
