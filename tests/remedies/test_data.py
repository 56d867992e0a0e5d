from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from remedies.nets import Mlp, flat, images, remedied, series
from unstick.errors import NotApplicable


def entering(model: nn.Module, *args: Tensor) -> list[Tensor]:
    """What the first layer is given."""
    seen: list[Tensor] = []
    first = next(m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv1d))
    first.register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0]))
    model(*args)
    return seen


@pytest.mark.parametrize(
    ("model", "x", "features_last"),
    [
        (Mlp([torch.tanh] * 3), 3 + 100 * flat(32), lambda t: t),
        (Mlp([torch.tanh] * 3), 3 + 100 * series(32), lambda t: t),
        (
            nn.Sequential(nn.Conv2d(2, 3, 5), nn.Tanh(), nn.Flatten(), nn.Linear(3, 3)),
            3 + 100 * images(32),
            lambda t: t.movedim(1, -1),
        ),
        (
            nn.Sequential(nn.Conv1d(4, 3, 6), nn.Tanh(), nn.Flatten(), nn.Linear(3, 3)),
            3 + 100 * series(32),
            lambda t: t.movedim(1, -1),
        ),
    ],
    ids=["columns", "series", "image channels", "channels over time"],
)
def test_features_get_mean_zero_and_variance_one(
    model: nn.Module, x: Tensor, features_last: Callable[[Tensor], Tensor]
) -> None:
    setup, (x, _) = remedied(model, x, "standardize")
    (seen,) = entering(setup.model, x)
    rows = features_last(seen).flatten(0, -2)
    torch.testing.assert_close(rows.mean(0), torch.zeros(rows.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.std(0, correction=0), torch.ones(rows.shape[1]), atol=1e-5, rtol=0)


def test_statistics_are_those_of_the_first_batches_and_stay() -> None:
    x = 3 + 100 * flat(32)
    setup, _ = remedied(Mlp([torch.tanh] * 3), x, "standardize")
    (seen,) = entering(setup.model, x[:5])
    torch.testing.assert_close(seen, ((x - x.mean(0)) / x.std(0, correction=0))[:5], atol=1e-5, rtol=1e-5)


def test_constant_features_are_centred_and_finite() -> None:
    x = flat(32)
    x[:, 0], x[:, 1] = 0.1, 1e8
    setup, (x, _) = remedied(Mlp([torch.tanh] * 3), x, "standardize")
    (seen,) = entering(setup.model, x)
    assert bool(seen.isfinite().all())
    assert seen[:, :2].abs().max() < 1e-3


def test_keywords_nested_inputs_and_integers() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.layer = nn.Embedding(5, 6), nn.Linear(6, 3)

        def forward(self, ids: Tensor, more: dict[str, list[Tensor]]) -> Tensor:
            assert ids.dtype == torch.int64
            return self.layer(torch.tanh(self.words(ids)) + more["x"][0])

    x = 7 + 50 * flat(16)
    ids = torch.arange(16) % 5

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(ids, more={"x": [batch[0]]}), batch[1])

    model = Mixed()
    setup, batch = remedied(model, x, "standardize", loss=None, step=step)
    standard = (batch[0] - x.mean(0)) / x.std(0, correction=0)
    torch.testing.assert_close(setup.forward(batch), step(model, (standard, batch[1])), atol=1e-5, rtol=1e-5)


def test_nothing_else_is_disturbed() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 3))
    torch.manual_seed(0)
    setup, _ = remedied(model, flat(), "standardize")
    drawn = torch.rand(1)
    torch.manual_seed(0)
    remedied(model, flat(), "lr(x10)")
    assert torch.equal(drawn, torch.rand(1))
    torch.testing.assert_close(dict(setup.model.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    assert len(setup.model._forward_pre_hooks) == 1
    assert not model._forward_pre_hooks


def test_says_why_it_does_not_apply() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(5, 6), nn.Linear(6, 3)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.words(ids))

    with pytest.raises(NotApplicable, match="no floating-point tensor"):
        remedied(Words(), torch.arange(16) % 5, "standardize")
