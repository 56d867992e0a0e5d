"""The data by name, as tensors, with what counts as a good answer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from . import data


@dataclass(frozen=True)
class Data:
    """x, y: all samples, float32. shape: of one sample. score: (outputs, targets) -> float, 1 is perfect. base: what
    the best constant answer scores."""

    x: Tensor
    y: Tensor
    score: Callable[[Tensor, Tensor], float]
    base: float

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])


def accuracy(p: Tensor, y: Tensor) -> float:
    """Of (n, k) scores against one-hot targets, or of one probability against 0 and 1."""
    right = p.argmax(-1) == y.argmax(-1) if y.shape[-1] > 1 else (p > 0.5) == (y > 0.5)
    return right.float().mean().item()


def accuracy_of_numbers(divisor: float) -> Callable[[Tensor, Tensor], float]:
    """Targets are class numbers that were divided by `divisor`."""
    return lambda p, y: (p.argmax(-1) == (y.reshape(-1) * divisor).round().long()).float().mean().item()


def r_squared(y: Tensor) -> Callable[[Tensor, Tensor], float]:
    """1 - mean squared error / variance of all of `y`; so the mean over batches is that of all samples."""
    variance = y.var(0, correction=0)
    return lambda p, t: (1.0 - ((p - t) ** 2 / variance).mean()).item()


REGRESSION: dict[str, Callable[[], data.Pair]] = {
    "weighted sum": data.weighted_sum,
    "weighted sum, scaled": data.weighted_sum_scaled,
    "fourth power": data.fourth_power,
    "fourth power, scaled": data.fourth_power_scaled,
    "noise targets": data.noise_targets,
    "parabola": data.parabola,
    "noisy line": data.noisy_line,
    "2000 features": data.regression(1000, 2000, 3, informative=3, seed=42),
    "2000 features, scaled targets": data.with_scaled_targets(data.regression(1000, 2000, 3, informative=3, seed=42)),
    "18 features": data.regression(100, 18, seed=42),
    "4 features": data.regression(1000, 4),
    "8 features": data.regression(1000, 8, 4),
    "8 features, scaled targets": data.with_scaled_targets(data.regression(1000, 8, 4)),
    "10 features": data.regression(1000, 10, 3),
}
CLASSES: dict[str, Callable[[], data.Pair]] = {
    "circles": data.circles,
    "blobs": data.blobs,
    "letter codes": data.letter_codes,
    "letter codes, scaled": data.letter_codes_scaled,
    "counties": data.counties,
    "counties, scaled": data.counties_scaled,
    "two squares": data.two_squares,
    "xor": data.xor,
    "equality": data.equality,
    "ones and zeros": data.ones_and_zeros,
    "iris": data.iris,
    "iris, scaled": data.iris_scaled,
    "half of iris": data.iris_half,
    "iris, 105 rows": data.iris_seventy,
    "one label": data.one_label,
    "hidden image classes": data.hidden_image_classes,
    "sequences": data.sequences,
    "breast cancer": data.breast_cancer(),
    "breast cancer, scaled": data.breast_cancer(standard=True),
    "digits": data.digits(),
    "digits, raw": data.digits(255.0),
    "digit images": data.digits(shape=(1, 8, 8)),
    "digit images, raw": data.digits(255.0, shape=(1, 8, 8)),
    "digit images, scaled twice": data.digits(1 / 255.0, shape=(1, 8, 8)),
    "digit images of 16": data.digits(shape=(1, 16, 16), zoom=2),
}
NUMBERS: dict[str, tuple[Callable[[], data.Pair], float]] = {
    "digit images, labels / 255": (data.digits_labels(255.0), 255.0),
    "digit images, labels": (data.digits_labels(1.0), 1.0),
}


@functools.cache
def load(name: str) -> Data:
    if name in NUMBERS:
        make, divisor = NUMBERS[name]
        x, y = (torch.tensor(a, dtype=torch.float32) for a in make())
        return Data(x, y, accuracy_of_numbers(divisor), 0.1)
    x, y = (torch.tensor(a, dtype=torch.float32) for a in (REGRESSION | CLASSES)[name]())
    if name in REGRESSION:
        return Data(x, y, r_squared(y), 0.0)
    shares = y.mean(0) if y.shape[-1] > 1 else torch.stack([y.mean(), 1 - y.mean()])
    return Data(x, y, accuracy, shares.max().item())
