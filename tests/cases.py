"""Networks, sick and well, small enough to train in a test. Each function returns a fresh case."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from unstick.case import Case

Builder = Callable[[], Case]


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits, standardised per feature; constant features are zero."""
    pixels, labels = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32)
    deviation = x.std(0)
    return (x - x.mean(0)) / torch.where(deviation > 0, deviation, 1), torch.tensor(labels)


def dense(
    depth: int,
    activation: Callable[[], nn.Module],
    init: Callable[[Tensor], Any] | None = None,
    *,
    width: int = 64,
    norm: Callable[[int], nn.Module] | None = None,
    bias: Callable[[Tensor], Any] = nn.init.zeros_,
    inputs: int = 64,
    outputs: int = 10,
) -> nn.Sequential:
    """`depth` hidden layers; PyTorch's default initialisation unless `init` is given."""
    layers: list[nn.Module] = []
    for k in range(depth + 1):
        linear = nn.Linear(inputs if k == 0 else width, outputs if k == depth else width)
        if init is not None:
            init(linear.weight)
            bias(linear.bias)
        layers.append(linear)
        if k < depth:
            layers += [norm(width)] if norm else []
            layers.append(activation())
    return nn.Sequential(*layers)


def digits_case(model: Callable[[], nn.Module], name: str, **options: Any) -> Case:
    return Case(model, digits(), F.cross_entropy, name=name, **options)


def sgd(rate: float, **options: Any) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, **options)


def adam(rate: float, **options: Any) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, lr=rate, **options)


# -- well --------------------------------------------------------------------------------------------------------------


def relu_he() -> Case:
    return digits_case(lambda: dense(3, nn.ReLU, nn.init.kaiming_normal_), "relu-he-3")


def tanh_glorot() -> Case:
    return digits_case(lambda: dense(20, nn.Tanh, nn.init.xavier_normal_), "tanh-glorot-20")


def sigmoid_batchnorm() -> Case:
    return digits_case(lambda: dense(12, nn.Sigmoid, norm=nn.BatchNorm1d), "sigmoid-batchnorm-12")


def sigmoid_shallow() -> Case:
    return digits_case(lambda: dense(1, nn.Sigmoid), "sigmoid-1")


class Transformer(nn.Module):
    """A pre-norm encoder that reads the rows of a digit as eight tokens."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.position = nn.Parameter(torch.randn(8, 32) * 0.02)
        block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.view(-1, 8, 8)) + self.position).mean(1))


def transformer() -> Case:
    return digits_case(Transformer, "transformer-pre-norm")


class Recurrent(nn.Module):
    """A GRU that reads the rows of a digit."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 48, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x.view(-1, 8, 8))[0][:, -1])


def gru() -> Case:
    return digits_case(Recurrent, "gru")


class Convolutional(nn.Module):
    """Two convolutions, written with functional calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 16, 3, padding=1)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first(x.view(-1, 1, 8, 8))), 2)
        x = F.max_pool2d(torch.relu_(self.second(x)), 2)
        return self.head(x.flatten(1))


def convolutional() -> Case:
    return digits_case(Convolutional, "convolutional")


@functools.cache
def _converged() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = dense(2, nn.ReLU, nn.init.kaiming_normal_)
        x, y = digits()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(400):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


def converged() -> Case:
    """A model object that has learned already: small gradients that are no problem."""
    return Case(_converged(), digits(), F.cross_entropy, name="converged")


WELL: tuple[Builder, ...] = (
    relu_he, tanh_glorot, sigmoid_batchnorm, sigmoid_shallow, transformer, gru, convolutional, converged,
)  # fmt: skip


# -- sick --------------------------------------------------------------------------------------------------------------


def kaylee_like(depth: int = 40, activation: Callable[[], nn.Module] = nn.Sigmoid) -> Case:
    return digits_case(lambda: dense(depth, activation, nn.init.kaiming_normal_, bias=nn.init.normal_), f"deep-{depth}")


def sigmoid_default() -> Case:
    return digits_case(lambda: dense(15, nn.Sigmoid), "sigmoid-default-15")


def relu_default() -> Case:
    return digits_case(lambda: dense(20, nn.ReLU), "relu-default-20", optimizer=sgd(0.1))


def tanh_large() -> Case:
    return digits_case(lambda: dense(20, nn.Tanh, lambda w: nn.init.normal_(w, std=1.0)), "tanh-large-20")


def constant_weights() -> Case:
    return digits_case(lambda: dense(2, nn.Tanh, lambda w: nn.init.constant_(w, 0.05)), "constant-weights")


def rate_too_high() -> Case:
    return digits_case(lambda: dense(3, nn.ReLU, nn.init.kaiming_normal_), "rate-too-high", optimizer=adam(1.0))


def rate_too_low() -> Case:
    return digits_case(lambda: dense(3, nn.ReLU, nn.init.kaiming_normal_), "rate-too-low", optimizer=sgd(1e-7))


def unscaled_inputs() -> Case:
    x, y = digits()
    return Case(lambda: dense(4, nn.Sigmoid), (x * 1000 + 1e4, y), F.cross_entropy, name="unscaled-inputs")


def dead_units() -> Case:
    def build() -> nn.Module:
        model = dense(3, nn.ReLU, nn.init.kaiming_normal_)
        nn.init.constant_(model[2].bias, -100.0)
        return model

    return digits_case(build, "dead-units")


def diverging() -> Case:
    return digits_case(lambda: dense(3, nn.ReLU, nn.init.kaiming_normal_), "diverging", optimizer=sgd(1e4))
