from __future__ import annotations

import pytest
import torch
from torch import nn

from unstick.trace.calls import facts
from unstick.trace.sites import ADDED, SiteCounter, tensors_in


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.GRU(3, 3))


def test_counts_activations_since_the_parameter_touched_last(model: nn.Module) -> None:
    counter, x = SiteCounter(model), torch.zeros(2, 3)
    assert counter.see("sigmoid", tensors_in((x,), {})) is None
    assert counter.see("linear", tensors_in((x, model[0].weight, model[0].bias), {})) is None
    assert counter.parameter == "0.weight"
    assert counter.see("sigmoid", tensors_in((x,), {})) == ("0.weight", 0)
    assert counter.see("add", tensors_in((x, x), {})) is None
    assert counter.see("tanh", tensors_in((x,), {})) == ("0.weight", 1)
    assert counter.see("add", tensors_in((x,), {"other": model[0].bias})) is None
    assert counter.see("relu", tensors_in((), {"input": x})) == ("0.bias", 0)


def test_in_place_forms_count_alike(model: nn.Module) -> None:
    counter, x = SiteCounter(model), torch.zeros(2, 3)
    counter.see("__get__", tensors_in((model[0].weight,), {}))
    names = [facts(name).name for name in ("relu_", "relu", "__get__", "sigmoid_")]
    assert [counter.see(name, tensors_in((x,), {})) for name in names] == [
        ("0.weight", 0),
        ("0.weight", 1),
        None,
        ("0.weight", 2),
    ]


def test_parameters_inside_a_list_and_of_the_call_itself(model: nn.Module) -> None:
    counter, x = SiteCounter(model), torch.zeros(2, 3)
    counter.see("gru", tensors_in((x, x, [model[2].weight_ih_l0, model[2].weight_hh_l0], True), {}))
    assert counter.parameter == "2.weight_ih_l0"
    assert counter.see("prelu", tensors_in((x, model[0].bias), {})) == ("0.bias", 0)


def test_starts_anew_with_each_pass(model: nn.Module) -> None:
    counter, x = SiteCounter(model), torch.zeros(2, 3)
    counter.see("linear", tensors_in((x, model[0].weight), {}))
    counter.see("relu", tensors_in((x,), {}))
    counter.reset()
    assert counter.see("relu", tensors_in((x,), {})) is None
    counter.see("linear", tensors_in((x, model[0].weight), {}))
    assert counter.see("relu", tensors_in((x,), {})) == ("0.weight", 0)


def test_added_parameters_are_no_landmarks(model: nn.Module) -> None:
    model.register_parameter(f"{ADDED}_1_weight", nn.Parameter(torch.ones(3)))
    counter, x = SiteCounter(model), torch.zeros(2, 3)
    counter.see("linear", tensors_in((x, model[0].weight), {}))
    counter.see("mul", tensors_in((x, getattr(model, f"{ADDED}_1_weight")), {}))
    assert counter.see("relu", tensors_in((x,), {})) == ("0.weight", 0)
