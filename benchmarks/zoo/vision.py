"""Segmentation, mixers, films, bags and Fourier transforms of images."""

from __future__ import annotations

import torch
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.convnets import classifier, conv, on_digits
from benchmarks.zoo.mlps import Residual
from benchmarks.zoo.tasks import adam, adamw, discs, gratings
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Other networks for images")


@ZOO.add
def dilated_convolutions() -> Case:
    """segmentation by dilated convolutions at full resolution."""

    def build() -> nn.Module:
        wide = [nn.Conv2d(8, 8, 3, padding=d, dilation=d) for d in (1, 2, 4)]
        return nn.Sequential(conv(1, 8), nn.ReLU(), *(m for c in wide for m in (c, nn.ReLU())), nn.Conv2d(8, 1, 1))

    return Case(build, discs(), F.binary_cross_entropy_with_logits, optimizer=adam(5e-3), batch_size=16)


class UNet(nn.Module):
    """Down, up again, and skips across."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = conv(1, 8), conv(8, 16), conv(16, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge, self.last = conv(32, 16), nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        c = F.interpolate(F.relu(self.bottom(F.max_pool2d(b, 2))), scale_factor=2, mode="bilinear")
        d = self.up(F.relu(self.merge(torch.cat([c, b], 1))))
        return self.last(torch.cat([d, a], 1))


def _dice(out: Tensor, mask: Tensor) -> Tensor:
    p = torch.sigmoid(out)
    return 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)


@ZOO.add
def unet() -> Case:
    """segmentation with skip connections, cross-entropy."""
    return Case(UNet, discs(), F.binary_cross_entropy_with_logits, optimizer=adam(3e-3), batch_size=16)


@ZOO.add
def unet_dice() -> Case:
    """the same with the Dice loss, which takes a sigmoid itself."""
    return Case(UNet, discs(), _dice, optimizer=adam(3e-3), batch_size=16)


class Mixer(nn.Module):
    """Tokens and channels are mixed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.tokens = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.channels = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class MLPMixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 2, stride=2)
        self.blocks, self.norm, self.head = nn.Sequential(Mixer(), Mixer()), nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.patch(x).flatten(2).transpose(1, 2))).mean(1))


@ZOO.add
def mlp_mixer() -> Case:
    """dense layers over patches and over channels."""
    return on_digits(MLPMixer)


@ZOO.add
def conv_mixer() -> Case:
    """depthwise residual and pointwise convolutions, GELU."""

    def build() -> nn.Module:
        def block() -> tuple[nn.Module, ...]:
            deep = nn.Sequential(conv(16, 16, groups=16), nn.GELU(), nn.BatchNorm2d(16))
            return Residual(deep), conv(16, 16, 1), nn.GELU(), nn.BatchNorm2d(16)

        return classifier(nn.Conv2d(1, 16, 2, stride=2), nn.GELU(), nn.BatchNorm2d(16), *block(), *block(), channels=16)

    return on_digits(build)


@ZOO.add
def three_dimensional() -> Case:
    """3-d convolutions on short films of gratings."""
    x, y = gratings(16, 1)
    film = torch.stack([x.roll(k, -1) for k in range(4)], 2)

    def build() -> nn.Module:
        body = (nn.Conv3d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv3d(8, 16, 3, stride=2, padding=1), nn.ReLU())
        return nn.Sequential(*body, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 4))

    return Case(build, (film, y), F.cross_entropy, optimizer=adamw(5e-3), batch_size=16)


class Bags(nn.Module):
    """Attention over the instances of a bag."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.score, self.head = nn.Linear(8, 32), nn.Linear(32, 1), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.embed(x[:, 0]))
        return self.head((self.score(h).softmax(1) * h).sum(1))


@ZOO.add
def multiple_instances() -> Case:
    """the rows of a digit as a bag, pooled by attention: it learns what can be learned without order."""
    return on_digits(Bags, 1e-2)


class Fourier(nn.Module):
    """Complex weights on the lowest frequencies (a Fourier neural operator)."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.last = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 1, 1)
        self.weight = nn.Parameter(torch.randn(8, 8, 5, 5, dtype=torch.cfloat) / 8)
        self.local = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lift(x)
        spectrum = torch.fft.rfft2(h)[:, :, :5, :5]
        mixed = torch.einsum("nixy,ioxy->noxy", spectrum, self.weight)
        return self.last(F.gelu(torch.fft.irfft2(mixed, s=h.shape[-2:]) + self.local(h)))


@ZOO.add
def fourier_operator() -> Case:
    """complex parameters between two Fourier transforms."""
    return Case(Fourier, discs(), F.mse_loss, optimizer=adam(5e-3), batch_size=32)
