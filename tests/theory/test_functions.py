"""Activations by name and as torch functions."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unstick.errors import TheoryError
from unstick.theory import FUNCTIONS, function, mean_field
from unstick.theory.moments import moments
from unstick.trace.kinds import ACTIVATIONS

POINTS = np.array([-60.0, -7.3, -2.9, -1.01, -0.49, -0.1, 0.2, 0.51, 0.99, 2.99, 3.7, 6.2, 60.0])


def torch_function(name: str):  # type: ignore[no-untyped-def]
    if name == "prelu":
        return lambda x: F.prelu(x, torch.tensor([0.25], dtype=x.dtype))
    if name == "identity":
        return lambda x: x * 1.0
    return getattr(torch, name, None) or getattr(F, name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_slopes_are_torchs(name: str) -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    value = torch_function(name)(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    np.testing.assert_allclose(FUNCTIONS[name].value(POINTS), value.detach().numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(FUNCTIONS[name].slope(POINTS), slope.numpy(), rtol=1e-7, atol=1e-12)


def test_all_known_activations_but_the_rare_and_those_without_one_meaning() -> None:
    assert set(ACTIVATIONS) - set(FUNCTIONS) == {"rrelu", "threshold", "atan", "sin", "cos"}


@pytest.mark.parametrize("spelling", ["leaky_relu", "leaky-relu", "LeakyReLU"])
def test_spellings(spelling: str) -> None:
    assert function(spelling) is FUNCTIONS["leaky_relu"]


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(TheoryError, match=r"knows no activation 'sigmod'; did you mean 'sigmoid'\?"):
        function("sigmod")
    with pytest.raises(TheoryError, match="known are identity, sigmoid"):
        function("q")


@pytest.mark.parametrize(
    "name", ["sigmoid", "gelu", "hardswish", "hardtanh", "selu", "relu6", "softshrink", "tanhshrink"]
)
@pytest.mark.parametrize("variance", [0.1, 2.0, 60.0])
def test_torch_function_is_as_good_as_a_name(name: str, variance: float) -> None:
    wrapped = function(torch_function(name))
    assert moments(wrapped, 0.3, variance) == pytest.approx(moments(FUNCTIONS[name], 0.3, variance), rel=1e-8)


def test_kinks_of_a_torch_function_are_found() -> None:
    wrapped = function(lambda x: torch.clamp(x, -0.37, 1.21) + 0.1 * x)
    assert wrapped.kinks == pytest.approx((-0.37, 1.21))


def test_in_place_and_piecewise_torch_functions() -> None:
    assert moments(function(torch.relu_), 0.0, 1.0)[2] == pytest.approx(0.5)
    assert moments(function(torch.nn.ReLU(inplace=True)), 0.0, 1.0)[2] == pytest.approx(0.5)
    assert moments(function(torch.sign), 0.0, 1.0) == pytest.approx((0.0, 1.0, 0.0), abs=1e-12)


def softmax_sum(x: torch.Tensor) -> torch.Tensor:
    return x.softmax(-1).sum()


def test_what_is_no_activation_is_refused() -> None:
    with pytest.raises(TheoryError, match="softmax_sum is no activation: it must give one number for each"):
        mean_field(softmax_sum, 1.0)


def test_names_do_without_torch() -> None:
    code = """
import sys
from unstick.theory import Uniform, Weights
Uniform("gelu", Weights(2.0), "batchnorm").layer_decades(5)
assert "torch" not in sys.modules and "scipy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_selu_is_scaled_as_published() -> None:
    """Klambauer et al. 2017: mean 0 and variance 1 are a fixed point."""
    first, second, _ = moments(FUNCTIONS["selu"], 0.0, 1.0)
    assert first == pytest.approx(0.0, abs=1e-12)
    assert second == pytest.approx(1.0, rel=1e-12)
    assert math.isclose(mean_field("selu", 1.0).chi, 1.0716, rel_tol=1e-4)
