"""Data that are less than ideal: noisy, imbalanced, few, sparse, unscaled."""

from __future__ import annotations

import torch
from benchmarks.zoo.activations import dense
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.objectives import regressor
from benchmarks.zoo.tasks import (
    adam,
    adamw,
    blobs,
    digits,
    generator,
    grey_digits,
    sgd,
    tabular,
)
from torch import nn
from torch.nn import functional as F

from unstick import Case

ZOO = Collection("Data that are less than ideal")


@ZOO.add
def label_noise() -> Case:
    """a fifth of the labels drawn at random (tempts unlearnable-targets)."""
    x, y = digits()
    g = generator(22)
    noisy = torch.where(torch.rand(len(y), generator=g) < 0.2, torch.randint(0, 10, y.shape, generator=g), y)
    return Case(lambda: dense(nn.ReLU), (x, noisy), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def noisy_regression() -> Case:
    """noise of the size of the signal (tempts unlearnable-targets)."""
    x, y = tabular()
    return Case(regressor, (x, y + torch.randn(y.shape, generator=generator(23))), F.mse_loss, optimizer=adamw(3e-3))


@ZOO.add
def imbalanced_classes() -> Case:
    """classes 95 to 5."""
    x, y = blobs(2)
    keep = (y == 0) | (torch.rand(len(y), generator=generator(24)) < 0.053)
    return Case(lambda: dense(nn.ReLU, inputs=6, outputs=2), (x[keep], y[keep]), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def weighted_classes() -> Case:
    """classes 95 to 5, weighted by their frequency."""
    case = imbalanced_classes()
    return Case(case.model, case.data, nn.CrossEntropyLoss(torch.tensor([1.0, 19.0])), optimizer=adam(3e-3))


@ZOO.add
def twenty_samples() -> Case:
    """a data set of twenty samples, all in one batch."""
    x, y = blobs(2)
    return Case(lambda: dense(nn.ReLU, inputs=6, outputs=2), (x[:20], y[:20]), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def small_batches() -> Case:
    """batches of four, without normalisation."""
    return Case(lambda: dense(nn.ReLU), digits(), F.cross_entropy, optimizer=adam(1e-3), batch_size=4)


@ZOO.add
def single_samples() -> Case:
    """batches of one sample: online learning."""
    return Case(lambda: dense(nn.ReLU, depth=1), digits(), F.cross_entropy, optimizer=sgd(0.01), batch_size=1)


@ZOO.add
def grey_values() -> Case:
    """pixels from 0 to 1, not standardised."""
    return Case(lambda: dense(nn.ReLU), (grey_digits(), digits()[1]), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def sparse_features() -> Case:
    """inputs that are mostly zero: 64 counts, nine in ten of them absent."""
    x = torch.poisson(torch.full((1024, 64), 0.1), generator=generator(25))
    y = (x[:, :16].sum(1) > x[:, 16:32].sum(1)).long()
    return Case(lambda: dense(nn.ReLU, outputs=2), (x, y), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def one_hot_features() -> Case:
    """categories as one-hot vectors beside three numbers."""
    g = generator(26)
    category = torch.randint(0, 12, (1024,), generator=g)
    numbers = torch.randn(1024, 3, generator=g)
    y = torch.randn(12, generator=g)[category] + numbers[:, 0]
    x = torch.cat([F.one_hot(category, 12).float(), numbers], 1)
    return Case(lambda: dense(nn.ReLU, inputs=15, outputs=1), (x, y[:, None]), F.mse_loss, optimizer=adam(3e-3))
