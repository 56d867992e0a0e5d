"""The accuracy that the quadrature promises, against adaptive integration."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from unstick.theory import FUNCTIONS
from unstick.theory.functions import Function
from unstick.theory.moments import moments, pair, slope_pair


def adaptive(g: Callable[[np.ndarray], np.ndarray], f: Function, mean: float, variance: float) -> float:
    """E[g(u)] by QUADPACK, told of the places where f is not smooth, in the scale of the normal and in that of f."""
    std = math.sqrt(variance)
    inside = [(u - mean) / std for u in {*f.kinks, *np.linspace(-40.0, 40.0, 17)}]
    ends = sorted({-12.0, 12.0, *np.linspace(-10.0, 10.0, 9), *(z for z in inside if abs(z) < 12.0)})

    def integrand(z: float) -> float:
        return float(g(np.array([mean + std * z]))[0]) * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)

    return sum(integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-11)[0] for a, b in pairwise(ends))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 0.03), (0.7, 1.0), (0.0, 5.5)])
def test_moments_of_every_activation(name: str, mean: float, variance: float) -> None:
    f = FUNCTIONS[name]
    first, second, slope = moments(f, mean, variance)
    assert first == pytest.approx(adaptive(f.value, f, mean, variance), rel=1e-9, abs=1e-9 * math.sqrt(second))
    assert second == pytest.approx(adaptive(lambda u: f.value(u) ** 2, f, mean, variance), rel=1e-9)
    assert slope == pytest.approx(adaptive(lambda u: f.slope(u) ** 2, f, mean, variance), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "variance"), [("sigmoid", 85.0), ("tanh", 25.0), ("hardtanh", 1.0), ("softsign", 1e4), ("silu", 1e3)]
)
def test_hard_cases(name: str, variance: float) -> None:
    """The first three are those at which 64 Gauss-Hermite nodes are wrong by 12 to 45 %."""
    f = FUNCTIONS[name]
    expected = adaptive(lambda u: f.slope(u) ** 2, f, 0.0, variance)
    assert moments(f, 0.0, variance)[2] == pytest.approx(expected, rel=1e-9)
    node, weight = np.polynomial.hermite_e.hermegauss(64)
    hermite = weight @ f.slope(math.sqrt(variance) * node) ** 2 / math.sqrt(2.0 * math.pi)
    if name in ("sigmoid", "tanh", "hardtanh"):
        assert abs(hermite / expected - 1.0) > 0.1


def test_closed_forms() -> None:
    """ReLU keeps half of the variance; E[exp(2u)] = exp(2q), which counts as infinite where no real layer has it."""
    assert moments(FUNCTIONS["relu"], 0.0, 3.0) == pytest.approx((math.sqrt(3.0 / (2.0 * math.pi)), 1.5, 0.5))
    assert moments(FUNCTIONS["exp"], 0.0, 2.0)[1] == pytest.approx(math.exp(4.0))
    assert moments(FUNCTIONS["exp"], 0.0, 7.0)[1] == math.inf


@pytest.mark.parametrize("correlation", [-0.7, 0.0, 0.3, 0.99, 1.0 - 1e-7, 1.0])
def test_relu_pairs_are_the_arc_cosine_kernels(correlation: float) -> None:
    """Cho and Saul 2009: the kernels of degree 1 and 0, halved."""
    angle, q = math.acos(correlation), 2.5
    one = (math.sin(angle) + (math.pi - angle) * correlation) * q / (2.0 * math.pi)
    zero = (math.pi - angle) / (2.0 * math.pi)
    assert pair(FUNCTIONS["relu"], 0.0, q, correlation * q) == pytest.approx(one, rel=1e-6)
    assert slope_pair(FUNCTIONS["relu"], q, correlation * q) == pytest.approx(zero, rel=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "gelu", "hardtanh", "selu"])
@pytest.mark.parametrize(("variance", "correlation"), [(1.0, 0.5), (30.0, 0.95), (30.0, -0.4)])
def test_pairs_against_two_dimensional_integration(name: str, variance: float, correlation: float) -> None:
    f, std = FUNCTIONS[name], math.sqrt(variance)
    z, step = np.linspace(-9.0, 9.0, 901, retstep=True)
    density = stats.norm.pdf(z) * step
    other = correlation * z[:, None] + math.sqrt(1.0 - correlation**2) * z[None, :]
    expected = density @ (f.value(std * z)[:, None] * f.value(std * other)) @ density
    found = pair(f, 0.0, variance, correlation * variance)
    assert found == pytest.approx(expected, rel=1e-3 if f.kinks else 1e-6)
