"""What PyTorch's autograd measures in wide random networks, in float64: the oracle of the theory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Layer = Callable[[Tensor], Tensor]


def linear(width: int, weight_variance: float, bias_variance: float = 0.0) -> Layer:
    """A square layer of normal weights."""
    weight = torch.randn(width, width, dtype=torch.float64) * math.sqrt(weight_variance / width)
    bias = torch.randn(width, dtype=torch.float64) * math.sqrt(bias_variance)
    return lambda x: x @ weight.T + bias


def gains(signal: Tensor, layers: list[Layer]) -> Iterator[tuple[Tensor, float]]:
    """For each layer its output, and the factor on the norm of a random gradient that goes back from the last one."""
    places = [signal.clone().requires_grad_()]
    for layer in layers:
        places.append(layer(places[-1]))
    back = torch.autograd.grad(places[-1], places, torch.randn_like(places[-1]))
    for before, after, place in zip(back, back[1:], places[1:], strict=False):
        yield place.detach(), (before.norm() / after.norm()).item()


def second_moments(signal: Tensor) -> tuple[float, float]:
    """E[h²], and E[h_a h_b] over pairs of different samples."""
    count = len(signal)
    square = signal.square().mean().item()
    return square, (signal.mean(0).square().mean().item() * count - square) / (count - 1)
