"""Twelve healthy architectures, small enough to learn in 150 steps of a few milliseconds.

Each is `Sequential(body, head)`: the body ends in `width` features a sample, the head is one linear layer. So a fault
can be put between them, whatever the architecture. All hosts are our own; the data are scikit-learn's or drawn from a
fixed seed.
"""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from sklearn.datasets import load_digits, make_friedman1, make_gaussian_quantiles
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["classes", "binary", "numbers"]
Optimize = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Host:
    """A network with its data, ready to train.

    kind: what the targets are: classes (cross-entropy), binary (BCE with logits) or numbers (mean squared error).
    rate, optimizer, options: of the optimizer. scale: what the loss is multiplied by. stream: a function that makes the
    batches of one epoch from the data; None: random batches of `batch`. choose: which parameters the optimizer is
    given; None: all.
    """

    name: str
    kind: Kind
    width: int
    build: Callable[[], nn.Module]
    data: Callable[[], Pair]
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam
    rate: float = 3e-3
    options: tuple[tuple[str, Any], ...] = ()
    batch: int = 32
    scale: float = 1.0
    stream: Callable[[Pair, int], Iterable[Pair]] | None = None
    choose: Callable[[Tensor], bool] | None = None

    def objective(self, outputs: Tensor, targets: Tensor) -> Tensor:
        value = self.loss(outputs, targets)
        return value if self.scale == 1.0 else value * self.scale

    def optimize(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        held = [p for p in parameters if self.choose is None or self.choose(p)]
        return self.optimizer(held, lr=self.rate, **dict(self.options))

    def with_options(self, **more: Any) -> Host:
        return replace(self, options=tuple({**dict(self.options), **more}.items()))

    @property
    def half(self) -> str:
        """ "tune" or "held": the hosts in the order of their names, in turns."""
        return ("tune", "held")[sorted(HOSTS).index(self.name) % 2]


def network(body: nn.Module, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(body=body, head=nn.Linear(width, outputs)))


def dense(
    sizes: tuple[int, ...], activation: type[nn.Module], init: Callable[[Tensor], Any], norm: Any = None
) -> nn.Module:
    """A linear layer, perhaps a normalisation, and an activation for each pair of sizes; biases are zero."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out)
        init(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, *([norm(fan_out)] if norm else []), activation()]
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """Blocks x + W relu(V x)."""

    def __init__(self, inputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        return x


class Last(nn.Module):
    """The last state of a recurrent network."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.cell(x)[0]
        return states[:, -1]


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.feed(self.second(x))


class Encoder(nn.Module):
    """Two transformer blocks over the eight rows of a digit, averaged over the rows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(torch.randn(8, width) * 0.02)
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4), nn.LayerNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.embed(x) + self.position)
        return out.mean(1)


def convolutions(norm: type[nn.Module] | None) -> nn.Module:
    layers: list[nn.Module] = []
    for channels_in, channels_out in ((1, 8), (8, 16)):
        convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight)
        layers += [convolution, *([norm(channels_out)] if norm else []), nn.ReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten())


# -- data --------------------------------------------------------------------------------------------------------------


def standardised(x: Tensor) -> Tensor:
    deviation = x.std(0)
    return (x - x.mean(0)) / torch.where(deviation > 0, deviation, 1.0)


@functools.cache
def digits(shape: tuple[int, ...] = (64,)) -> Pair:
    pixels, labels = load_digits(return_X_y=True)
    x = standardised(torch.tensor(pixels, dtype=torch.float32))
    return x.reshape(-1, *shape), torch.tensor(labels)


@functools.cache
def pixels() -> Pair:
    """Digits, and themselves as the targets; pixels that never change are left out."""
    x, _ = digits()
    x = x[:, x.std(0) > 0.5]
    return x, x.clone()


@functools.cache
def shells(classes: int) -> Pair:
    """Concentric shells in four dimensions: no linear model tells them apart."""
    x, y = make_gaussian_quantiles(n_samples=1500, n_features=4, n_classes=classes, random_state=0)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


@functools.cache
def binary_shells() -> Pair:
    x, y = shells(2)
    return x, y.float()[:, None]


@functools.cache
def friedman() -> Pair:
    """Friedman's first function of ten inputs (Friedman 1991), standardised."""
    x, y = make_friedman1(n_samples=1500, n_features=10, noise=0.3, random_state=0)
    return standardised(torch.tensor(x, dtype=torch.float32)), standardised(torch.tensor(y, dtype=torch.float32))[
        :, None
    ]


@functools.cache
def rising() -> Pair:
    """Random sequences; whether their second half is larger on average than the first."""
    x = torch.randn(1500, 8, 4, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 4:].sum((1, 2)) > x[:, :4].sum((1, 2))).float()[:, None]


@functools.cache
def sums() -> Pair:
    """Random sequences and the standardised product of what two of their channels sum to, plus a third."""
    x = torch.randn(1500, 6, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tanh(x[..., 0].sum(1)) + 0.3 * x[..., 1].sum(1) * torch.sign(x[:, -1, 2])
    return x, standardised(y[:, None])


# -- hosts -------------------------------------------------------------------------------------------------------------

HE, GLOROT = nn.init.kaiming_normal_, nn.init.xavier_normal_
SGD, ADAMW = torch.optim.SGD, torch.optim.AdamW
MOMENTUM = (("momentum", 0.9),)


def _mlp() -> nn.Module:
    return network(dense((4, 32, 32), nn.ReLU, HE), 32, 3)


def _tanh() -> nn.Module:
    return network(dense((64, *[32] * 8), nn.Tanh, GLOROT), 32, 10)


def _sigmoid() -> nn.Module:
    return network(dense((64, 32, 32, 32), nn.Sigmoid, GLOROT, nn.BatchNorm1d), 32, 10)


def _regression() -> nn.Module:
    return network(dense((10, 48, 48), nn.ReLU, HE), 48, 1)


def _binary() -> nn.Module:
    return network(dense((4, 32, 32), nn.GELU, HE, nn.LayerNorm), 32, 1)


def _autoencoder() -> nn.Module:
    return network(dense((pixels()[0].shape[1], 48, 16, 48), nn.Tanh, GLOROT), 48, pixels()[0].shape[1])


def _cnn(norm: type[nn.Module] | None) -> nn.Module:
    return network(convolutions(norm), 64, 10)


def _residual() -> nn.Module:
    return network(Residual(10, 32, 3), 32, 1)


def _gru() -> nn.Module:
    return network(Last(nn.GRU(4, 24, batch_first=True)), 24, 1)


def _lstm() -> nn.Module:
    return network(Last(nn.LSTM(3, 32, batch_first=True)), 32, 1)


def _transformer() -> nn.Module:
    return network(Encoder(24), 24, 10)


ROWS, IMAGE = partial(digits, (8, 8)), partial(digits, (1, 8, 8))
CE, BCE, MSE = F.cross_entropy, F.binary_cross_entropy_with_logits, F.mse_loss

HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        Host("autoencoder", "numbers", 48, _autoencoder, pixels, MSE),
        Host("binary", "binary", 32, _binary, binary_shells, BCE, ADAMW, 1e-2),
        Host("cnn", "classes", 64, partial(_cnn, None), IMAGE, CE),
        Host("cnn-batchnorm", "classes", 64, partial(_cnn, nn.BatchNorm2d), IMAGE, CE, SGD, 0.05, MOMENTUM),
        Host("gru", "binary", 24, _gru, rising, BCE, rate=1e-2),
        Host("lstm", "numbers", 32, _lstm, sums, MSE, rate=1e-2),
        Host("mlp", "classes", 32, _mlp, partial(shells, 3), CE, rate=1e-2),
        Host("regression", "numbers", 48, _regression, friedman, MSE, SGD, 0.02, MOMENTUM),
        Host("residual", "numbers", 32, _residual, friedman, MSE),
        Host("sigmoid-batchnorm", "classes", 32, _sigmoid, digits, CE, rate=1e-2),
        Host("tanh", "classes", 32, _tanh, digits, CE),
        Host("transformer", "classes", 24, _transformer, ROWS, CE),
    )
}  # fmt: skip
