"""Generative models, in plain torch; many need a training step of their own."""

from __future__ import annotations

import math
from typing import Any

import torch
from benchmarks.zoo.activations import dense
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import adam, digits, grey_digits, moons
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Generative models")


@ZOO.add
def autoencoder() -> Case:
    """a bottleneck of eight, squared error."""
    x, _ = digits()
    model = lambda: nn.Sequential(*dense(nn.ReLU, depth=1, outputs=8), *dense(nn.ReLU, depth=1, inputs=8, outputs=64))  # noqa: E731
    return Case(model, (x, x), F.mse_loss, optimizer=adam(3e-3))


@ZOO.add
def denoising_autoencoder() -> Case:
    """grey values behind a sigmoid, cross-entropy; the noise is drawn in the model."""

    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.2 * torch.randn_like(x) if self.training else x

    x = grey_digits()
    model = lambda: nn.Sequential(Noise(), *dense(nn.ReLU, depth=2, outputs=64), nn.Sigmoid())  # noqa: E731
    return Case(model, (x, x), F.binary_cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def convolutional_autoencoder() -> Case:
    """strided convolutions down, transposed ones up, tanh at the end."""

    def build() -> nn.Module:
        down = (nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        up = (nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh())
        return nn.Sequential(*down, *up)

    x = (2 * grey_digits() - 1).view(-1, 1, 8, 8)
    return Case(build, (x, x), F.mse_loss, optimizer=adam(3e-3), batch_size=32)


class Variational(nn.Module):
    """A code drawn from a Gaussian whose deviation goes through exp."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = dense(nn.ReLU, depth=1, outputs=16)
        self.decode = dense(nn.ReLU, depth=1, inputs=8, outputs=64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar = self.encode(x).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * (0.5 * logvar).exp()), mean, logvar


def _elbo(out: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    recon, mean, logvar = out
    divergence = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum(1).mean()
    return F.binary_cross_entropy_with_logits(recon, x, reduction="none").sum(1).mean() + divergence


@ZOO.add
def variational_autoencoder() -> Case:
    """the evidence bound, three outputs (tempts unbounded-activation)."""
    x = grey_digits()
    return Case(Variational, (x, x), _elbo, optimizer=adam(3e-3))


@ZOO.add
def variational_autoencoder_step() -> Case:
    """the same as a training step of its own, without targets."""
    return Case(
        Variational,
        lambda: grey_digits()[torch.randperm(1797)[:1792]].split(64),
        step=lambda m, x: _elbo(m(x), x),
        optimizer=adam(3e-3),
    )


class VectorQuantised(nn.Module):
    """Codes snapped to a codebook; the gradient is passed straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = dense(nn.ReLU, depth=1, outputs=16), dense(nn.ReLU, depth=1, inputs=16, outputs=64)
        self.book = nn.Parameter(torch.randn(32, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encode(x).view(-1, 4, 4)
        nearest = self.book[torch.cdist(z, self.book.expand(len(z), -1, -1)).argmin(-1)]
        commitment = F.mse_loss(nearest, z.detach()) + 0.25 * F.mse_loss(z, nearest.detach())
        return self.decode((z + (nearest - z).detach()).flatten(1)), commitment


@ZOO.add
def vector_quantised() -> Case:
    """a straight-through estimator and detached codes."""
    x, _ = digits()
    return Case(VectorQuantised, (x, x), lambda out, x: F.mse_loss(out[0], x) + 0.25 * out[1], optimizer=adam(3e-3))


class Binary(torch.autograd.Function):
    """The sign, with the gradient of the identity on [-1, 1]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0].abs() <= 1)


class Sign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Binary.apply(x)


@ZOO.add
def binary_activations() -> Case:
    """an autograd function of its own: hidden units are -1 or 1."""
    model = lambda: dense(lambda: nn.Sequential(nn.BatchNorm1d(64), Sign()), width=64, depth=2)  # noqa: E731
    return Case(model, digits(), F.cross_entropy, optimizer=adam(3e-3))


class Coupling(nn.Module):
    """Half of the coordinates are moved by what the other half says (RealNVP)."""

    def __init__(self, flip: bool) -> None:
        super().__init__()
        self.flip, self.net = flip, dense(nn.ReLU, depth=2, inputs=1, outputs=2, width=32)
        nn.init.zeros_(self.net[-1].weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.flip(1).chunk(2, 1) if self.flip else x.chunk(2, 1)
        scale, shift = self.net(a).chunk(2, 1)
        scale = torch.tanh(scale)
        return torch.cat([a, b * scale.exp() + shift], 1), scale.sum(1)


class Flow(nn.Module):
    """Negative log-likelihood per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Coupling(bool(k)) for k in range(6))

    def forward(self, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, logdet = layer(x)
            total = total + logdet
        return 0.5 * (x**2).sum(1) + math.log(2 * math.pi) - total


def _points(size: int = 64) -> Any:
    return lambda: moons()[0][torch.randperm(1024)].split(size)


@ZOO.add
def normalising_flow() -> Case:
    """couplings that start as the identity, scales through exp (tempts unbounded-activation)."""
    return Case(Flow, _points(), step=lambda model, x: model(x).mean(), optimizer=adam(5e-3))


class Denoiser(nn.Module):
    """Which noise was added at which time?"""

    def __init__(self) -> None:
        super().__init__()
        self.net = dense(nn.SiLU, inputs=2 + 16, outputs=2, width=64)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angle = t * 2.0 ** torch.arange(8)
        return self.net(torch.cat([x, angle.sin(), angle.cos()], 1))


@ZOO.add
def diffusion() -> Case:
    """noise prediction; noise and times are drawn in the step."""

    def step(model: nn.Module, x: Tensor) -> Tensor:
        t, noise = torch.rand(len(x), 1), torch.randn_like(x)
        keep = torch.cos(t * math.pi / 2)
        return F.mse_loss(model(keep * x + (1 - keep**2).sqrt() * noise, t), noise)

    return Case(Denoiser, _points(128), step=step, optimizer=adam(5e-3))


def _real_and_fake() -> list[Any]:
    x = moons()[0][torch.randperm(1024)]
    return list(zip(x.split(64), (torch.randn_like(x) * 0.5).split(64), strict=True))


@ZOO.add
def wasserstein_critic() -> Case:
    """a critic with gradient penalty: a gradient of a gradient, a loss below zero."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        real, fake = batch
        with torch.enable_grad():
            between = torch.lerp(real, fake, torch.rand(len(real), 1)).requires_grad_()
            (slope,) = torch.autograd.grad(model(between).sum(), between, create_graph=True)
        return model(fake).mean() - model(real).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()

    model = lambda: dense(nn.LeakyReLU, depth=2, inputs=2, outputs=1)  # noqa: E731
    return Case(model, _real_and_fake, step=step, optimizer=adam(1e-3, betas=(0.5, 0.9)))


@ZOO.add
def discriminator() -> Case:
    """real against fake, hinge loss, spectral norm."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        real, fake = batch
        return F.relu(1 - model(real)).mean() + F.relu(1 + model(fake)).mean()

    def build() -> nn.Module:
        norm = nn.utils.parametrizations.spectral_norm
        layers = dense(nn.LeakyReLU, depth=2, inputs=2, outputs=1, width=64)
        return nn.Sequential(*(norm(m) if isinstance(m, nn.Linear) else m for m in layers))

    return Case(build, _real_and_fake, step=step, optimizer=adam(5e-3, betas=(0.5, 0.9)))


class Masked(nn.Conv2d):
    """Sees only pixels above and to the left (PixelCNN)."""

    def __init__(self, inputs: int, outputs: int, own: bool) -> None:
        super().__init__(inputs, outputs, 5, padding=2)
        mask = torch.ones(5, 5)
        mask[2, 2 + own :] = 0
        mask[3:] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=2)


@ZOO.add
def pixel_cnn() -> Case:
    """the next pixel's grey level, one of four, from those before it."""
    x = grey_digits().view(-1, 1, 8, 8)
    levels = (x[:, 0] * 3.99).long()
    model = lambda: nn.Sequential(Masked(1, 16, False), nn.ReLU(), Masked(16, 16, True), nn.ReLU(), nn.Conv2d(16, 4, 1))  # noqa: E731
    return Case(model, (x, levels), F.cross_entropy, optimizer=adam(3e-3), batch_size=32)
