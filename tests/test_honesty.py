"""The textbook's answer belongs to one network. On others it is wrong, and the tool must say so."""

from __future__ import annotations

import functools

import pytest
from torch import nn

import cases
from unstick import TrialReport, check, try_remedies


@functools.cache
def default_initialisation() -> TrialReport:
    """20 sigmoid layers as PyTorch makes them, under SGD."""
    case = cases.digits_case(lambda: cases.dense(20, nn.Sigmoid), "default-20", optimizer=cases.sgd(0.1))
    return try_remedies(case, ["relu", "relu+init(he)"], seed=0)


def test_with_glorot_weights_and_zero_biases_tanh_helps() -> None:
    """Statement 1 of the packaged question, which the textbook calls wrong, on 20 layers of another start."""
    case = cases.digits_case(lambda: cases.dense(20, nn.Sigmoid, nn.init.xavier_normal_), "glorot-20")
    first = check("kaylee", case, steps=200, seeds=3).to_dict()["statements"][0]
    assert first["helps"]
    assert first["textbook"] is False


def test_relu_alone_does_not_help_at_the_default_initialisation() -> None:
    trial = default_initialisation()["relu"]
    assert trial.verdict == "no-effect"
    assert not trial.learns
    assert trial.to_dict()["gradient"]["after"] > 4


def test_relu_with_he_weights_does() -> None:
    trial = default_initialisation()["relu+init(he)"]
    assert trial.verdict == "fixes"
    assert trial.learns
    assert trial.to_dict()["gradient"]["restored"]


@pytest.mark.parametrize("seed", [0, 1])
def test_ten_sigmoid_layers_with_unit_normal_weights_learn_as_they_are(seed: int) -> None:
    from unstick import diagnose

    case = cases.digits_case(lambda: cases.dense(10, nn.Sigmoid, nn.init.normal_), "sigmoid-n01-10")
    assert diagnose(case, seed=seed).healthy
