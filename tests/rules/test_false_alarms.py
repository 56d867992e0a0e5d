"""Healthy networks stay healthy, however long one looks: a false alarm costs as much as a miss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from unstick.case import Case
from unstick.diagnose import diagnose


def ignoring(name: str) -> Case:
    """A case for each rule: what it looks for is there, in a network that is well."""
    return NEARLY[name]()


def tanh_with_an_attenuated_gradient() -> Case:
    """2.4 decades at step 0, and it trains: vanishing-gradient and weights-too-small stay silent."""
    return cases.digits_case(lambda: cases.dense(10, nn.Tanh), "tanh-10")


def relu_at_default() -> Case:
    """3.6 decades at step 0: Adam rescales them."""
    return cases.digits_case(lambda: cases.dense(10, nn.ReLU), "relu-10")


def batchnorm_that_grows() -> Case:
    """The gradient grows by 1.21 a layer: exploding-gradient and weights-too-large stay silent."""
    return cases.digits_case(lambda: cases.dense(20, nn.ReLU, norm=nn.BatchNorm1d), "relu-batchnorm-20")


def last_layer_at_zero() -> Case:
    """symmetric-weights, and no gradient at all behind it at step 0."""

    def build() -> nn.Module:
        model = cases.dense(3, nn.ReLU, nn.init.kaiming_normal_)
        nn.init.zeros_(model[-1].weight)
        return model

    return cases.digits_case(build, "last-layer-at-zero")


class ReZero(nn.Module):
    """Branches that start at zero (Bachlechner et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(8))
        self.gates = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in range(8))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer, gate in zip(self.layers, self.gates, strict=True):
            x = x + gate * torch.relu(layer(x))
        return self.head(x)


def residual_at_zero() -> Case:
    return cases.digits_case(ReZero, "rezero")


def frozen_backbone() -> Case:
    """Weights that do not move, on purpose."""

    def build() -> nn.Module:
        model = cases.dense(3, nn.ReLU, nn.init.kaiming_normal_)
        for parameter in model[:4].parameters():
            parameter.requires_grad_(False)
        return model

    return cases.digits_case(build, "frozen-backbone")


def large_inputs_behind_a_norm() -> Case:
    """unscaled-inputs: rms of a thousand, taken care of by the first layer."""
    x, y = cases.digits()
    return Case(
        lambda: nn.Sequential(nn.BatchNorm1d(64), cases.dense(2, nn.ReLU)),
        (x * 1000, y),
        F.cross_entropy,
        name="norm-first",
    )


def half_of_the_units_off() -> Case:
    """dead-units: a healthy ReLU layer is zero for half of its entries."""
    return cases.digits_case(lambda: cases.dense(8, nn.ReLU, nn.init.kaiming_normal_), "relu-he-8")


def small_rate_that_is_enough() -> Case:
    return cases.digits_case(
        lambda: cases.dense(2, nn.ReLU, nn.init.kaiming_normal_), "sgd-1e-3", optimizer=cases.sgd(1e-3, momentum=0.9)
    )


def large_rate_that_is_not_too_large() -> Case:
    return cases.digits_case(
        lambda: cases.dense(2, nn.ReLU, nn.init.kaiming_normal_), "adam-3e-2", optimizer=cases.adam(3e-2)
    )


def saturated_but_learning() -> Case:
    """A third of the first sigmoids are flat for a sample; it learns."""
    return cases.digits_case(lambda: cases.dense(10, nn.Sigmoid, nn.init.normal_), "sigmoid-n01-10")


def half_precision() -> Case:
    """learning-rate-too-low: a step below the machine epsilon, which moves the weights as the gradient promises."""
    x, y = cases.digits()
    return Case(
        lambda: cases.dense(2, nn.ReLU, nn.init.kaiming_normal_).bfloat16(),
        (x.bfloat16(), y),
        F.cross_entropy,
        name="bfloat16",
    )


def one_sample_a_batch() -> Case:
    """unscaled-inputs, collapsed-signal, dead-units: how samples differ cannot be told from one of them; and
    not-learning: three hundred steps are no more than five of 64 samples."""
    x = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))
    return Case(
        lambda: cases.dense(2, nn.ReLU, inputs=4, width=6, outputs=2),
        (x, (x[:, 0] > 0).long()),
        F.cross_entropy,
        batch_size=1,
    )


class Attention(nn.Module):
    """One head over the rows of a digit; what is yet to come is hidden by minus infinity."""

    def __init__(self, hide: Callable[[Tensor, Tensor], Tensor], hidden: Tensor) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Linear(8, 32), nn.Linear(32, 96), nn.Linear(32, 10)
        self.hide, self.hidden = hide, hidden

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(torch.relu(self.embed(x.view(-1, 8, 8)))).chunk(3, -1)
        scores = self.hide(q @ k.transpose(1, 2) / 32**0.5, self.hidden)
        return self.head((scores.softmax(-1).nan_to_num(0.0) @ v).mean(1))


CAUSAL = torch.ones(8, 8).triu(1).bool()


def attending(hide: Callable[[Tensor, Tensor], Tensor], hidden: Tensor = CAUSAL) -> Case:
    return cases.digits_case(lambda: Attention(hide, hidden), "attention", optimizer=cases.adam(3e-3))


def mask_of_minus_infinity() -> Case:
    """non-finite: the softmax takes these infinities for zeros, as it is meant to."""
    return attending(lambda scores, hidden: scores.masked_fill(hidden, -torch.inf))


def added_minus_infinity() -> Case:
    """non-finite: several operations hand the infinity on before the softmax."""
    return attending(lambda scores, hidden: 1.5 * (scores + torch.zeros(8, 8).masked_fill(hidden, -torch.inf)))


def rows_masked_as_a_whole() -> Case:
    """non-finite: NaN in some rows, forward and back, put right before anything is made of it."""
    padded = torch.arange(8).unsqueeze(1).expand(8, 8) >= 6
    return attending(lambda scores, hidden: scores.masked_fill(hidden, -torch.inf), padded)


NEARLY: dict[str, Callable[[], Case]] = {
    builder.__name__: builder
    for builder in (
        tanh_with_an_attenuated_gradient, relu_at_default, batchnorm_that_grows, last_layer_at_zero, residual_at_zero,
        frozen_backbone, large_inputs_behind_a_norm, half_of_the_units_off, small_rate_that_is_enough,
        large_rate_that_is_not_too_large, saturated_but_learning, mask_of_minus_infinity, added_minus_infinity,
        rows_masked_as_a_whole, half_precision, one_sample_a_batch,
    )
}  # fmt: skip


@pytest.mark.parametrize("build", cases.WELL, ids=lambda b: b.__name__)
@pytest.mark.parametrize("steps", [1, 10, 300])
def test_well_networks_are_healthy(build: cases.Builder, steps: int) -> None:
    diagnosis = diagnose(build(), steps=steps)
    assert diagnosis.healthy
    assert diagnosis.findings == ()


@pytest.mark.parametrize("build", cases.WELL, ids=lambda b: b.__name__)
def test_well_networks_learn(build: cases.Builder) -> None:
    learning = diagnose(build(), steps=300, seed=1).observation.learning
    assert learning.learns
    assert learning.uses_input


@pytest.mark.parametrize("name", NEARLY)
@pytest.mark.parametrize("steps", [3, 300])
def test_what_looks_like_a_fault_and_is_none(name: str, steps: int) -> None:
    assert diagnose(ignoring(name), steps=steps).findings == ()


@pytest.mark.parametrize("size", [1, 2])
def test_labels_at_random_in_tiny_batches_are_no_fault_of_the_inputs(size: int) -> None:
    """Of two samples some features differ a hundred times as much as others, by chance."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(5000, 64, generator=generator), torch.randint(0, 2, (5000,), generator=generator)
    case = Case(lambda: cases.dense(2, nn.ReLU, outputs=2), data, F.cross_entropy, batch_size=size)
    diagnosis = diagnose(case, steps=1000)
    assert not diagnosis.observation.learning.learns
    assert not {f.rule for f in diagnosis.findings} & {"unscaled-inputs", "dead-units", "collapsed-signal"}
