from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from remedies.nets import Mlp, flat, remedied
from unstick.errors import NotApplicable


def optimizer_of(
    remedy: str, optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None
) -> torch.optim.Optimizer:
    setup, _ = remedied(Mlp([torch.tanh] * 3), flat(), remedy, optimizer=optimizer)
    return setup.make_optimizer(list(setup.model.parameters()))


def two_groups(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    groups = [{"params": parameters[:2], "lr": 0.5}, {"params": parameters[2:]}]
    return torch.optim.SGD(groups, lr=0.02, momentum=0.9)


@pytest.mark.parametrize(
    ("remedy", "kind", "settings"),
    [
        ("adam", torch.optim.Adam, {"lr": 1e-3, "eps": 1e-8, "weight_decay": 0}),
        ("adam(eps=1e-16)", torch.optim.Adam, {"lr": 1e-3, "eps": 1e-16}),
        ("adam(0.1)", torch.optim.Adam, {"lr": 0.1}),
        ("sgd", torch.optim.SGD, {"lr": 0.1, "momentum": 0.0}),
        ("sgd(lr=0.01, momentum=0.9)", torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    ],
)
def test_replaces_the_optimizer(remedy: str, kind: type, settings: dict[str, float]) -> None:
    made = optimizer_of(remedy, two_groups)
    assert type(made) is kind
    (group,) = made.param_groups
    assert {key: group[key] for key in settings} == settings
    assert len(group["params"]) == 8


@pytest.mark.parametrize(
    ("remedy", "rates"),
    [("lr(1e-3)", [1e-3, 1e-3]), ("lr(x10)", [5.0, 0.2]), ("lr(x0.1)", [0.05, 0.002]), ("sgd(lr=2)+lr(x0.5)", [1.0])],
)
def test_changes_the_learning_rate_of_each_group(remedy: str, rates: list[float]) -> None:
    made = optimizer_of(remedy, two_groups)
    assert [group["lr"] for group in made.param_groups] == pytest.approx(rates)
    assert made.param_groups[0]["momentum"] == (0.9 if remedy.startswith("lr") else 0.0)


def test_an_optimizer_without_learning_rate() -> None:
    class Still(torch.optim.Optimizer):
        def __init__(self, parameters: list[nn.Parameter]) -> None:
            super().__init__(parameters, {})

    with pytest.raises(NotApplicable, match="Still has no learning rate"):
        optimizer_of("lr(x10)", Still)


@pytest.mark.parametrize("loss_scale", [1.0, 1e6])
def test_clips_the_norm_of_the_whole_gradient(loss_scale: float) -> None:
    setup, batch = remedied(
        Mlp([torch.tanh] * 3), flat(), "sgd(lr=1)+clip(0.25)", loss=lambda out, y: loss_scale * out.square().mean()
    )
    parameters = list(setup.model.parameters())
    optimizer = setup.make_optimizer(parameters)
    setup.forward(batch).backward()
    before = [p.detach().clone() for p in parameters]
    norm = torch.stack([p.grad.norm() for p in parameters]).norm()
    optimizer.step()
    moved = torch.stack([(p.detach() - b).norm() for p, b in zip(parameters, before, strict=True)]).norm()
    assert moved.item() == pytest.approx(min(0.25, norm.item()), rel=1e-3)


def test_factors_multiply() -> None:
    assert optimizer_of("adam(lr=0.1)+lr(x10)+lr(x10)").param_groups[0]["lr"] == pytest.approx(10.0)


# -- the rate that depth asks for --------------------------------------------------------------------------------------


def line(depth: int, activation: Callable[[], nn.Module] = nn.Identity, bias: bool = False) -> nn.Sequential:
    """Orthogonal layers of 16 units, and a head."""
    layers = [m for _ in range(depth) for m in (nn.Linear(16, 16, bias=bias), activation())]
    net = nn.Sequential(*layers, nn.Linear(16, 3, bias=bias))
    for module in net:
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight)
    return net


def rate(net: nn.Module, remedy: str, optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> float:
    x = torch.randn(16, 16, generator=torch.Generator().manual_seed(6))
    setup, _ = remedied(net, x, remedy, optimizer=optimizer)
    before = [p.detach().clone() for p in setup.model.parameters()]
    made = setup.make_optimizer(list(setup.model.parameters()))
    assert all(torch.equal(p, b) and p.grad is None for p, b in zip(setup.model.parameters(), before, strict=True))
    assert not made.state  # the step that was measured left nothing
    return float(made.param_groups[0]["lr"])


def by_hand(net: nn.Sequential, step: Callable[[torch.Tensor], torch.Tensor], changes: float) -> float:
    """The factor, with norms from singular values: step(gradient) is the step at the case's own rate."""
    x = torch.randn(16, 16, generator=torch.Generator().manual_seed(6))
    torch.nn.functional.cross_entropy(net(x), torch.arange(16) % 3).backward()
    shares = [torch.linalg.matrix_norm(step(p.grad), 2).item() * changes for p in net.parameters()]
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if torch.tensor([1 + middle * s for s in shares]).prod() <= 2 else (low, middle)
    return low


def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1.0)


def test_a_step_changes_the_product_of_orthogonal_layers_by_its_own_size() -> None:
    torch.manual_seed(0)
    net = line(20)
    expected = by_hand(net, lambda g: g, 1.0)
    net.zero_grad()
    assert 0 < expected < 1
    assert rate(net, "lr(depth)", sgd) == pytest.approx(expected, rel=0.02)


def test_the_deeper_the_smaller_in_proportion() -> None:
    torch.manual_seed(0)
    rates = [rate(line(depth), "lr(depth)", lambda p: torch.optim.Adam(p, lr=0.1)) for depth in (20, 40, 80)]
    assert rates[0] / rates[1] == pytest.approx(2, rel=0.2)
    assert rates[1] / rates[2] == pytest.approx(2, rel=0.2)


def test_a_velocity_counts_for_all_the_steps_that_it_sums_up() -> None:
    torch.manual_seed(0)
    net = line(20)
    plain, heavy = (rate(net, f"sgd(lr=1, momentum={m})+lr(depth)", sgd) for m in (0, 0.9))
    assert plain / heavy == pytest.approx(10, rel=0.01)


def test_a_rate_that_suits_stays() -> None:
    setup, _ = remedied(line(2), torch.randn(16, 16), "lr(depth)", optimizer=lambda p: torch.optim.SGD(p, lr=1e-3))
    assert setup.make_optimizer(list(setup.model.parameters())).param_groups[0]["lr"] == 1e-3
    assert "learning rate kept" in setup.changes[0]


class Centred(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sigmoid() - 0.5


def test_a_mean_that_all_samples_share_makes_steps_larger() -> None:
    """Of sigmoid it is 0.5: the steps of a whole row add up on it. The same function without it is safer to train."""
    torch.manual_seed(0)
    start, _ = remedied(line(30, nn.Sigmoid, bias=True), torch.randn(64, 16), "init(critical)")
    centred = line(30, Centred, bias=True)
    centred.load_state_dict(start.model.state_dict())
    for layer in list(centred)[2::2]:
        layer.bias.data += 0.5 * layer.weight.data.sum(1)
    x = torch.randn(8, 16)
    torch.testing.assert_close(centred(x), start.model(x), atol=1e-4, rtol=0)
    rates = [rate(net, "lr(depth)", lambda p: torch.optim.Adam(p, lr=0.01)) for net in (start.model, centred)]
    assert rates[0] < 0.7 * rates[1] < 0.007


def test_an_optimizer_that_finds_its_own_steps() -> None:
    with pytest.raises(NotApplicable, match="LBFGS looks for the length of its steps itself"):
        optimizer_of("lr(depth)", torch.optim.LBFGS)


def test_a_first_step_that_is_no_number() -> None:
    model = Mlp([torch.tanh] * 3)
    with torch.no_grad():
        model.head.weight.fill_(1e38)
    setup, _ = remedied(model, flat(), "lr(depth)", optimizer=sgd)
    with pytest.raises(NotApplicable, match="not finite"):
        setup.make_optimizer(list(setup.model.parameters()))
