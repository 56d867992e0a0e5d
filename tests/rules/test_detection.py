"""Each rule's own fault is found, named first, and placed; by real training of small networks."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import pytest

import cases
from unstick.diagnose import Diagnosis, diagnose
from unstick.rules import RULES, Severity


@functools.cache
def diagnosed(name: str, steps: int = 300) -> Diagnosis:
    return diagnose(getattr(cases, name)(), steps=steps)


SICK = {
    "kaylee_like": "vanishing-gradient",
    "sigmoid_default": "vanishing-gradient",
    "relu_default": "weights-too-small",
    "tanh_large": "weights-too-large",
    "constant_weights": "symmetric-weights",
    "rate_too_high": "learning-rate-too-high",
    "rate_too_low": "learning-rate-too-low",
    "unscaled_inputs": "unscaled-inputs",
    "dead_units": "dead-units",
    "diverging": "learning-rate-too-high",
}


@pytest.mark.parametrize(("name", "rule"), SICK.items())
def test_cause_comes_first(name: str, rule: str) -> None:
    found = diagnosed(name).findings
    assert found
    assert found[0].rule == rule
    assert found[0].severity is Severity.ERROR
    assert found[0].remedies


@pytest.mark.parametrize("name", [n for n in SICK if n not in ("constant_weights", "diverging")])
def test_symptom_is_found_and_points_at_its_cause(name: str) -> None:
    found = {f.rule: f for f in diagnosed(name).findings}
    assert "not-learning" in found
    assert found["not-learning"].cause == SICK[name]


@pytest.mark.parametrize(
    "name", ["kaylee_like", "sigmoid_default", "relu_default", "constant_weights", "rate_too_low", "dead_units"]
)
@pytest.mark.parametrize("steps", [1, 10])
def test_what_is_wrong_at_once_is_found_at_once(name: str, steps: int) -> None:
    """The number of steps changes how long one looks, not what is wrong."""
    assert diagnosed(name, steps).findings[0].rule == SICK[name]


@pytest.mark.parametrize("steps", [10, 300])
def test_a_ruinous_rate_needs_no_long_look(steps: int) -> None:
    assert diagnosed("rate_too_high", steps).findings[0].rule == "learning-rate-too-high"


def test_the_mechanism_of_a_vanishing_gradient_is_named() -> None:
    by_sigmoid = {f.rule: f for f in diagnosed("kaylee_like").findings}["vanishing-gradient"]
    assert by_sigmoid.cause == "activation"
    assert by_sigmoid.evidence["parts"]["activation"] > 0.5 * by_sigmoid.evidence["decades"]
    by_weights = {f.rule: f for f in diagnosed("relu_default").findings}["vanishing-gradient"]
    assert by_weights.cause == "weights-too-small"


def test_the_line_of_source_is_named() -> None:
    """The activation's own line, not that of the layer before it."""
    source = diagnosed("kaylee_like").findings[0].source
    assert source is not None
    path, line = source.rsplit(":", 1)
    assert path.endswith("cases.py")
    assert "activation()" in Path(cases.__file__).read_text().splitlines()[int(line) - 1]


def test_non_finite_is_a_finding_and_says_since_when() -> None:
    found = {f.rule: f for f in diagnosed("diverging").findings}["non-finite"]
    assert found.cause == "learning-rate-too-high"
    assert found.since is not None
    assert found.since <= 3


def test_saturation_by_unscaled_inputs_is_a_symptom() -> None:
    found = {f.rule: f for f in diagnosed("unscaled_inputs").findings}
    assert found["saturated-activation"].cause == "unscaled-inputs"


def test_explosion_by_large_weights_is_a_symptom() -> None:
    found = {f.rule: f for f in diagnosed("tanh_large").findings}
    assert found["exploding-gradient"].cause == "weights-too-large"
    assert abs(found["exploding-gradient"].evidence["promise_kept"]) < 0.01


def test_collapse_is_the_forward_twin() -> None:
    found = {f.rule: f for f in diagnosed("kaylee_like").findings}["collapsed-signal"]
    assert found.cause == "vanishing-gradient"
    assert found.evidence["between_samples"] < 1e-10


def test_every_rule_is_exercised() -> None:
    """Here, or in a file beside this one that lists its sick networks in the same way."""
    here = {f.rule for name in SICK for f in diagnosed(name).findings}
    files = [importlib.import_module(f"rules.{path.stem}") for path in Path(__file__).parent.glob("test_*.py")]
    beside = {rule for file in files for rule in getattr(file, "SICK", {}).values()}
    assert here | beside == {rule.id for rule in RULES}
