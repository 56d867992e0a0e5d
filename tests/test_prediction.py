"""What theory expects of traced networks, against what is measured on them at their start."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import pytest
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from cases import dense, digits_case
from unstick.case import Case
from unstick.observe import observe
from unstick.prediction import Prediction, predict
from unstick.theory import Uniform, Weights
from unstick.trace.types import Trace


@functools.cache
def traced(build: Callable[[], Case]) -> Trace:
    return observe(build(), steps=1).traces[0]


def expected(build: Callable[[], Case]) -> Prediction:
    found = predict(traced(build))
    assert found is not None
    return found


class Residual(nn.Module):
    """Pre-activation blocks h + W φ(h)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 256), nn.Linear(256, 10)
        self.blocks = nn.ModuleList(nn.Linear(256, 256) for _ in range(12))
        for block in self.blocks:
            nn.init.kaiming_normal_(block.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = h + block(F.relu(h))
        return self.last(h)


def residual() -> Case:
    return digits_case(Residual, "residual")


def layernorm() -> Case:
    return digits_case(lambda: dense(12, nn.Sigmoid, norm=nn.LayerNorm), "layernorm")


def dropout() -> Case:
    def build() -> nn.Module:
        layers = [part for _ in range(8) for part in (nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.2))]
        return nn.Sequential(*layers, nn.Linear(64, 10))

    return digits_case(build, "dropout")


def convolutional() -> Case:
    def build() -> nn.Module:
        layers = [part for _ in range(6) for part in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())]
        first = nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()
        return nn.Sequential(*first, *layers, nn.Conv2d(32, 10, 8), nn.Flatten())

    return digits_case(build, "convolutional")


RANDOM = (
    cases.kaylee_like, cases.sigmoid_default, cases.relu_default, cases.tanh_large, cases.tanh_glorot,
    cases.sigmoid_batchnorm, residual, layernorm, dropout, convolutional,
)  # fmt: skip


@pytest.mark.parametrize("build", RANDOM)
def test_random_networks_lose_what_theory_expects(build: Callable[[], Case]) -> None:
    found = expected(build)
    assert found.gap is None
    assert found.decades == pytest.approx(found.measured, abs=4 * found.scatter + 0.05 * abs(found.measured))


@pytest.mark.parametrize("build", RANDOM)
def test_the_path_goes_from_first_to_last(build: Callable[[], Case]) -> None:
    found = expected(build)
    assert len(found.path) == len(traced(build).path)
    assert found.path[0] == found.decades
    assert found.path[-1] == 0.0


def test_alike_weights_are_not_random() -> None:
    found = expected(cases.constant_weights)
    assert found.gap is not None
    assert "not random" in found.sentence


def test_says_how_many_layers_a_signal_survives() -> None:
    found = expected(cases.relu_default)
    assert found.layers == 20
    assert found.reach is not None
    assert found.reach.layers == pytest.approx(Uniform("relu", Weights(1 / 3)).reach().layers, rel=0.05)
    assert found.sentence.endswith("signals survive about 3 layers here, and there are 20.")


def test_healthy_networks_are_not_outlived() -> None:
    for build in (cases.tanh_glorot, cases.sigmoid_batchnorm, cases.relu_he):
        assert not expected(build).outlived


@pytest.mark.parametrize("build", [cases.transformer, cases.gru, cases.sigmoid_shallow])
def test_no_word_for_other_networks(build: Callable[[], Case]) -> None:
    assert predict(traced(build)) is None


def test_a_gap_is_more_than_chance_and_the_theory_make() -> None:
    found = expected(cases.relu_default)
    near = dataclasses.replace(found, measured=found.decades + 4 * found.scatter)
    far = dataclasses.replace(found, measured=found.decades + 4 * found.scatter + 1.0)
    assert near.gap is None
    assert far.gap == pytest.approx(4 * found.scatter + 1.0)


def test_no_prediction_without_the_sizes_of_weights() -> None:
    assert predict(dataclasses.replace(traced(cases.relu_default), parameters=())) is None
