"""Small tasks that can be learned in a few hundred steps: generated here, or shipped with scikit-learn.

All generators are seeded, so a task is the same wherever it is made. Shapes have the samples first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from sklearn.datasets import load_digits, make_moons
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[Tensor, Tensor]
Optimizer = Callable[[Any], torch.optim.Optimizer]

VOCABULARY = 48
LENGTH = 16


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def standard(x: Tensor) -> Tensor:
    """Zero mean and unit variance per feature; constant features become zero."""
    deviation = x.std(0)
    return (x - x.mean(0)) / torch.where(deviation > 0, deviation, 1)


def adam(rate: float, **options: Any) -> Optimizer:
    return lambda parameters: torch.optim.Adam(parameters, lr=rate, **options)


def adamw(rate: float, **options: Any) -> Optimizer:
    return lambda parameters: torch.optim.AdamW(parameters, lr=rate, **options)


def sgd(rate: float, **options: Any) -> Optimizer:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, **options)


def dict_batches(size: int, **parts: Tensor) -> Callable[[], Iterator[dict[str, Tensor]]]:
    """Batches as Hugging Face models take them, each epoch in another order."""

    def epoch() -> Iterator[dict[str, Tensor]]:
        count = len(next(iter(parts.values())))
        for chosen in torch.randperm(count)[: count - count % size].split(size):
            yield {name: part[chosen] for name, part in parts.items()}

    return epoch


# -- vectors -----------------------------------------------------------------------------------------------------------


@functools.cache
def digits() -> Pair:
    """scikit-learn's digits: (1797, 64) standardised pixels, 10 classes."""
    pixels, labels = load_digits(return_X_y=True)
    return standard(torch.tensor(pixels, dtype=torch.float32)), torch.tensor(labels)


@functools.cache
def grey_digits() -> Tensor:
    """The same digits as (1797, 64) grey values from 0 to 1."""
    return torch.tensor(load_digits(return_X_y=True)[0] / 16.0, dtype=torch.float32)


@functools.cache
def digit_images() -> Pair:
    """(1797, 1, 8, 8)."""
    x, y = digits()
    return x.view(-1, 1, 8, 8), y


@functools.cache
def tabular() -> Pair:
    """(1024, 8) standard normal features, (1024, 1) a smooth function of them, standardised."""
    x = torch.randn(1024, 8, generator=generator(1))
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + x[:, 3:4].abs() + x[:, 4:5]
    return x, standard(y)


@functools.cache
def linear_data() -> Pair:
    """(1024, 8) features, (1024, 3) targets that are a linear function of them with noise of a tenth."""
    g = generator(2)
    x = torch.randn(1024, 8, generator=g)
    return x, x @ torch.randn(8, 3, generator=g) / 8**0.5 + 0.1 * torch.randn(1024, 3, generator=g)


@functools.cache
def blobs(classes: int = 4, spread: float = 1.0) -> Pair:
    """(1024, 6) points around one centre a class."""
    g = generator(3)
    y = torch.randint(0, classes, (1024,), generator=g)
    centres = 2 * torch.randn(classes, 6, generator=g)
    return centres[y] + spread * torch.randn(1024, 6, generator=g), y


@functools.cache
def moons() -> Pair:
    """(1024, 2) points on two moons, standardised."""
    x, y = make_moons(1024, noise=0.1, random_state=0)
    return standard(torch.tensor(x, dtype=torch.float32)), torch.tensor(y)


@functools.cache
def several_labels() -> Pair:
    """(1024, 8) features, (1024, 5) labels that are on or off, a third of them on."""
    g = generator(4)
    x = torch.randn(1024, 8, generator=g)
    return x, (x @ torch.randn(8, 5, generator=g) / 8**0.5 > 0.4).float()


# -- images ------------------------------------------------------------------------------------------------------------


@functools.cache
def gratings(side: int = 32, channels: int = 3) -> Pair:
    """(512, channels, side, side): stripes in four directions with random phase and colour, and noise."""
    g = generator(5)
    y = torch.randint(0, 4, (512,), generator=g)
    angle, phase = y * math.pi / 4, 2 * math.pi * torch.rand(512, generator=g)
    at = torch.linspace(-1, 1, side) * 4
    along = angle.cos()[:, None, None] * at[None, None, :] + angle.sin()[:, None, None] * at[None, :, None]
    colour = 0.5 + torch.rand(512, channels, 1, 1, generator=g)
    x = colour * torch.sin(along + phase[:, None, None])[:, None]
    return x + 0.2 * torch.randn(x.shape, generator=g), y


@functools.cache
def discs() -> Pair:
    """(512, 1, 16, 16) noisy images of a disc and (512, 1, 16, 16) its mask."""
    g = generator(6)
    at = torch.arange(16.0)
    centre, radius = 4 + 8 * torch.rand(512, 2, generator=g), 2 + 3 * torch.rand(512, generator=g)
    square = (at[None, None, :] - centre[:, :1, None]) ** 2 + (at[None, :, None] - centre[:, 1:, None]) ** 2
    mask = (square < radius[:, None, None] ** 2).float()[:, None]
    return standard(mask + 0.3 * torch.randn(mask.shape, generator=g)), mask


# -- sequences ---------------------------------------------------------------------------------------------------------


@functools.cache
def topics() -> Pair:
    """(1024, 16) tokens, and which of four topics they are from; a topic prefers a quarter of the vocabulary."""
    g = generator(7)
    y = torch.randint(0, 4, (1024,), generator=g)
    own = torch.rand(1024, LENGTH, generator=g) < 0.6
    free = torch.randint(4, VOCABULARY, (1024, LENGTH), generator=g)
    quarter = (VOCABULARY - 4) // 4
    preferred = 4 + y[:, None] * quarter + torch.randint(0, quarter, (1024, LENGTH), generator=g)
    return torch.where(own, preferred, free), y


@functools.cache
def chain() -> Tensor:
    """(1024, 16) tokens of a Markov chain: of two possible successors one comes with probability 0.9."""
    g = generator(8)
    successors = 4 + torch.stack([torch.randperm(VOCABULARY - 4, generator=g) for _ in range(2)], 1)
    tokens = [torch.randint(4, VOCABULARY, (1024,), generator=g)]
    for _ in range(LENGTH - 1):
        which = (torch.rand(1024, generator=g) < 0.1).long()
        tokens.append(successors[tokens[-1] - 4, which])
    return torch.stack(tokens, 1)


@functools.cache
def next_tokens() -> Pair:
    """The chain as (inputs, what comes next)."""
    tokens = chain()
    return tokens[:, :-1], tokens[:, 1:]


@functools.cache
def translated() -> Pair:
    """(1024, 16) tokens of one topic each, and their translation, word by word."""
    source = topics()[0]
    dictionary = torch.cat([torch.arange(4), 4 + torch.randperm(VOCABULARY - 4, generator=generator(9))])
    return source, dictionary[source]


@functools.cache
def digit_rows() -> Pair:
    """(1797, 8, 8): the rows of a digit, one after another."""
    x, y = digits()
    return x.view(-1, 8, 8), y


@functools.cache
def signals(length: int = 64) -> Pair:
    """(512, length) sines of one of four frequencies with random phase and noise: which?"""
    g = generator(10)
    y = torch.randint(0, 4, (512,), generator=g)
    frequency = torch.tensor([2.0, 4.0, 8.0, 16.0])[y] * (1 + 0.1 * torch.rand(512, generator=g)) * 64 / length
    phase = 2 * math.pi * torch.rand(512, generator=g)
    x = torch.sin(2 * math.pi * frequency[:, None] * torch.arange(length) / 64 + phase[:, None])
    return x + 0.1 * torch.randn(x.shape, generator=g), y


@functools.cache
def forecasting(past: int = 32, future: int = 8) -> Pair:
    """(1024, past) values of the sum of two sines, and the (1024, future) values after them."""
    g = generator(11)
    t = torch.arange(past + future)
    x = sum(
        torch.sin(2 * math.pi * (t / period + torch.rand(1024, 1, generator=g))) * torch.rand(1024, 1, generator=g)
        for period in (8.0, 13.0)
    )
    x = (x + 0.05 * torch.randn(1024, past + future, generator=g)) / 0.6
    return x[:, :past], x[:, past:]


def token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of (n, length, vocabulary) against (n, length)."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
