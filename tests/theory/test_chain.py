"""Chains of operations against closed formulas, and against what autograd measures in wide networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from theory.measured import Layer, gains, linear, second_moments
from unstick.errors import TheoryError
from unstick.theory import (
    FUNCTIONS,
    Activation,
    BatchNorm,
    Dropout,
    LayerNorm,
    Operation,
    Residual,
    State,
    Uniform,
    Weights,
    initialisation,
    propagate,
    total_decades,
    total_gain,
)
from unstick.theory.moments import moments

WIDTH, BATCH = 1024, 64
ACTIVATIONS = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "selu": F.selu,
}  # fmt: skip
CLOSED = ["sigmoid", "tanh", "relu", "gelu", "selu", "elu"]


def rested(*layer: Operation, state: State | None = None) -> float:
    """Squared gain of a layer after many of its like."""
    state = state or State()
    for _ in range(200):
        steps = propagate(state, layer)
        state = steps[-1].state
    return total_gain(steps) ** 2


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize(("weight_variance", "gamma"), [(0.3, 1.0), (5.0, 1.0), (1.0, 2.5)])
def test_batchnorm_before_the_activation(name: str, weight_variance: float, gamma: float) -> None:
    """χ = γ² E[φ'(γz)²] / Var φ(γz), whatever σ_w, and never below 1 (Yang et al. 2019)."""
    first, second, slope = moments(FUNCTIONS[name], 0.0, gamma**2)
    norm = BatchNorm(gain=gamma, eps=0.0)
    chi = rested(Weights(weight_variance, 0.7), norm, Activation(name))
    assert chi == pytest.approx(gamma**2 * slope / (second - first**2), rel=1e-9)
    assert chi >= 1.0


@pytest.mark.parametrize("name", CLOSED)
def test_batchnorm_after_the_activation(name: str) -> None:
    """The same with γ² = σ_w², where nothing but the samples makes the pre-activations differ."""
    first, second, slope = moments(FUNCTIONS[name], 0.0, 1.7)
    chi = rested(Weights(1.7), Activation(name), BatchNorm(eps=0.0))
    assert chi == pytest.approx(1.7 * slope / (second - first**2), rel=1e-9)


def test_batch_normalised_relu() -> None:
    """π / (π - 1), Yang et al. 2019."""
    chi = rested(Weights(2.0), BatchNorm(eps=0.0), Activation("relu"))
    assert chi == pytest.approx(math.pi / (math.pi - 1.0), rel=1e-12)
    small = rested(Weights(2.0), BatchNorm(8, eps=0.0), Activation("relu"))
    assert small / chi == pytest.approx(6.0 / 5.0)


@pytest.mark.parametrize("name", CLOSED)
def test_layernorm_on_either_side(name: str) -> None:
    w, b = 1.4, 0.3
    f = FUNCTIONS[name]
    _, second, slope = moments(f, 0.0, 1.0)
    before = rested(Weights(w, b), LayerNorm(eps=0.0), Activation(name))
    assert before == pytest.approx(slope / (second + b / w), rel=1e-9)
    first, second, slope = moments(f, 0.0, w + b)
    after = rested(Weights(w, b), Activation(name), LayerNorm(eps=0.0))
    assert after == pytest.approx(w * slope / (second - first**2), rel=1e-9)


@pytest.mark.parametrize("name", CLOSED)
def test_plain_layers_are_those_of_the_maps(name: str) -> None:
    from unstick.theory import chi, correlation_map, variance_map

    state = State(q=1.2, shared=0.4)
    activation, weights = propagate(state, [Activation(name), Weights(1.3, 0.1)])
    assert weights.state.q == pytest.approx(variance_map(name, 1.2, 1.3, 0.1), rel=1e-12)
    assert weights.state.shared / weights.state.q == pytest.approx(
        correlation_map(name, 1 / 3, 1.2, 1.3, 0.1), rel=1e-9
    )
    assert (activation.gain * weights.gain) ** 2 == pytest.approx(chi(name, 1.2, 1.3), rel=1e-12)


def test_residual_branch() -> None:
    """χ = 1 + a² σ_w² E[φ'²]; a = 0 leaves everything as it was."""
    slope = moments(FUNCTIONS["tanh"], 0.0, 1.0)[2]
    (step,) = propagate(State(), [Residual((Activation("tanh"), Weights(1.5)), 0.5)])
    assert step.gain**2 == pytest.approx(1.0 + 0.25 * 1.5 * slope)
    assert len(step.branch) == 2
    (still,) = propagate(State(q=0.9, shared=0.2), [Residual((Activation("tanh"), Weights(1.5)), 0.0)])
    assert (still.gain, still.state.q, still.state.shared) == (1.0, 0.9, 0.2)
    assert propagate(State(), [Residual(())])[0].gain == pytest.approx(math.sqrt(2.0))


def test_dropout() -> None:
    (step,) = propagate(State(q=1.0, shared=0.5), [Dropout(0.2)])
    assert step.state == State(q=1.25, shared=0.5)
    assert step.gain**2 == pytest.approx(1.25)


def test_collapsed_and_overflowing_signals_stay_numbers() -> None:
    alike = propagate(State(shared=1.0), [BatchNorm(), Activation("sigmoid"), Weights(1.0)])
    assert alike[0].state.q == 0.0
    assert math.isfinite(total_decades(alike))
    huge = propagate(State(), [Weights(1e4), Activation("relu")] * 200)
    assert huge[-1].decades == pytest.approx(math.log10(math.sqrt(0.5)), rel=1e-6)
    assert propagate(State(), [Weights(9.0), Activation("exp")])[-1].decades == math.inf
    assert propagate(State(), [Weights(0.0)])[0].decades == -math.inf
    silent = propagate(State(q=0.0), [LayerNorm(), BatchNorm(), Weights(1.0), Activation("tanh")])
    assert silent[-1].state.between == 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: Weights(-1.0), "weight variance"), (lambda: Dropout(1.0), "share that dropout drops"),
     (lambda: BatchNorm(3), "batch is 3"), (lambda: LayerNorm(1), "width is 1"), (lambda: Activation("relo"), "'relu'"),
     (lambda: Uniform("relu", Weights(1.0), "rms"), "not 'rms'"),  # type: ignore[arg-type]
     (lambda: Uniform("relu", Weights(1.0), "batchnorm", "above"), "not 'above'"),  # type: ignore[arg-type]
     (lambda: Uniform("relu", Weights(1.0)).operations(0), "at least one layer")],
)  # fmt: skip
def test_what_makes_no_sense(make: object, message: str) -> None:
    with pytest.raises(TheoryError, match=message):
        make()  # type: ignore[operator]


def compare(operations: list[Operation], layers: list[Layer], within: float) -> None:
    """Each operation's gain, second moment and share between samples, measured from the same data.

    Where all samples are alike, a second moment is the mean of WIDTH squares: its standard deviation is √(2/WIDTH).
    """
    spread = 4.0 * math.sqrt(2.0 / WIDTH)
    data = torch.randn(BATCH, WIDTH, dtype=torch.float64)
    q, shared = second_moments(data)
    for step, (place, gain) in zip(propagate(State(q, shared), operations), gains(data, layers), strict=True):
        found = second_moments(place)
        assert gain == pytest.approx(step.gain, rel=within), step
        assert found[0] == pytest.approx(step.state.q, rel=spread), step
        assert found[1] == pytest.approx(step.state.shared, rel=spread, abs=2 * within * found[0]), step


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_measured_at_pytorchs_default(name: str) -> None:
    """Each operation of four layers. The Monte Carlo error of a gain is about 1 % at width 1024."""
    torch.manual_seed(0)
    weights = initialisation("default", WIDTH)
    operations, layers = [], []
    for _ in range(4):
        operations += [weights, Activation(name)]
        layers += [linear(WIDTH, weights.weight_variance, weights.bias_variance), ACTIVATIONS[name]]
    compare(operations, layers, within=0.03)


def batch_norm(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


def layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:])


NORMS: dict[str, tuple[Operation, Layer]] = {
    "batchnorm": (BatchNorm(BATCH), batch_norm),
    "layernorm": (LayerNorm(WIDTH), layer_norm),
}


@pytest.mark.parametrize("name", ["sigmoid", "relu"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("side", ["before", "after"])
def test_measured_with_normalisation(name: str, norm: str, side: str) -> None:
    """Step by step where the normalisation comes first; the product where it follows the activation."""
    torch.manual_seed(1)
    operation, layer = NORMS[norm]
    theory = [operation, Activation(name)] if side == "before" else [Activation(name), operation]
    real = [layer, ACTIVATIONS[name]] if side == "before" else [ACTIVATIONS[name], layer]
    compare([Weights(1.0, 0.01), *theory] * 3, [x for _ in range(3) for x in (linear(WIDTH, 1.0, 0.01), *real)], 0.04)


def test_measured_with_batchnorm_behind_activations_whose_units_differ() -> None:
    """Biases as large as the weights: units differ in the variance that is divided by. The pair is predicted as one."""
    torch.manual_seed(2)
    data = torch.randn(BATCH, WIDTH, dtype=torch.float64)
    steps = propagate(State(*second_moments(data)), [Weights(1.0, 1.0), Activation("tanh"), BatchNorm(BATCH)])
    found = [gain for _, gain in gains(data, [linear(WIDTH, 1.0, 1.0), torch.tanh, batch_norm])]
    assert found[1] * found[2] == pytest.approx(steps[1].gain * steps[2].gain, rel=0.03)


def test_measured_residual_network() -> None:
    """The pre-activation form."""
    torch.manual_seed(3)
    inner = [linear(WIDTH, 1.0) for _ in range(3)]
    layers = [lambda x, w=w: x + 0.7 * w(torch.relu(x)) for w in inner]
    compare([Residual((Activation("relu"), Weights(1.0)), 0.7)] * 3, layers, within=0.03)


def test_convolution_is_a_dense_layer_with_fan_in_k2c() -> None:
    torch.manual_seed(4)
    weight = torch.randn(64, 64, 3, 3, dtype=torch.float64) * math.sqrt(2.0 / (9 * 64))
    data = torch.randn(4, 64, 24, 24, dtype=torch.float64)
    layers: list[Layer] = [lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), weight), F.relu]
    steps = propagate(State(), [Weights(2.0), Activation("relu")])
    for step, (place, gain) in zip(steps, gains(data, layers), strict=True):
        assert gain == pytest.approx(step.gain, rel=0.03)
        assert place.square().mean().item() == pytest.approx(step.state.q, rel=0.05)


def test_strided_convolution_too() -> None:
    torch.manual_seed(5)
    weight = torch.randn(64, 64, 3, 3, dtype=torch.float64) * math.sqrt(2.0 / (9 * 64))
    data = torch.randn(4, 64, 25, 25, dtype=torch.float64)
    ((_, gain),) = gains(data, [lambda x: F.conv2d(x, weight, stride=2)])
    assert gain == pytest.approx(math.sqrt(2.0), rel=0.03)


def test_measured_dropout() -> None:
    torch.manual_seed(6)
    compare([Dropout(0.3), Weights(1.0)], [lambda x: F.dropout(x, 0.3), linear(WIDTH, 1.0)], within=0.03)
