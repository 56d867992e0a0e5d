from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unstick.case import Case
from unstick.observation import Ends
from unstick.observe import observe

X = torch.randn(96, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(96) % 3


def ends_of(
    *end: nn.Module, outputs: int = 3, y: Tensor = LABELS, loss: Callable[..., Tensor] = F.cross_entropy, size: int = 32
) -> Ends:
    case = Case(lambda: nn.Sequential(nn.Linear(5, outputs), *end), (X, y), loss, batch_size=size)
    seen = observe(case, steps=1).ends
    assert seen is not None
    return seen


@pytest.mark.parametrize("size", [1, 32])
def test_the_best_that_a_softmax_can_do(size: int) -> None:
    seen = ends_of(nn.Softmax(1), size=size)
    assert seen.activation == "softmax"
    assert seen.losses == ("cross_entropy",)
    assert seen.free == pytest.approx(0.0, abs=1e-3)
    assert seen.within == pytest.approx(math.log(1 + 2 / math.e), abs=1e-3)


@pytest.mark.parametrize("size", [1, 4, 32])
def test_small_batches_are_taken_together(size: int) -> None:
    """A share of the targets is negative, and the loss of the best ReLU outputs is their mean square."""
    y = X[:, :1]
    seen = ends_of(nn.ReLU(), outputs=1, y=y, loss=F.mse_loss, size=size)
    assert seen.within is not None
    assert seen.within > 0.1 * y.clamp(max=0).square().mean().item()


@pytest.mark.parametrize(
    ("end", "axes"), [(nn.Softmax(1), (1,)), (nn.Softmax(0), (0,)), (nn.LogSoftmax(1), (1,)), (nn.LogSoftmax(0), (0,))]
)
def test_the_axes_of_distributions(end: nn.Module, axes: tuple[int, ...]) -> None:
    assert ends_of(end, size=64).outputs.distributions == axes


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("y", "loss", "stretched"),
    [
        (X[:, 0], F.mse_loss, True),
        (X[:, 0], F.l1_loss, True),
        (X[:, 0], lambda out, target: F.mse_loss(out.squeeze(1), target), False),
        (X[:, 0], lambda out, target: ((out.flatten() - target) ** 2).sum(), False),
        (X[:, :1], F.mse_loss, False),
        (LABELS, lambda out, target: ((out - target) ** 2).mean(), True),
        (torch.zeros(96).long(), F.cross_entropy, False),
    ],
)
def test_shapes_that_are_stretched(y: Tensor, loss: Callable[..., Tensor], stretched: bool) -> None:
    assert ends_of(outputs=1, y=y, loss=loss).broadcast is stretched
