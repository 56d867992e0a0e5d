"""Convolutions over time, forecasts and state spaces."""

from __future__ import annotations

import torch
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.tasks import adam, forecasting, signals
from torch import Tensor, nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Time series")


class Causal(nn.Module):
    """A residual pair of dilated causal convolutions."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.first, self.second = (nn.Conv1d(16, 16, 3, dilation=dilation) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in (self.first, self.second):
            h = F.relu(layer(F.pad(h, (2 * self.dilation, 0))))
        return x + h


@ZOO.add
def temporal_convolutions() -> Case:
    """a TCN that tells frequencies apart."""

    def build() -> nn.Module:
        body = (nn.Unflatten(1, (1, 64)), nn.Conv1d(1, 16, 1), Causal(1), Causal(2), Causal(4))
        return nn.Sequential(*body, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 4))

    return Case(build, signals(), F.cross_entropy, optimizer=adam(3e-3), batch_size=32)


class Gated(nn.Module):
    """tanh times sigmoid of dilated convolutions, with a residual and a skip (WaveNet)."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.pad, self.both = dilation, nn.Conv1d(16, 32, 2, dilation=dilation)
        self.residual, self.skip = nn.Conv1d(16, 16, 1), nn.Conv1d(16, 16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.both(F.pad(x, (self.pad, 0))).chunk(2, 1)
        h = torch.tanh(a) * torch.sigmoid(b)
        return x + self.residual(h), self.skip(h)


class WaveNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.layers = nn.Conv1d(1, 16, 1), nn.ModuleList(Gated(d) for d in (1, 2, 4, 8))
        self.head = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        h, total = self.first(x[:, None]), 0
        for layer in self.layers:
            h, skip = layer(h)
            total = total + skip
        return self.head(F.relu(total)[:, :, -1])


@ZOO.add
def wavenet() -> Case:
    """gated dilated convolutions that forecast."""
    return Case(WaveNet, forecasting(), F.mse_loss, optimizer=adam(5e-3), batch_size=32)


@ZOO.add
def linear_forecaster() -> Case:
    """one linear layer from past to future, as in DLinear (tempts missing-nonlinearity)."""
    return Case(lambda: nn.Linear(32, 8), forecasting(), F.mse_loss, optimizer=adam(3e-3), batch_size=32)


class BlocksOfBasis(nn.Module):
    """N-BEATS: each block explains a part of the past and takes it away."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 40))
            for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        forecast = 0
        for block in self.blocks:
            past, future = block(x).split([32, 8], 1)
            x, forecast = x - past, forecast + future
        return forecast


@ZOO.add
def nbeats() -> Case:
    """doubly residual forecasting; the last block's past is not used."""
    return Case(BlocksOfBasis, forecasting(), F.mse_loss, optimizer=adam(2e-3), batch_size=32)


class DiagonalStateSpace(nn.Module):
    """A convolution with the response of damped complex oscillators (S4D)."""

    def __init__(self, channels: int = 16, states: int = 8) -> None:
        super().__init__()
        self.log_decay = nn.Parameter(torch.full((channels, states), -1.5))
        self.frequency = nn.Parameter(torch.arange(states).float().repeat(channels, 1) / 4)
        self.mix = nn.Parameter(torch.randn(channels, states, 2) / states**0.5)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:  # (n, length, channels)
        rate = torch.complex(-self.log_decay.exp(), self.frequency)
        response = torch.exp(rate[..., None] * torch.arange(x.shape[1]))
        kernel = torch.einsum("cs,cst->ct", torch.view_as_complex(self.mix), response).real
        length = 2 * x.shape[1]
        spectrum = torch.fft.rfft(x, length, dim=1) * torch.fft.rfft(kernel, length, dim=1).T
        return x + self.out(F.gelu(torch.fft.irfft(spectrum, length, dim=1)[:, : x.shape[1]]))


class StateSpaceClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lift, self.head = nn.Linear(1, 16), nn.Linear(16, 4)
        self.layers = nn.Sequential(DiagonalStateSpace(), nn.LayerNorm(16), DiagonalStateSpace(), nn.LayerNorm(16))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.lift(x[:, :, None])).mean(1))


@ZOO.add
def state_space() -> Case:
    """damped oscillators through exp and complex numbers (tempts unbounded-activation)."""
    return Case(StateSpaceClassifier, signals(), F.cross_entropy, optimizer=adam(1e-2), batch_size=32)
