"""The data of the published programs: scikit-learn's, or generated here. Nothing is downloaded.

Each function makes (X, y) in NumPy, always the same; images have their channels first. A function's docstring names
what it stands for where that is something else. DATA holds them by name, with what counts as a good answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor

Array = NDArray[Any]
Pair = tuple[Array, Array]


def one_hot(y: Array) -> Array:
    return np.asarray(np.eye(int(y.max()) + 1)[y.astype(int)])


def column(y: Array) -> Array:
    return y.reshape(-1, 1).astype(float)


def scaled(x: Array) -> Array:
    """Columns with mean 0 and variance 1."""
    return np.asarray((x - x.mean(0)) / x.std(0))


def circles() -> Pair:
    x, y = datasets.make_circles(1000, noise=0.1, random_state=1)
    return x[:700], column(y[:700])


def blobs() -> Pair:
    x, y = datasets.make_blobs(1000, centers=3, n_features=2, cluster_std=2, random_state=2)
    return x[:700], one_hot(y)[:700]


def letter_codes() -> Pair:
    """38 rows of three character codes, 65 to 70; which of two letters a row begins with decides its class."""
    rng = np.random.default_rng(0)
    begins = rng.integers(0, 2, 38)
    swapped = rng.random(38) < 0.25
    rows = np.where(begins[:, None], [68.0, 69.0, 70.0], [65.0, 66.0, 67.0])
    rows[swapped, 2] = np.where(begins[swapped], 67.0, 70.0)
    return rows, column(begins)


def letter_codes_scaled() -> Pair:
    x, y = letter_codes()
    return scaled(x), y


def counties() -> Pair:
    """Nine rows of sixteen figures of very different size (populations, ages, incomes, shares), two classes."""
    rng = np.random.default_rng(0)
    sizes = np.array([1e5, 38, 38, 20, 14, 14, 3e4, 5e4, 2.5, 58, 18, 20, 8e4, 1, 1, 0.6])
    y = np.arange(9) % 2
    x = sizes * (1 + 0.3 * rng.standard_normal((9, 16)))
    x[:, :1] *= rng.lognormal(0, 1, (9, 1))
    x[:, 12] *= 1 + 0.3 * y  # what tells the classes apart
    x[:, 13:15] = (2 * y - 1)[:, None] * rng.uniform(0.3, 1.5, (9, 2))
    return x, one_hot(y)


def counties_scaled() -> Pair:
    x, y = counties()
    return scaled(x), y


def two_squares() -> Pair:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(0.2, 0.4, (100, 2)), rng.uniform(0.5, 0.7, (100, 2))])
    return x, one_hot(np.repeat([0.0, 1.0], 100))


def weighted_sum() -> Pair:
    """2 a + b + c / 2 + 2.2 of numbers up to ten thousand; a fifth of the published 100,000 rows."""
    x = np.random.default_rng(0).uniform(0, 1e4, (20_000, 3))
    return x, column(x @ [2.0, 1.0, 0.5] + 2.2)


def weighted_sum_scaled() -> Pair:
    x, y = weighted_sum()
    return scaled(x), scaled(y)


def fourth_power() -> Pair:
    x = np.arange(-100, 100, 0.5)[:, None]
    return x, x**4


def fourth_power_scaled() -> Pair:
    x, y = fourth_power()
    return scaled(x), scaled(y)


def noise_targets() -> Pair:
    """Inputs and targets drawn apart from each other: there is nothing to learn."""
    rng = np.random.default_rng(0)
    return rng.random((1000, 5, 1)), rng.random((1000, 5, 1))


def xor() -> Pair:
    x = np.array([[1.0, 1], [0, 0], [1, 0], [0, 1], [1, 1], [0, 0]])
    return x, column(x[:, 0] != x[:, 1])


def equality() -> Pair:
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    return x, column(x[:, 0] == x[:, 1])


def ones_and_zeros() -> Pair:
    """4000 of the published 20,000 rows, which are all alike."""
    y = np.repeat([1.0, 0.0], 2000)
    return np.repeat(column(y), 128, axis=1), column(y)


def iris() -> Pair:
    x, y = datasets.load_iris(return_X_y=True)
    return x, one_hot(y)


def iris_scaled() -> Pair:
    x, y = iris()
    return np.asarray((x - x.min(0)) / (x.max(0) - x.min(0))), y


def iris_half() -> Pair:
    x, _, y, _ = train_test_split(*iris(), test_size=0.5, random_state=2)
    return x, y


def iris_seventy() -> Pair:
    x, _, y, _ = train_test_split(*iris(), test_size=0.3, random_state=0)
    return x, y


def one_label() -> Pair:
    """Published without a seed. Seeds differ in how far the classes can be told apart; this one gives the 0.99 that
    was published."""
    x, y = datasets.make_multilabel_classification(1000, n_features=4, n_classes=1, random_state=2)
    return x, column(y)


def parabola() -> Pair:
    """(x², x) and x² for x = 0, 1, 2, 3: a x² + b x + c as a linear layer."""
    x = np.arange(4.0)
    return np.stack([x**2, x], axis=1), column(x**2)


def noisy_line() -> Pair:
    rng = np.random.default_rng(0)
    x = rng.uniform(-8, 8, (8, 1))
    return x, 5.0 * x - 3.0 + rng.uniform(-1, 1, (8, 1))


def hidden_image_classes() -> Pair:
    x, y = datasets.make_classification(1000, 3072, random_state=0)
    return x.reshape(1000, 3, 32, 32), one_hot(y)


def sequences() -> Pair:
    x, y = datasets.make_classification(1000, 70, random_state=0)
    return x.reshape(1000, 10, 7).transpose(0, 2, 1).copy(), one_hot(y)


def regression(rows: int, features: int, targets: int = 1, informative: int = 10, seed: int = 0) -> Callable[[], Pair]:
    def make() -> Pair:
        x, y = datasets.make_regression(rows, features, n_targets=targets, n_informative=informative, random_state=seed)
        return x, y.reshape(rows, targets)

    return make


def with_scaled_targets(make: Callable[[], Pair]) -> Callable[[], Pair]:
    def scaled_too() -> Pair:
        x, y = make()
        return x, scaled(y)

    return scaled_too


def breast_cancer(standard: bool = False, classes: int = 1) -> Callable[[], Pair]:
    def make() -> Pair:
        x, y = datasets.load_breast_cancer(return_X_y=True)
        return (scaled(x) if standard else x), (column(y) if classes == 1 else one_hot(y))

    return make


def digits(scale: float = 1.0, shape: tuple[int, ...] = (64,), zoom: int = 1) -> Callable[[], Pair]:
    """Stands for MNIST or CIFAR-10, which would have to be downloaded. `scale`: of its values, which are 0 to 1."""

    def make() -> Pair:
        x, y = datasets.load_digits(return_X_y=True)
        images = (x / 16.0 * scale).reshape(-1, 8, 8).repeat(zoom, axis=1).repeat(zoom, axis=2)
        return images.reshape(len(x), *shape), one_hot(y)

    return make


def digits_labels(divisor: float) -> Callable[[], Pair]:
    def make() -> Pair:
        x, y = datasets.load_digits(return_X_y=True)
        return (x / 16.0).reshape(-1, 1, 8, 8), column(y) / divisor

    return make


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


REGRESSION: dict[str, Callable[[], Pair]] = {
    "weighted sum": weighted_sum,
    "weighted sum, scaled": weighted_sum_scaled,
    "fourth power": fourth_power,
    "fourth power, scaled": fourth_power_scaled,
    "noise targets": noise_targets,
    "parabola": parabola,
    "noisy line": noisy_line,
    "2000 features": regression(1000, 2000, 3, informative=3, seed=42),
    "2000 features, scaled targets": with_scaled_targets(regression(1000, 2000, 3, informative=3, seed=42)),
    "18 features": regression(100, 18, seed=42),
    "4 features": regression(1000, 4),
    "8 features": regression(1000, 8, 4),
    "8 features, scaled targets": with_scaled_targets(regression(1000, 8, 4)),
    "10 features": regression(1000, 10, 3),
}
CLASSES: dict[str, Callable[[], Pair]] = {
    "circles": circles,
    "blobs": blobs,
    "letter codes": letter_codes,
    "letter codes, scaled": letter_codes_scaled,
    "counties": counties,
    "counties, scaled": counties_scaled,
    "two squares": two_squares,
    "xor": xor,
    "equality": equality,
    "ones and zeros": ones_and_zeros,
    "iris": iris,
    "iris, scaled": iris_scaled,
    "half of iris": iris_half,
    "iris, 105 rows": iris_seventy,
    "one label": one_label,
    "hidden image classes": hidden_image_classes,
    "sequences": sequences,
    "breast cancer": breast_cancer(),
    "breast cancer, scaled": breast_cancer(standard=True),
    "digits": digits(),
    "digits, raw": digits(255.0),
    "digit images": digits(shape=(1, 8, 8)),
    "digit images, raw": digits(255.0, shape=(1, 8, 8)),
    "digit images, scaled twice": digits(1 / 255.0, shape=(1, 8, 8)),
    "digit images of 16": digits(shape=(1, 16, 16), zoom=2),
}
NUMBERS: dict[str, tuple[Callable[[], Pair], float]] = {
    "digit images, labels / 255": (digits_labels(255.0), 255.0),
    "digit images, labels": (digits_labels(1.0), 1.0),
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
