"""Deep, narrow ReLU networks depend on their seed: some are born dead, some die in training, some live."""

from __future__ import annotations

import pytest
from torch import nn

import cases
from unstick.case import Case
from unstick.diagnose import Diagnosis, diagnose
from unstick.observe import observe
from unstick.remedies import parse


def case() -> Case:
    """15 layers of 5 units with He's uniform weights and zero biases."""
    build = lambda: cases.dense(15, nn.ReLU, nn.init.kaiming_uniform_, width=5)  # noqa: E731
    return cases.digits_case(build, "narrow", optimizer=cases.adam(1e-2))


def narrow(seed: int) -> Diagnosis:
    return diagnose(case(), steps=200, seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_narrow_network_that_fails_has_dead_layers(seed: int) -> None:
    """Whatever the seed does: a failure names the units, with the share that shows it, behind nothing but the rate that
    killed them, where a lower one is seen to learn; and nothing is said of a network that learns."""
    diagnosis = narrow(seed)
    if diagnosis.observation.learning.learns:
        assert diagnosis.healthy
        return
    *before, dead = diagnosis.findings[: [f.rule for f in diagnosis.findings].index("dead-units") + 1]
    assert [f.rule for f in before] in ([], ["learning-rate-too-high"])
    assert dead.cause == (before[0].rule if before else None)
    assert dead.evidence["dead"] == 1.0
    assert dead.since is not None
    if before:
        rate = parse(before[0].remedies[0])
        assert observe(case(), remedy=rate, steps=200, seed=seed).learning.learns


def test_some_seeds_fail_and_some_learn() -> None:
    assert {narrow(seed).healthy for seed in (1, 2)} == {True, False}
