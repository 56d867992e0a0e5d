"""The reference case and its question, from one end to the other."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from unstick.cases.kaylee import DEPTH, WIDTH, digits, kaylee, network
from unstick.errors import CaseError
from unstick.questions import check


def test_the_network_is_forty_layers_of_sigmoids():
    layers = list(network())
    weighted = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert sum(isinstance(layer, nn.Sigmoid) for layer in layers) == DEPTH == 40
    assert [layer.out_features for layer in weighted] == [WIDTH] * DEPTH + [10]
    weights = torch.cat([layer.weight.flatten() for layer in weighted])
    biases = torch.cat([layer.bias for layer in weighted])
    assert weights.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    assert biases.std().item() == pytest.approx(1.0, rel=0.1)


def test_the_digits_are_standardised_and_constant_pixels_stay_zero():
    images, labels = digits()
    spread = images.std(0, correction=0)
    assert images.shape == (1797, 64)
    assert labels.unique().tolist() == list(range(10))
    torch.testing.assert_close(images.mean(0), torch.zeros(64), atol=1e-5, rtol=0)
    assert ((spread - 1).abs().lt(1e-4) | (spread == 0)).all()
    assert (spread == 0).any()


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(CaseError, match=r"pip install 'unstick\[demo\]'"):
        kaylee()


def test_the_answer_is_measured():
    answer = check("kaylee", steps=150, seeds=3, seed=40, workers=2)
    trials = answer.trials.to_dict()
    gradients = {trial["remedy"]: trial["gradient"]["after"] for trial in trials["trials"]}
    assert answer.numbers == (2, 3)
    assert answer.claim.holds
    assert trials["baseline"]["attenuation_decades"] > 12
    assert trials["baseline"]["attribution"]["activation"] > 0.5 * trials["baseline"]["attenuation_decades"]
    assert gradients["tanh"] > 2
    assert abs(gradients["relu"]) < 2
    assert abs(gradients["batchnorm"]) < 2
    assert gradients["init(normal, std=3)"] < -2
    assert gradients["init(normal, std=10)"] < gradients["init(normal, std=3)"]
    assert all(judged.agrees for judged in answer.statements)
