"""Many deep networks of one shape trained side by side: one batched matrix product per layer for all of them.

A network here is `depth` hidden layers between the digits' 64 pixels and their 10 classes. The hidden layers' weights
are drawn from N(0, sigma_w^2 / inputs) and their biases from N(0, sigma_b^2). The output layer is drawn alike for all,
N(0, 1 / inputs) without bias, so that what differs is the signal that reaches it. What a network learns does not depend
on which are trained beside it: each draws from a generator of its own, and an optimiser that works number by number
keeps them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from unstick.batches import stream
from unstick.cases.kaylee import digits
from unstick.intervals import t_interval
from unstick.learning import CONFIDENCE, SMALLEST_EFFECT
from unstick.observe import EVALUATION_BATCHES, EVALUATION_SEED

BATCH = 64
CLASSES = 10

Optimise = Callable[[list[Tensor]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Family:
    """An activation; whether batch normalisation comes before it; whether its layers start centred.

    centred: the bias also gets -W E[phi(0)], which takes the constant part of the activation away (sigmoid: half of
    each row's sum).
    """

    name: str
    activation: Callable[[Tensor], Tensor]
    normalised: bool = False
    centred: bool = False


FAMILIES = (
    Family("sigmoid", torch.sigmoid),
    Family("tanh", torch.tanh),
    Family("relu", torch.relu),
    Family("sigmoid+batchnorm", torch.sigmoid, normalised=True),
)


@dataclass(frozen=True)
class Point:
    """One network to train."""

    family: str
    sigma_w: float
    sigma_b: float
    depth: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """loss, constant: on 16 batches drawn apart from the training's, of the network and of the best constant output.
    learns: as `unstick.observe` means it: better than the constant with 99 % confidence, by 1 % at least."""

    loss: float
    constant: float
    accuracy: float
    learns: bool


def train(
    family: Family, points: Sequence[Point], optimise: Optimise, steps: int = 300, width: int = 64
) -> list[Outcome]:
    """Train the points, which have one depth and one seed in common, on the same batches, and examine each."""
    (depth,) = {p.depth for p in points}
    (seed,) = {p.seed for p in points}
    network = _Networks(family, points, depth, width)
    optimiser = optimise(network.parameters)
    batches = stream(digits(), BATCH, seed, None)
    for _ in range(steps):
        images, labels = next(batches)
        optimiser.zero_grad()
        _losses(network(images), labels).sum().backward()
        optimiser.step()
    return _examine(network, seed)


class _Networks:
    """Parameters are (networks, inputs, units) and (networks, 1, units)."""

    def __init__(self, family: Family, points: Sequence[Point], depth: int, width: int) -> None:
        self._family = family
        sizes = [64, *[width] * depth, CLASSES]
        drawn = [_draw(family, point, sizes) for point in points]
        self._weights = [torch.stack(layer).requires_grad_() for layer in zip(*(w for w, _ in drawn), strict=True)]
        self._biases = [torch.stack(layer).requires_grad_() for layer in zip(*(b for _, b in drawn), strict=True)]
        shape = (len(points), 1, width)
        hidden = range(depth if family.normalised else 0)
        self._scales = [torch.ones(shape, requires_grad=True) for _ in hidden]
        self._shifts = [torch.zeros(shape, requires_grad=True) for _ in hidden]
        self.parameters = [*self._weights, *self._biases, *self._scales, *self._shifts]

    def __call__(self, images: Tensor) -> Tensor:
        """(networks, samples, classes)."""
        h = images.expand(len(self._weights[0]), *images.shape)
        for i, (weight, bias) in enumerate(zip(self._weights[:-1], self._biases[:-1], strict=True)):
            z = torch.baddbmm(bias, h, weight)
            if self._family.normalised:
                variance, mean = torch.var_mean(z, dim=1, correction=0, keepdim=True)
                z = (z - mean) * ((variance + 1e-5).rsqrt() * self._scales[i]) + self._shifts[i]
            h = self._family.activation(z)
        return torch.baddbmm(self._biases[-1], h, self._weights[-1])


def _draw(family: Family, point: Point, sizes: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """The weights and biases of one network, from a generator that depends on its depth and seed."""
    generator = torch.Generator().manual_seed(1_000 * point.seed + point.depth)
    weights, biases = [], []
    for layer, (inputs, units) in enumerate(pairwise(sizes)):
        sigma_w, sigma_b = (point.sigma_w, point.sigma_b) if layer < point.depth else (1.0, 0.0)
        weight = torch.randn(inputs, units, generator=generator) * (sigma_w / math.sqrt(inputs))
        bias = torch.randn(1, units, generator=generator) * sigma_b
        if family.centred and layer:
            bias = bias - family.activation(torch.zeros(())) * weight.sum(0, keepdim=True)
        weights.append(weight)
        biases.append(bias)
    return weights, biases


def _losses(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each network, averaged over the samples."""
    count = len(outputs)
    flat = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), labels.repeat(count), reduction="none")
    return flat.reshape(count, -1).mean(1)


@torch.no_grad()
def _examine(network: _Networks, seed: int) -> list[Outcome]:
    source = stream(digits(), BATCH, seed + EVALUATION_SEED, None)
    held = [next(source) for _ in range(EVALUATION_BATCHES)]
    every = torch.cat([labels for _, labels in held])
    constant = torch.bincount(every, minlength=CLASSES).double().div(len(every)).log()  # the best: log frequencies
    reference = [-constant[labels].mean().item() for _, labels in held]
    outputs = [(network(images), labels) for images, labels in held]
    losses = torch.stack([_losses(out, labels) for out, labels in outputs], dim=1).tolist()
    hits = torch.stack([(out.argmax(2) == labels).float().mean(1) for out, labels in outputs], dim=1).mean(1).tolist()
    return [_outcome(own, reference, hit) for own, hit in zip(losses, hits, strict=True)]


def _outcome(losses: Sequence[float], reference: Sequence[float], accuracy: float) -> Outcome:
    """The comparison of `unstick.learning`, whose constant predictor has a closed form for cross-entropy."""
    gaps = [r - own for r, own in zip(reference, losses, strict=True)]
    loss, constant = sum(losses) / len(losses), sum(reference) / len(reference)
    if not math.isfinite(loss):
        return Outcome(math.inf, constant, accuracy, False)
    learns = t_interval(gaps, CONFIDENCE)[0] > 0 and constant - loss >= SMALLEST_EFFECT * constant
    return Outcome(loss, constant, accuracy, learns)
