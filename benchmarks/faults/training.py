"""Losses and optimizers that behave as Keras' do: probabilities are clipped, and the defaults are Keras'.

One difference is left: Keras' Adam adds its epsilon before the bias correction of the second moment, torch's after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EPSILON = 1e-7
"""What Keras clips probabilities with, and adds to Adam's and RMSprop's root."""

# -- losses ------------------------------------------------------------------------------------------------------------


def categorical_crossentropy(p: Tensor, y: Tensor) -> Tensor:
    """(n, k) probabilities, which are divided by their sum as in Keras, and one-hot targets."""
    p = (p / p.sum(-1, keepdim=True)).clamp(EPSILON, 1 - EPSILON)
    return -(y * p.log()).sum(-1).mean()


def binary_crossentropy(p: Tensor, y: Tensor) -> Tensor:
    p = p.clamp(EPSILON, 1 - EPSILON)
    return -(y * (p + EPSILON).log() + (1 - y) * (1 - p + EPSILON).log()).mean()


def mse(p: Tensor, y: Tensor) -> Tensor:
    return ((p - y) ** 2).mean()


def sum_of_squares(p: Tensor, y: Tensor) -> Tensor:
    return ((p - y) ** 2).sum()


def poisson(p: Tensor, y: Tensor) -> Tensor:
    return (p - y * (p + EPSILON).log()).mean()


def softmax_crossentropy(z: Tensor, y: Tensor) -> Tensor:
    """(n, k) logits and one-hot targets."""
    return nn.functional.cross_entropy(z, y)


def summed_softmax_crossentropy(z: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(z, y, reduction="sum")


def plain_log_loss(p: Tensor, y: Tensor) -> Tensor:
    """Written by hand and not clipped: log 0 is minus infinity, and 0 times that is NaN."""
    return -(y * p.log()).sum(-1).mean()


def plain_binary_log_loss(p: Tensor, y: Tensor) -> Tensor:
    return -(y * p.log() + (1 - y) * (1 - p).log()).sum(-1).mean()


def whole_number_crossentropy(p: Tensor, y: Tensor) -> Tensor:
    """Sparse categorical cross-entropy, which makes whole numbers of its targets: y / 255 becomes class 0."""
    p = (p / p.sum(-1, keepdim=True)).clamp(EPSILON, 1 - EPSILON)
    return nn.functional.nll_loss(p.log(), y.reshape(-1).long())


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    f.__name__: f
    for f in (
        categorical_crossentropy,
        binary_crossentropy,
        mse,
        sum_of_squares,
        poisson,
        softmax_crossentropy,
        summed_softmax_crossentropy,
        plain_log_loss,
        plain_binary_log_loss,
        whole_number_crossentropy,
    )
}

# -- optimizers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Optimizer:
    """l2: the factor of a penalty l2 * sum(w²) on the kernels that have `l2_axes` axes (the last one left out where
    `l2_but_last`). last: how many of the last parameters are given to the optimizer; 0 means all."""

    name: str
    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    eps: float = EPSILON
    l2: float = 0.0
    l2_axes: tuple[int, ...] = (2, 3, 4)
    l2_but_last: bool = False
    last: int = 0

    def __call__(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        groups = self._groups(parameters[-self.last :])
        match self.name:
            case "adam":
                return torch.optim.Adam(groups, lr=self.lr, eps=self.eps)
            case "rmsprop":
                return torch.optim.RMSprop(groups, lr=self.lr, alpha=0.9, eps=self.eps)
            case "sgd":
                return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)
        raise ValueError(f"no optimizer {self.name!r}")

    def _groups(self, parameters: list[nn.Parameter]) -> list[dict[str, object]]:
        """A penalty l2 * w² adds 2 * l2 * w to the gradient, and so does torch's weight_decay."""
        kernels = [p for p in parameters if p.dim() in self.l2_axes]
        decayed = {id(p) for p in (kernels[:-1] if self.l2_but_last else kernels)} if self.l2 else set()
        kept = [p for p in parameters if id(p) not in decayed]
        groups: list[dict[str, object]] = [{"params": kept}]
        if decayed:
            groups.append({"params": [p for p in parameters if id(p) in decayed], "weight_decay": 2 * self.l2})
        return groups


def adam(lr: float = 0.001, eps: float = EPSILON, **more: object) -> Optimizer:
    return Optimizer("adam", lr, eps=eps, **more)  # type: ignore[arg-type]


def rmsprop(lr: float = 0.001) -> Optimizer:
    return Optimizer("rmsprop", lr)


def sgd(lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False, **more: object) -> Optimizer:
    return Optimizer("sgd", lr, momentum, nesterov, **more)  # type: ignore[arg-type]


def nesterov(lr: float, momentum: float = 0.9) -> Optimizer:
    return Optimizer("sgd", lr, momentum, nesterov=True)
