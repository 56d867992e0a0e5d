from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from remedies.nets import SIGMOIDS, Activate, Conv, Mlp, Unrolled, assert_same, flat, images, remedied, series
from unstick.errors import NotApplicable
from unstick.remedies.activations import TailoredRelu, tailored_slope

BY_HAND: dict[str, Activate] = {
    "tanh": torch.tanh,
    "relu": lambda x: x.clamp(min=0),
    "leaky-relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "elu": lambda x: torch.where(x > 0, x, x.clamp(max=0).expm1()),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x * torch.sigmoid(x),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_equals_a_network_written_with_the_other_activation(name: str) -> None:
    model = Mlp([torch.sigmoid] * 3)
    setup, batch = remedied(model, flat(), name)
    assert_same(setup, Mlp([BY_HAND[name]] * 3), model, batch)


@pytest.mark.parametrize("form", SIGMOIDS)
@pytest.mark.parametrize(("net", "x"), [(Mlp, flat()), (Mlp, series()), (Conv, images())])
def test_every_way_to_call_an_activation_is_replaced(net: type[Mlp | Conv], x: Tensor, form: str) -> None:
    count = 3 if net is Mlp else 2
    model = net([SIGMOIDS[form]] * count)
    setup, batch = remedied(model, x, "tanh")
    assert setup.changes == [f"sigmoid -> tanh in {count} places"]
    assert_same(setup, net([torch.tanh] * count), model, batch)


@pytest.mark.parametrize("replacement", ["relu", "gelu"])
def test_relu_given_inplace_is_replaced_where_the_tensor_itself_is_used_on(replacement: str) -> None:
    model = Mlp([nn.ELU(inplace=True), nn.Hardtanh(inplace=True), nn.LeakyReLU(0.2, inplace=True)])
    setup, batch = remedied(model, flat(), replacement)
    assert_same(setup, Mlp([BY_HAND[replacement]] * 3), model, batch)


def test_one_module_in_several_places() -> None:
    shared = nn.Sigmoid()
    model = Mlp([shared] * 3, output=shared)
    setup, (x, _) = remedied(model, flat(), "relu")
    with setup.active():
        torch.testing.assert_close(setup.model(x), with_weights_of(model, [torch.relu] * 3, torch.sigmoid)(x))


def with_weights_of(model: Mlp, hidden: list[Activate], output: Activate) -> Mlp:
    made = Mlp(hidden, output)
    made.load_state_dict(model.state_dict())
    return made


def test_an_unrolled_cell_is_one_place() -> None:
    model = Unrolled(torch.tanh)
    setup, batch = remedied(model, series(), "relu")
    assert setup.changes == ["tanh -> relu in 1 place"]
    assert_same(setup, Unrolled(torch.relu), model, batch)


def test_two_activations_after_one_layer_are_told_apart() -> None:
    model = Mlp([lambda x: torch.tanh(x).sigmoid(), torch.relu, lambda x: torch.sigmoid(x) * torch.tanh(x)])
    setup, batch = remedied(model, flat(), "tanh")
    by_hand = Mlp([lambda x: x.tanh().tanh(), torch.tanh, lambda x: torch.tanh(x) * torch.tanh(x)])
    assert_same(setup, by_hand, model, batch)


def test_weights_multiplied_by_hand() -> None:
    class Handmade(nn.Module):
        def __init__(self, activate: Activate) -> None:
            super().__init__()
            self.w1, self.w2 = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(4, 3))
            self.activate = activate

        def forward(self, x: Tensor) -> Tensor:
            return self.activate(x @ self.w1.T) @ self.w2

    model = Handmade(torch.sigmoid)
    setup, batch = remedied(model, flat(), "tanh")
    assert_same(setup, Handmade(torch.tanh), model, batch)


@settings(max_examples=15)
@given(st.lists(st.sampled_from(["module", "function", "method", "in place"]), min_size=3, max_size=3))
def test_any_mixture_of_forms(forms: list[str]) -> None:
    model = Mlp([SIGMOIDS[form] for form in forms])
    setup, batch = remedied(model, flat(), "silu")
    assert_same(setup, Mlp([functional.silu] * 3), model, batch)


def test_weights_and_the_users_model_stay() -> None:
    model = Mlp([nn.Sigmoid() for _ in range(3)])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    setup, batch = remedied(model, flat(), "relu")
    torch.testing.assert_close(dict(setup.model.state_dict()), before, rtol=0, atol=0)
    setup.forward(batch).backward()
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert all(p.grad is None and not p._backward_hooks for p in model.parameters())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_outside_of_a_pass_nothing_is_changed() -> None:
    model = Mlp([torch.sigmoid] * 3)
    setup, (x, _) = remedied(model, flat(), "relu")
    torch.testing.assert_close(setup.model(x), model(x), rtol=0, atol=0)


def test_selu_brings_its_own_weights() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(6, 400), nn.Sigmoid(), nn.Linear(400, 400), nn.Sigmoid(), nn.Linear(400, 3))
    setup, batch = remedied(wide, flat(), "selu")
    weight, bias = setup.model[2].weight, setup.model[2].bias
    assert weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert not bias.any()
    by_hand = nn.Sequential(wide[0], nn.SELU(), wide[2], nn.SELU(), wide[4])
    assert_same(setup, by_hand, setup.model, batch)


def test_says_why_it_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="every hidden activation is relu already"):
        remedied(Mlp([torch.relu] * 3), flat(), "relu")
    with pytest.raises(NotApplicable, match="no hidden activation was seen"):
        remedied(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3), nn.Sigmoid()), flat(), "relu")


def test_the_activations_inside_a_fused_recurrent_layer_are_out_of_reach() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.head = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.gru(x)[0][:, -1])

    with pytest.raises(NotApplicable, match=r"inside gru \(gru\)"):
        remedied(Recurrent(), series(), "relu")


@pytest.mark.parametrize("depth", [3, 20, 100])
def test_tailored_relu_keeps_samples_apart(depth: int) -> None:
    """Measured in a wide network: two inputs with nothing in common come out with a correlation of at most 0.9."""
    slope, width = tailored_slope(depth), 1000
    assert (slope == 0.0) == (depth == 3)
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(2, width, generator=generator)
    for _ in range(depth):
        weight = torch.randn(width, width, generator=generator) * (2 / width) ** 0.5
        h = TailoredRelu.activate(h, slope) @ weight.T
    a, b = h
    similarity = (a @ b / (a.norm() * b.norm())).item()
    assert similarity == pytest.approx(0.9, abs=0.05) if depth > 3 else similarity < 0.9
    # It scatters with a variance of 5 layers / width at most (Hanin and Nica 2020): four deviations.
    assert abs(math.log(h.square().mean().item())) < 4 * math.sqrt(5 * depth / width)


def test_tailored_relu_equals_one_written_by_hand() -> None:
    model = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(6, 6), nn.ReLU())], nn.Linear(6, 3))
    setup, batch = remedied(model, flat(), "trelu")
    slope = tailored_slope(12)
    by_hand = nn.Sequential(
        *[
            m
            for _ in range(12)
            for m in (nn.Linear(6, 6), nn.Sequential(nn.LeakyReLU(slope), Times((1 + slope**2) ** -0.5)))
        ],
        nn.Linear(6, 3),
    )
    assert_same(setup, by_hand, model, batch)
    assert setup.changes == [f"relu -> trelu in 12 places, negative slope {slope:.3g}"]


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x
