from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from remedies.nets import Unrolled, flat, images, remedied, series
from unstick.errors import NotApplicable
from unstick.observe import observe
from unstick.remedies import parse
from unstick.remedies.critical import SLOPE, Reads, starts
from unstick.theory import function

WIDTH = 64


def data(n: int = 256) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(4))


def deep(activation: nn.Module, depth: int = 30) -> nn.Sequential:
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(WIDTH, WIDTH), activation)]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 3))


def linear(setup: object) -> list[nn.Linear]:
    return [m for m in setup.model if isinstance(m, nn.Linear)]  # type: ignore[attr-defined]


def gradients(model: nn.Sequential, x: Tensor) -> list[float]:
    """Norms behind each hidden layer's weights, for a gradient of random numbers behind the last of them."""
    h, behind = x, []
    for module in model[:-2]:
        h = module(h)
        if isinstance(module, nn.Linear):
            h = h.detach().requires_grad_() if not behind else h
            h.retain_grad()
            behind.append(h)
    h.backward(torch.randn(h.shape, generator=torch.Generator().manual_seed(5)))
    return [b.grad.norm().item() for b in behind]  # type: ignore[union-attr]


ACTIVATIONS = [nn.Sigmoid(), nn.Tanh(), nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.ELU(), nn.LeakyReLU(0.3)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_the_gradient_keeps_its_norm_through_thirty_layers(activation: nn.Module) -> None:
    x = data()
    setup, _ = remedied(deep(activation), x, "init(critical)")
    norms = gradients(setup.model, x)
    # Kinked ones scatter at 64 units: ReLU with He by exp(±0.75) here (Hanin and Nica 2020), less if orthogonal.
    off = 2.1 if "ReLU" in type(activation).__name__ else 1.5
    assert 1 / off < norms[0] / norms[-1] < off
    assert 1 / off < setup.model(x).square().mean().sqrt().item() < off


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_samples_stay_apart(activation: nn.Module) -> None:
    """Of what comes out, most differs between samples; for ReLU and its like, which collapse slowly, some."""
    x = data()
    setup, _ = remedied(deep(activation), x, "init(critical)")
    out = setup.model[:-1](x)
    between = out.var(0).sum() / out.var(correction=0).mul(out.shape[1])
    assert between > (0.02 if "ReLU" in type(activation).__name__ else 0.5)


def test_sigmoid_is_a_tanh_network_at_its_critical_point() -> None:
    """With h = 2 u and sigmoid(h) = (1 + tanh(u)) / 2: twice what goes in, 4 times what lies between, b = -W/2."""
    x = data()
    torch.manual_seed(0)
    sigmoid, _ = remedied(deep(nn.Sigmoid()), x, "init(critical)")
    torch.manual_seed(0)
    tanh, _ = remedied(deep(nn.Tanh()), x, "init(critical)")
    for s in linear(sigmoid)[1:]:
        torch.testing.assert_close(s.bias, -0.5 * s.weight.sum(1))
    torch.testing.assert_close(sigmoid.model(x), tanh.model(x), atol=0.05, rtol=0.0)


def test_weights_are_orthogonal_and_their_variance_is_that_of_the_fan_in() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, 24), nn.Tanh(), nn.Linear(24, 48), nn.Tanh(), nn.Linear(48, 3))
    x = data(4096)
    setup, _ = remedied(model, x, "init(critical)")
    wide = setup.model[2].weight.detach()
    product = wide.T @ wide
    torch.testing.assert_close(product, product[0, 0] * torch.eye(24), atol=1e-5, rtol=0)
    squared_slopes = (1 - setup.model[:2](x).square()).square().mean().item()
    assert wide.square().mean().item() * 24 == pytest.approx(1 / squared_slopes, rel=0.02)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_first_weights_go_by_the_data(scale: float) -> None:
    x = scale * (data() + 2.0)
    setup, _ = remedied(deep(nn.Tanh(), 5), x, "init(critical)")
    first = setup.model[0](x)
    assert first.square().mean().item() == pytest.approx(starts_of("tanh", 5)["0"].q, rel=0.05)


def test_goes_by_the_network_as_the_remedies_before_it_left_it() -> None:
    setup, _ = remedied(deep(nn.Sigmoid(), 5), 50 * data(), "standardize+relu+init(critical)")
    gains = [m.weight.detach().square().sum().sqrt().item() / math.sqrt(WIDTH) for m in linear(setup)[:-1]]
    assert gains == pytest.approx([1.0, *[math.sqrt(2.0)] * 4], rel=0.02)
    assert all(not m.bias.any() for m in linear(setup))


def starts_of(name: str, depth: int, largest: float = 1.0) -> dict[str, object]:
    f = function(name)
    read = [Reads("0", None), *(Reads(str(i), str(i - 1), f) for i in range(1, depth + 1))]
    return starts(read, frozenset(r.layer for r in read), largest)  # type: ignore[return-value]


@pytest.mark.parametrize("depth", [100, 1000])
def test_the_slope_of_the_correlation_map_is_bounded(depth: int) -> None:
    """For tanh, q falls by 4/3 q³ a layer: 1/q_L² = 1/q_1² + 8/3 (L - 1), which gives q_1."""
    plan = starts_of("tanh", depth)
    first, last = plan["0"].q, plan[str(depth - 1)].q
    assert first / last == pytest.approx(SLOPE, rel=0.02)
    assert first == pytest.approx(math.sqrt((SLOPE**2 - 1) * 3 / 8 / (depth - 1)), rel=0.2)


def test_large_samples_of_a_bent_activation_do_not_run_away() -> None:
    x = data()
    x[0] *= 5.0
    setup, _ = remedied(deep(nn.GELU(), 50), x, "init(critical)")
    first, last = setup.model[0](x)[0], setup.model[:-2](x)[0]
    assert last.square().mean() < 2 * first.square().mean()
    careless = starts_of("gelu", 50)
    assert starts_of("gelu", 50, largest=25.0)["0"].q < 0.1 * careless["0"].q


def test_convolutions_pass_only_the_middle_of_their_kernel() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.Sigmoid(), nn.Conv2d(8, 8, 3, padding=1), nn.Sigmoid(),
        nn.Conv2d(8, 4, 3, padding=1), nn.Flatten(), nn.Linear(100, 3),
    )  # fmt: skip
    setup, (x, _) = remedied(model, images(64), "init(critical)")
    weight, fewer = setup.model[2].weight.detach(), setup.model[4].weight.detach()
    assert weight.square().sum().item() == pytest.approx(weight[:, :, 1, 1].square().sum().item())
    assert fewer[:, :, 0, 0].any()
    assert setup.model[:3](x).mean().abs() < 0.1  # the biases centre, at the borders too


def test_an_unrolled_cell_goes_by_its_own_activation() -> None:
    setup, _ = remedied(Unrolled(torch.sigmoid), series(), "init(critical)")
    across = setup.model.across.weight.detach()
    product = across @ across.T
    torch.testing.assert_close(product, product[0, 0] * torch.eye(5), atol=1e-4, rtol=0)
    assert 4.0 <= math.sqrt(product[0, 0].item()) < 5.0


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def test_gates_that_cannot_be_seen_get_orthogonal_weights() -> None:
    setup, _ = remedied(Gru(), series(), "init(critical)")
    for block in setup.model.rnn.weight_hh_l0.detach().chunk(3):
        torch.testing.assert_close(block @ block.T, torch.eye(8), atol=1e-5, rtol=0)


def test_what_follows_a_normalisation_reads_variance_one() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Tanh(),
                          nn.Linear(WIDTH, 3))  # fmt: skip
    setup, (x, _) = remedied(model, data(), "init(critical)")
    q = setup.model[:4](x).square().mean().item()
    assert q == pytest.approx(setup.model[:1](x).square().mean().item(), rel=0.1)


@pytest.mark.parametrize("shrink", [F.softshrink, F.tanhshrink])
def test_says_why_it_does_not_apply(shrink: object) -> None:
    class Shrinking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(shrink(self.one(x)))  # type: ignore[operator]

    with pytest.raises(NotApplicable, match="shrink is flat at zero"):
        remedied(Shrinking(), flat(), "init(critical)")


def test_changes_nothing_where_it_does_not_apply() -> None:
    class Random(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(F.rrelu(self.one(x)))

    with pytest.raises(NotApplicable, match="what is critical for rrelu is not known"):
        remedied(Random(), flat(), "init(critical)")


def test_words() -> None:
    setup, _ = remedied(deep(nn.Sigmoid(), 3), data(), "init(critical)")
    assert setup.changes == [
        "init(critical) on 4 weight tensors: orthogonal matrices, gain 4.7 to 4.72 behind sigmoid, biases that centre "
        "what 4 of 4 layers read, pre-activations of variance 0.937 to 1, outputs of variance 1"
    ]


@pytest.mark.parametrize("remedy", ["init(critical)+lr(depth)", "init(data)"])
def test_twenty_layers_of_sigmoid_learn(remedy: str) -> None:
    case = cases.digits_case(lambda: cases.dense(20, nn.Sigmoid), "sigmoid-20")
    before, after = (observe(case, remedy=r, steps=100).learning for r in (None, parse(remedy)))
    assert not before.learns
    assert after.learns
    assert after.final_loss < 1
