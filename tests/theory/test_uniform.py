"""Uniform networks: their operations, what each layer does, and how far signals reach."""

from __future__ import annotations

import math

import pytest

from unstick.theory import State, Uniform, Weights, initialisation, mean_field, propagate, total_decades


@pytest.mark.parametrize(
    ("norm", "residual", "count"), [(None, None, 6), ("layernorm", None, 9), ("layernorm", 1.0, 4)]
)
def test_operations(norm: str, residual: float | None, count: int) -> None:
    network = Uniform("tanh", Weights(1.0), norm, residual=residual)  # type: ignore[arg-type]
    assert len(network.operations(3)) == count


def test_layers_are_the_operations_between_the_weights() -> None:
    network = Uniform("tanh", Weights(1.5, 0.1), "layernorm", "after", width=100)
    steps = propagate(State(), network.operations(6))
    assert sum(network.layer_decades(6)) == pytest.approx(total_decades(steps[1:-2]))
    assert network.layer_decades(1) == ()


def test_gain_at_finite_depth_is_not_that_at_rest() -> None:
    """tanh with Xavier weights: 0.979 a layer over 50 layers from standardised data, though χ = 1 at rest."""
    assert mean_field("tanh", 1.0).chi == pytest.approx(1.0)
    decades = Uniform("tanh", Weights(1.0)).layer_decades(50)
    assert decades[0] < decades[-1] < 0.0
    assert 10 ** (sum(decades[9:]) / len(decades[9:])) == pytest.approx(0.98, abs=0.005)


@pytest.mark.parametrize(
    ("activation", "weights", "layers", "reason"),
    [("sigmoid", "default", 1.5, "vanishing"), ("relu", "default", 3.35, "vanishing"), ("relu", "he", math.inf, None),
     ("tanh", "default", 5.4, "vanishing"), ("tanh", "xavier", 286.0, "vanishing"),
     ("silu", "xavier", 4.9, "vanishing")],
)  # fmt: skip
def test_reach(activation: str, weights: str, layers: float, reason: str | None) -> None:
    reach = Uniform(activation, initialisation(weights, 256)).reach()
    assert reach.layers == pytest.approx(layers, rel=0.03)
    assert reach.reason == reason


@pytest.mark.parametrize("weight_variance", [1.0, 1.2, 1.4, 2.5, 3.0, 4.0])
def test_reach_is_six_depth_scales(weight_variance: float) -> None:
    """Schoenholz et al. 2017, on both sides of the edge of chaos."""
    reach = Uniform("tanh", Weights(weight_variance, 0.05)).reach()
    field = mean_field("tanh", weight_variance, 0.05)
    assert reach.reason == ("chaotic" if weight_variance > 1.76 else "vanishing")
    assert reach.layers == pytest.approx(6.0 * field.xi_c)


def test_reach_of_networks_that_explode() -> None:
    relu = Uniform("relu", initialisation("normal", 512, std=1.0)).reach()
    assert relu.layers == pytest.approx(6.0 / math.log(256.0))
    assert relu.reason == "exploding"
    assert Uniform("exp", Weights(1.0)).reach().reason == "exploding"
    normalised = Uniform("relu", Weights(2.0), "batchnorm").reach()
    assert normalised.reason == "exploding"
    assert normalised.layers == pytest.approx(6.0 / math.log(math.pi / (math.pi - 1.0)), rel=0.2)


def test_residual_networks_reach_far() -> None:
    weights = initialisation("default", 256)
    assert Uniform("sigmoid", weights, residual=1.0).reach().layers > 300
    assert Uniform("sigmoid", weights, residual=0.0).reach().layers == math.inf
