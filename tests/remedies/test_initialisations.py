from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from remedies.nets import Conv, Mlp, Unrolled, flat, images, remedied, series
from unstick.errors import NotApplicable

WIDTH = 300


def wide() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, WIDTH), nn.Sigmoid(), nn.Linear(WIDTH, WIDTH), nn.Sigmoid(), nn.Linear(WIDTH, 3))


def weight_and_bias(setup: Any) -> tuple[Tensor, Tensor]:
    return setup.model[2].weight.detach(), setup.model[2].bias.detach()


@pytest.mark.parametrize(
    ("remedy", "std"),
    [
        ("init(he)", math.sqrt(2 / WIDTH)),
        ("init(xavier)", math.sqrt(1 / WIDTH)),
        ("init(lecun)", math.sqrt(1 / WIDTH)),
        ("init(orthogonal)", 10.149 * math.sqrt(1 / WIDTH)),  # critical for sigmoid with zero biases
        ("init(normal, std=10)", 10.0),
        ("init(uniform, a=0.1)", 0.1 / math.sqrt(3)),
    ],
)
def test_the_standard_deviation_is_the_one_in_the_paper(remedy: str, std: float) -> None:
    setup, _ = remedied(wide(), flat(), remedy)
    weight, bias = weight_and_bias(setup)
    assert weight.std().item() == pytest.approx(std, rel=0.02)
    assert bool(bias.any()) == ("=" in remedy)  # those with a number leave the biases


def test_scale_multiplies_the_weights_and_leaves_the_biases() -> None:
    model = wide()
    setup, _ = remedied(model, flat(), "init(scale, factor=4)")
    weight, bias = weight_and_bias(setup)
    torch.testing.assert_close(weight, 4 * model[2].weight.detach())
    torch.testing.assert_close(bias, model[2].bias.detach())


@pytest.mark.parametrize(
    ("remedy", "square"), [("tanh+init(orthogonal)", 1.0), ("relu+init(orthogonal)", 2.0), ("gelu+init(lsuv)", None)]
)
def test_orthogonal_weights_multiply_lengths_by_the_critical_gain(remedy: str, square: float | None) -> None:
    """Of the activation that they read, as the remedies before left it."""
    setup, _ = remedied(wide(), flat(), remedy)
    weight, _ = weight_and_bias(setup)
    product = weight @ weight.T
    expected = product[0, 0].item() if square is None else square
    torch.testing.assert_close(product, expected * torch.eye(WIDTH), atol=2e-5 * expected, rtol=0)


def test_orthogonal_convolutions_pass_only_the_middle_of_their_kernel() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2), nn.Flatten(), nn.Linear(32, 3),
    )  # fmt: skip
    setup, _ = remedied(model, images(), "init(orthogonal)")
    weight = setup.model[2].weight.detach()
    middle = weight[:, :, 1, 1]
    torch.testing.assert_close(middle @ middle.T, 2 * torch.eye(8), atol=1e-5, rtol=0)
    assert weight.square().sum().item() == pytest.approx(middle.square().sum().item())
    assert setup.model[4].weight.detach()[:, :, 0, 0].any()  # a stride would throw three of four places away


def test_same_random_state_same_weights() -> None:
    model = wide()
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(weight_and_bias(remedied(model, flat(), "init(he)")[0])[0])
    assert torch.equal(*drawn)


class Multiplied(nn.Module):
    """`x @ w` stores weights as (inputs, outputs); its fan-in is the first axis."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(6, WIDTH)), nn.Parameter(torch.ones(WIDTH))
        self.w2 = nn.Parameter(torch.randn(3, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x @ self.w1 + self.b1) @ self.w2.T


def test_weights_multiplied_by_hand() -> None:
    setup, _ = remedied(Multiplied(), flat(), "init(he)")
    assert setup.model.w1.std().item() == pytest.approx(math.sqrt(2 / 6), rel=0.1)
    assert setup.model.w2.std().item() == pytest.approx(math.sqrt(2 / WIDTH), rel=0.1)
    assert not setup.model.b1.any()


def test_convolutions_and_their_fan_in() -> None:
    model = nn.Sequential(nn.Conv2d(2, WIDTH, 3), nn.ReLU(), nn.Conv2d(WIDTH, 8, 3), nn.Flatten(), nn.Linear(8, 3))
    setup, _ = remedied(model, images(), "init(he)")
    assert setup.model[2].weight.std().item() == pytest.approx(math.sqrt(2 / (WIDTH * 9)), rel=0.05)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn, self.head = kind(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize(("kind", "gates"), [(nn.GRU, 3), (nn.LSTM, 4), (nn.RNN, 1)])
def test_every_gate_of_a_recurrent_layer_is_orthogonal_by_itself(kind: type[nn.RNNBase], gates: int) -> None:
    setup, _ = remedied(Recurrent(kind), series(), "init(orthogonal)")
    blocks = setup.model.rnn.weight_hh_l0.detach().chunk(gates)
    for block in blocks:
        torch.testing.assert_close(block @ block.T, torch.eye(8), atol=1e-5, rtol=0)
    assert not setup.model.rnn.bias_ih_l0.any()
    assert not setup.model.rnn.bias_hh_l0.any()


def test_all_weights_of_attention() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.attention(x, x, x)[0].mean(1))

    setup, _ = remedied(Attending(), series(), "init(orthogonal)")
    attention = setup.model.attention
    for block in (*attention.in_proj_weight.detach().chunk(3), attention.out_proj.weight.detach()):
        torch.testing.assert_close(block @ block.T, torch.eye(6), atol=1e-5, rtol=0)


def test_an_unrolled_cell() -> None:
    setup, _ = remedied(Unrolled(torch.tanh), series(), "init(orthogonal)")
    across = setup.model.across.weight.detach()
    torch.testing.assert_close(across @ across.T, torch.eye(5), atol=1e-5, rtol=0)


def test_embeddings_and_frozen_weights_stay() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(10, 6)
            self.frozen, self.free = nn.Linear(6, 6).requires_grad_(False), nn.Linear(6, 3)

        def forward(self, ids: Tensor) -> Tensor:
            return self.free(torch.tanh(self.frozen(self.words(ids).mean(1))))

    model = Words()
    setup, _ = remedied(model, torch.randint(0, 10, (16, 4)), "init(normal, std=3)")
    assert torch.equal(setup.model.words.weight, model.words.weight)
    assert torch.equal(setup.model.frozen.weight, model.frozen.weight)
    assert not torch.equal(setup.model.free.weight, model.free.weight)


@pytest.mark.parametrize("case", ["linear", "convolution", "by hand", "series"])
def test_lsuv_gives_every_layer_an_output_of_variance_one(case: str) -> None:
    model, x = {
        "linear": (Mlp([torch.sigmoid] * 3), flat()),
        "convolution": (Conv([torch.sigmoid] * 2), images()),
        "by hand": (Multiplied(), flat()),
        "series": (Mlp([torch.sigmoid] * 3), series()),
    }[case]
    setup, batch = remedied(model, x, "init(lsuv)")
    outputs: list[Tensor] = []
    for module in setup.model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, out: outputs.append(out))
    logits = setup.model(batch[0])
    for out in [logits, *outputs]:
        assert out.std().item() == pytest.approx(1.0, rel=1e-3)


def test_lsuv_measures_the_network_as_the_remedies_before_it_made_it() -> None:
    setup, (x, _) = remedied(Mlp([torch.sigmoid] * 3), 5 * flat(), "standardize+relu+init(lsuv)")
    with setup.active():
        assert setup.model(x).std().item() == pytest.approx(1.0, rel=1e-3)


def test_lsuv_leaves_buffers_and_random_state() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 3))
    torch.manual_seed(0)
    setup, _ = remedied(model, flat(), "init(lsuv)")
    after_lsuv = torch.rand(1)
    torch.manual_seed(0)
    remedied(model, flat(), "init(orthogonal)")
    assert torch.equal(after_lsuv, torch.rand(1))
    torch.testing.assert_close(dict(setup.model.named_buffers()), dict(model.named_buffers()), rtol=0, atol=0)


def test_says_why_it_does_not_apply() -> None:
    class Bias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return x[:, :3] + self.bias

    with pytest.raises(NotApplicable, match="no trainable weights"):
        remedied(Bias(), flat(), "init(he)")


@pytest.mark.parametrize("case", ["linear", "convolution", "by hand", "series"])
def test_data_gives_every_unit_mean_zero_and_variance_one(case: str) -> None:
    model, x = {
        "linear": (Mlp([torch.sigmoid] * 3), flat(64)),
        "convolution": (Conv([torch.sigmoid] * 2), images(64)),
        "by hand": (Multiplied(), flat(64)),
        "series": (Mlp([torch.sigmoid] * 3), series(64)),
    }[case]
    setup, batch = remedied(model, x, "init(data)")
    outputs: list[Tensor] = []
    for module in setup.model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(
                lambda m, _i, out: outputs.append(out.movedim(1, -1) if isinstance(m, nn.Conv2d) else out)
            )
    logits = setup.model(batch[0])
    for out in [logits, *outputs]:
        units = out.reshape(-1, out.shape[-1])
        torch.testing.assert_close(units.std(0), torch.ones(units.shape[1]), atol=1e-3, rtol=0)
        if case != "by hand":  # whose last layer has no bias
            torch.testing.assert_close(units.mean(0), torch.zeros(units.shape[1]), atol=1e-4, rtol=0)


def test_data_leaves_a_unit_that_never_changes() -> None:
    setup, _ = remedied(Mlp([torch.sigmoid] * 3), torch.zeros(16, 6), "init(data)")
    for p in setup.model.parameters():
        assert p.isfinite().all()


class Experts(nn.Module):
    """Four members, each with a matrix (inputs, outputs) of its own; flat inputs (n, 6)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 200), nn.Linear(100, 3)
        self.experts = nn.Parameter(scale * torch.randn(4, 200, 100))
        self.bias = nn.Parameter(torch.zeros(100))

    def forward(self, x: Tensor) -> Tensor:
        given = self.first(x).sigmoid().expand(4, -1, -1)
        return self.last((torch.bmm(given, self.experts) + self.bias).tanh().mean(0))


@pytest.mark.parametrize(
    ("remedy", "variance"), [("init(he)", 2 / 200), ("init(xavier)", 2 / 300), ("init(lsuv)", None)]
)
def test_experts_are_matrices_of_their_own(remedy: str, variance: float | None) -> None:
    setup, (x, _) = remedied(Experts(7.0), flat(), remedy)
    experts = setup.model.experts.detach()
    assert len({round(e.sum().item(), 3) for e in experts}) == 4
    if variance is not None:
        for expert in experts:
            assert expert.var().item() == pytest.approx(variance, rel=0.05)
    else:
        out = torch.bmm(setup.model.first(x).sigmoid().expand(4, -1, -1), experts)
        assert out.std().item() == pytest.approx(1.0, rel=0.01)


def test_experts_get_a_critical_start() -> None:
    setup, _ = remedied(Experts(0.01), flat(), "init(critical)")
    experts = setup.model.experts.detach()
    first = experts[0].T @ experts[0]
    torch.testing.assert_close(first, first[0, 0] * torch.eye(100), atol=1e-4 * first[0, 0].item(), rtol=0)
