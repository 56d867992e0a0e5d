"""Deep, narrow ReLU networks depend on their seed: some are born dead, some die in training, some live."""

from __future__ import annotations

import pytest
from torch import nn

import cases
from unstick.diagnose import Diagnosis, diagnose


def narrow(seed: int) -> Diagnosis:
    """15 layers of 5 units with He's uniform weights and zero biases."""
    build = lambda: cases.dense(15, nn.ReLU, nn.init.kaiming_uniform_, width=5)  # noqa: E731
    return diagnose(cases.digits_case(build, "narrow", optimizer=cases.adam(1e-2)), steps=200, seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_narrow_network_that_fails_has_dead_layers(seed: int) -> None:
    """Whatever the seed does: a failure names the units first, with the share that shows it, and nothing else is said
    of a network that learns."""
    diagnosis = narrow(seed)
    if diagnosis.observation.learning.learns:
        assert diagnosis.healthy
        return
    first = diagnosis.findings[0]
    assert first.rule == "dead-units"
    assert first.evidence["dead"] == 1.0
    assert first.since is not None


def test_some_seeds_fail_and_some_learn() -> None:
    assert {narrow(seed).healthy for seed in (1, 2)} == {True, False}
