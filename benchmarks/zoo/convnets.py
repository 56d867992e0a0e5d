"""Convolutional classifiers, in plain torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.zoo.activations import he
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.mlps import Residual
from benchmarks.zoo.tasks import adam, digit_images, sgd
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Convolutional networks")

Norm = Callable[[int], nn.Module]


def conv(inputs: int, outputs: int, size: int = 3, **options: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)
    he(layer.weight)
    return layer


def classifier(*body: nn.Module, channels: int, classes: int = 10) -> nn.Module:
    """A body, averaged over places, and a linear head."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def on_digits(build: Callable[[], nn.Module], rate: float = 3e-3) -> Case:
    return Case(build, digit_images(), F.cross_entropy, optimizer=adam(rate), batch_size=32)


@ZOO.add
def lenet() -> Case:
    """convolutions, tanh, average pooling and dense layers."""

    def build() -> nn.Module:
        return nn.Sequential(
            conv(1, 6), nn.Tanh(), nn.AvgPool2d(2), conv(6, 12), nn.Tanh(), nn.Flatten(), nn.Linear(192, 32), nn.Tanh(),
            nn.Linear(32, 10),
        )  # fmt: skip

    return on_digits(build)


def _plain(norm: Norm | None) -> nn.Module:
    body: list[nn.Module] = []
    for inputs, outputs in ((1, 8), (8, 16), (16, 16), (16, 32)):
        body += [conv(inputs, outputs), *([norm(outputs)] if norm else []), nn.ReLU()]
    body.insert(len(body) // 2, nn.MaxPool2d(2))
    return classifier(*body, channels=32)


@ZOO.add
def convnet() -> Case:
    """four convolutions, no normalisation."""
    return on_digits(lambda: _plain(None))


@ZOO.add
def convnet_batchnorm() -> Case:
    """convolutions with batch normalisation, momentum."""
    model = lambda: _plain(nn.BatchNorm2d)  # noqa: E731
    return Case(
        model, digit_images(), F.cross_entropy, optimizer=sgd(0.05, momentum=0.9, weight_decay=5e-4), batch_size=32
    )


@ZOO.add
def convnet_groupnorm() -> Case:
    """convolutions with group normalisation."""
    return on_digits(lambda: _plain(lambda c: nn.GroupNorm(4, c)))


@ZOO.add
def convnet_instancenorm() -> Case:
    """convolutions with instance normalisation."""
    return on_digits(lambda: _plain(lambda c: nn.InstanceNorm2d(c, affine=True)))


@ZOO.add
def convnet_local_response() -> Case:
    """convolutions with local response normalisation, as in AlexNet."""
    return on_digits(lambda: _plain(lambda c: nn.LocalResponseNorm(5)))


class Basic(nn.Module):
    """The basic block of a ResNet; `zero`: its last scale starts at zero."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, zero: bool = False) -> None:
        super().__init__()
        self.first, self.second = conv(inputs, outputs, stride=stride), conv(outputs, outputs)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride)
        if zero:
            nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.second(F.relu(self.norm1(self.first(x)))))
        return F.relu(out + self.skip(x))


def _resnet(zero: bool) -> nn.Module:
    blocks = [Basic(8, 8, zero=zero), Basic(8, 16, 2, zero), Basic(16, 16, zero=zero), Basic(16, 32, 2, zero)]
    return classifier(conv(1, 8), nn.BatchNorm2d(8), nn.ReLU(), *blocks, channels=32)


@ZOO.add
def resnet() -> Case:
    """basic residual blocks."""
    return on_digits(lambda: _resnet(False))


@ZOO.add
def resnet_zero_init() -> Case:
    """residual branches that end with a scale of zero (Goyal et al. 2017)."""
    model = lambda: _resnet(True)  # noqa: E731
    return Case(model, digit_images(), F.cross_entropy, optimizer=sgd(0.05, momentum=0.9), batch_size=32)


@ZOO.add
def preactivation_resnet() -> Case:
    """normalisation and activation before each convolution."""

    def build() -> nn.Module:
        def block() -> nn.Module:
            half = lambda: (nn.BatchNorm2d(12), nn.ReLU(), conv(12, 12))  # noqa: E731
            return Residual(nn.Sequential(*half(), *half()))

        return classifier(conv(1, 12), *(block() for _ in range(4)), nn.BatchNorm2d(12), nn.ReLU(), channels=12)

    return on_digits(build)


@ZOO.add
def fixup_resnet() -> Case:
    """no normalisation; branches scaled down and zero at their end (Zhang, Dauphin and Ma 2019)."""

    def block() -> nn.Module:
        first, last = conv(12, 12), conv(12, 12)
        first.weight.data *= 0.5
        nn.init.zeros_(last.weight)
        return Residual(nn.Sequential(first, nn.ReLU(), last))

    return on_digits(
        lambda: classifier(conv(1, 12), nn.ReLU(), *(block() for _ in range(5)), nn.ReLU(), channels=12), 1e-3
    )


class Grow(nn.Module):
    """Concatenates what it makes to what it is given (DenseNet)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inputs), conv(inputs, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


@ZOO.add
def densenet() -> Case:
    """concatenated feature maps with a transition."""

    def build() -> nn.Module:
        body = (conv(1, 8), Grow(8), Grow(16), Grow(24), nn.Conv2d(32, 16, 1), nn.AvgPool2d(2), Grow(16), Grow(24))
        return classifier(*body, nn.BatchNorm2d(32), nn.ReLU(), channels=32)

    return on_digits(build)


class Excite(nn.Module):
    """Channels weighted by a gate that looks at all of the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, channels // 4), nn.Linear(channels // 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


@ZOO.add
def squeeze_and_excite() -> Case:
    """channel gates in a residual network."""

    def build() -> nn.Module:
        block = lambda: Residual(nn.Sequential(conv(16, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 16), Excite(16)))  # noqa: E731
        return classifier(conv(1, 16), nn.ReLU(), block(), nn.MaxPool2d(2), block(), channels=16)

    return on_digits(build)


@ZOO.add
def depthwise_separable() -> Case:
    """depthwise and pointwise convolutions with ReLU6."""

    def pair(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
        deep = conv(inputs, inputs, groups=inputs)
        return deep, nn.BatchNorm2d(inputs), nn.ReLU6(), conv(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU6()

    return on_digits(lambda: classifier(conv(1, 8), nn.ReLU6(), *pair(8, 16), *pair(16, 32), channels=32))


@ZOO.add
def inverted_residual() -> Case:
    """MobileNetV2: linear bottlenecks on purpose (tempts missing-nonlinearity)."""

    def block() -> nn.Module:
        grow = (conv(8, 24, 1), nn.BatchNorm2d(24), nn.ReLU6())
        deep = (conv(24, 24, groups=24), nn.BatchNorm2d(24), nn.ReLU6(), conv(24, 8, 1), nn.BatchNorm2d(8))
        return Residual(nn.Sequential(*grow, *deep))

    return on_digits(lambda: classifier(conv(1, 8), *(block() for _ in range(3)), channels=8), 5e-3)


class Inception(nn.Module):
    """Branches with kernels of different size."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv(inputs, 8, size) for size in (1, 3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat([branch(x) for branch in self.branches], 1))


@ZOO.add
def inception() -> Case:
    """parallel kernels."""
    return on_digits(lambda: classifier(Inception(1), nn.MaxPool2d(2), Inception(24), channels=24))
