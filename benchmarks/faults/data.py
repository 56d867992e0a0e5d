"""The data of the published programs: scikit-learn's, or generated here. Nothing is downloaded.

Each function makes (X, y) in NumPy, always the same; images have their channels first. A function's docstring names
what it stands for where that is something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split

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
