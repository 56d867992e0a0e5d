"""Fixed points, depth scales and the edge of chaos: published values, and their definitions."""

from __future__ import annotations

import math

import pytest

from unstick.errors import TheoryError
from unstick.theory import (
    FUNCTIONS,
    chi,
    correlation_map,
    edge_of_chaos,
    edge_of_chaos_at,
    initialisation,
    mean_field,
    variance_map,
)
from unstick.theory.moments import growth, moments


def test_he_is_exactly_critical_for_relu() -> None:
    """He et al. 2015. Every variance is kept as it is."""
    field = mean_field("relu", 2.0)
    assert field.chi == pytest.approx(1.0, rel=1e-12)
    assert (field.phase, field.xi_gradient, field.c) == ("critical", math.inf, 1.0)
    assert mean_field("relu", 2.0, start=7.0).q == 7.0
    edge = edge_of_chaos("relu")
    assert edge is not None
    assert (edge.weight_variance, edge.bias_variance) == (pytest.approx(2.0), 0.0)
    assert edge_of_chaos("relu", 0.1) is None


def test_critical_line_of_tanh() -> None:
    """Schoenholz et al. 2017: σ_w² = 1.76 at σ_b² = 0.05."""
    edge = edge_of_chaos("tanh", 0.05)
    assert edge is not None
    assert edge.weight_variance == pytest.approx(1.760955, abs=5e-7)
    field = mean_field("tanh", edge.weight_variance, 0.05)
    assert field.q == pytest.approx(edge.q, rel=1e-9)
    assert field.phase == "critical"


@pytest.mark.parametrize(
    ("weight_variance", "depth"), [(1.0, 21.8), (1.2, 35.7), (1.4, 64.4), (2.5, 70.8), (3.0, 54.3), (4.0, 41.9)]
)
def test_trainable_depth_of_tanh(weight_variance: float, depth: float) -> None:
    """6 ξ_c on both sides of the edge at σ_b² = 0.05, computed independently."""
    assert 6.0 * mean_field("tanh", weight_variance, 0.05).xi_c == pytest.approx(depth, abs=0.05)


@pytest.mark.parametrize(
    ("activation", "weights", "gain"),
    [("sigmoid", "default", 0.1414), ("sigmoid", "xavier", 0.2361), ("tanh", "default", 0.576), ("tanh", "he", 1.051),
     ("relu", "default", 0.408), ("gelu", "default", 0.289), ("silu", "default", 0.289), ("selu", "default", 0.807),
     ("selu", "xavier", 1.035)],
)  # fmt: skip
def test_gains_computed_independently(activation: str, weights: str, gain: float) -> None:
    start = initialisation(weights, 256)
    assert mean_field(activation, start.weight_variance, start.bias_variance).gain == pytest.approx(gain, rel=1.5e-3)


def test_sigmoid_is_critical_far_out() -> None:
    edge = edge_of_chaos("sigmoid")
    assert edge is not None
    assert math.sqrt(edge.weight_variance) == pytest.approx(10.149, abs=5e-4)
    assert edge.q == pytest.approx(45.6, abs=0.05)


def test_selu() -> None:
    field = mean_field("selu", 1.0)
    assert field.q == pytest.approx(1.0, rel=1e-9)
    assert field.chi == pytest.approx(1.0716, abs=5e-5)
    assert field.phase == "chaotic"


def test_variances_that_collapse_and_diverge() -> None:
    assert mean_field("relu", 1.0).q == 0.0
    assert mean_field("relu", 3.0).q == math.inf
    assert mean_field("tanh", 1.0).q == 0.0
    assert mean_field("elu", 2.0).q == math.inf
    assert mean_field("exp", 1.0).chi == math.inf


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "gelu", "selu", "softsign", "mish"])
def test_fixed_points_are_fixed(name: str) -> None:
    field = mean_field(name, 1.3, 0.2)
    assert variance_map(name, field.q, 1.3, 0.2) == pytest.approx(field.q, rel=1e-9)
    assert correlation_map(name, field.c, field.q, 1.3, 0.2) == pytest.approx(field.c, abs=1e-6)
    assert chi(name, field.q, 1.3) == pytest.approx(field.chi, rel=1e-12)


@pytest.mark.parametrize(("name", "weight_variance"), [("tanh", 1.2), ("tanh", 3.0), ("relu", 1.0), ("gelu", 1.5)])
def test_depth_scales_are_those_at_which_the_maps_converge(name: str, weight_variance: float) -> None:
    """Each layer brings q and c nearer by exp(-1/ξ)."""
    field = mean_field(name, weight_variance, 0.1)
    near = field.q * 1.001
    rate = (variance_map(name, near, weight_variance, 0.1) - field.q) / (near - field.q)
    assert -1.0 / math.log(rate) == pytest.approx(field.xi_q, rel=1e-2)
    near = field.c - 1e-4
    rate = (field.c - correlation_map(name, near, field.q, weight_variance, 0.1)) / (field.c - near)
    assert -1.0 / math.log(rate) == pytest.approx(field.xi_c, rel=1e-2)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("hardshrink", "exp")])
def test_growth_is_the_slope_of_the_variance_map(name: str) -> None:
    f, q, step = FUNCTIONS[name], 0.8, 1e-4
    slope = (moments(f, 0.0, q + step)[1] - moments(f, 0.0, q - step)[1]) / (2.0 * step)
    assert growth(f, q) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_points_on_the_edge_are_critical_and_at_rest(name: str) -> None:
    edge = edge_of_chaos(name, None)
    if name in ("softplus", "logsigmoid", "exp", "tanhshrink", "softshrink", "hardshrink"):
        assert edge is None  # no fixed point with χ = 1 that is stable
        return
    assert edge is not None
    near = max(edge.q, 1e-9)
    assert chi(name, near, edge.weight_variance) == pytest.approx(1.0, abs=1e-4)
    assert variance_map(name, near, edge.weight_variance, edge.bias_variance) == pytest.approx(near, rel=1e-4)


def test_gelu_needs_biases_to_be_critical() -> None:
    assert edge_of_chaos("gelu") is None
    edge = edge_of_chaos("gelu", None)
    assert edge is not None
    assert edge.bias_variance > 0.1
    again = edge_of_chaos("gelu", edge.bias_variance)
    assert again is not None
    assert again.weight_variance == pytest.approx(edge.weight_variance)


def test_edge_at_a_variance() -> None:
    edge = edge_of_chaos_at("tanh", 0.570048)
    assert edge is not None
    assert edge.weight_variance == pytest.approx(1.760955, abs=1e-5)
    assert edge.bias_variance == pytest.approx(0.05, abs=1e-5)
    assert edge_of_chaos_at("sigmoid", 1.0) is None  # it would need a negative bias variance


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_variances_that_make_no_sense(bad: float) -> None:
    with pytest.raises(TheoryError, match="variance must be a number from 0 up"):
        mean_field("tanh", bad)
    with pytest.raises(TheoryError, match="the bias variance"):
        edge_of_chaos("tanh", bad)
    with pytest.raises(TheoryError, match="lies between -1 and 1"):
        correlation_map("tanh", 1.5, 1.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "variances"),
    [(("default", 300), (1 / 3, 1 / 900)), (("default",), (1 / 3, 0.0)), (("xavier", 300), (1.0, 0.0)),
     (("xavier", 300, 100), (1.5, 0.0)), (("he", 300), (2.0, 0.0)), (("lecun",), (1.0, 0.0)),
     (("orthogonal",), (1.0, 0.0))],
)  # fmt: skip
def test_initialisations(arguments: tuple[object, ...], variances: tuple[float, float]) -> None:
    weights = initialisation(*arguments)  # type: ignore[arg-type]
    assert (weights.weight_variance, weights.bias_variance) == pytest.approx(variances)


def test_initialisations_with_a_number_or_an_activation() -> None:
    assert initialisation("normal", 64, std=0.5).weight_variance == 16.0
    assert initialisation("critical", activation="relu").weight_variance == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [(("hee",), {}, r"no initialisation 'hee'; did you mean 'he'\?"),
     (("normal", 64), {}, "needs a standard deviation"),
     (("normal",), {"std": 1.0}, "needs a standard deviation"), (("he",), {"std": 1.0}, "not with 'he'"),
     (("normal", 64), {"std": -1.0}, "a standard deviation is a number from 0 up"),
     (("he", 0), {}, "at least one input"), (("critical",), {}, "needs an activation"),
     (("critical",), {"activation": "softplus"}, "softplus has no edge of chaos")],
)  # fmt: skip
def test_initialisations_that_make_no_sense(
    arguments: tuple[object, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(TheoryError, match=message):
        initialisation(*arguments, **options)  # type: ignore[arg-type]


def test_pytorchs_default_is_what_pytorch_does() -> None:
    import torch

    torch.manual_seed(0)
    layer = torch.nn.Linear(1024, 1024)
    weights = initialisation("default", 1024)
    assert layer.weight.var().item() * 1024 == pytest.approx(weights.weight_variance, rel=0.01)
    assert layer.bias.var().item() == pytest.approx(weights.bias_variance, rel=0.15)
