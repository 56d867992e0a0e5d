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
