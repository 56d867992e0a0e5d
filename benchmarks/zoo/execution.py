"""Normalisation layers, and ways to run a network."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from benchmarks.zoo.activations import dense, glorot
from benchmarks.zoo.collection import Collection
from benchmarks.zoo.mlps import Residual
from benchmarks.zoo.tasks import adam, blobs, digits, sgd, topics
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unstick import Case

ZOO = Collection("Normalisation and execution")


NORMS: dict[str, Any] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
    "group": partial(nn.GroupNorm, 4),
    "batch-without-scale": partial(nn.BatchNorm1d, affine=False),
}

for _name, _norm in NORMS.items():
    _build = partial(Case, partial(dense, nn.ReLU, norm=_norm), digits(), F.cross_entropy)
    ZOO.put(f"norm-{_name}", f"{_name} normalisation before each ReLU", _build)


@ZOO.add
def batchnorm_with_batches_of_16() -> Case:
    """batch normalisation, small but sufficient batches (tempts batchnorm-small-batch)."""
    return Case(lambda: dense(nn.ReLU, norm=nn.BatchNorm1d), digits(), F.cross_entropy, batch_size=16)


@ZOO.add
def deep_sigmoid_batchnorm() -> Case:
    """twelve sigmoid layers held in range by batch normalisation."""
    return Case(lambda: dense(nn.Sigmoid, glorot, depth=12, norm=nn.BatchNorm1d), digits(), F.cross_entropy)


@ZOO.add
def standardised_by_the_model() -> Case:
    """raw inputs of rms 1000; the first layer normalises them (tempts unscaled-inputs)."""
    x, y = digits()
    return Case(lambda: nn.Sequential(nn.BatchNorm1d(64), *dense(nn.ReLU)), (1000 * x + 500, y), F.cross_entropy)


@ZOO.add
def lazy_layers() -> Case:
    """layers that learn their input size from the first batch."""

    def build() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(48), nn.ReLU(), nn.LazyBatchNorm1d(), nn.LazyLinear(10))

    return Case(build, digits(), F.cross_entropy)


@ZOO.add
def in_place_operations() -> Case:
    """ReLUs that overwrite, and an addition in place."""

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            h = self.act(self.first(x))
            y = self.second(h)
            y += h
            return self.head(self.act(y))

    return Case(InPlace, digits(), F.cross_entropy, optimizer=adam(3e-3))


@ZOO.add
def gradient_checkpointing() -> Case:
    """activations computed again in the backward pass."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(64, 48), nn.Linear(48, 10)
            self.blocks = nn.ModuleList(
                Residual(nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.ReLU())) for _ in range(3)
            )

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            for block in self.blocks:
                x = checkpoint(block, x, use_reentrant=False)
            return self.head(x)

    return Case(Checkpointed, digits(), F.cross_entropy)


@ZOO.add
def scripted() -> Case:
    """a network in TorchScript."""
    return Case(lambda: torch.jit.script(dense(nn.ReLU)), digits(), F.cross_entropy)


@ZOO.add
def tied_layers() -> Case:
    """one layer used four times."""

    def build() -> nn.Module:
        shared = nn.Sequential(nn.Linear(48, 48), nn.Tanh())
        nn.init.orthogonal_(shared[0].weight)
        return nn.Sequential(nn.Linear(64, 48), nn.Tanh(), shared, shared, shared, shared, nn.Linear(48, 10))

    return Case(build, digits(), F.cross_entropy)


class Bag(nn.Module):
    """A bag of words with sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(48, 16, sparse=True)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.words(tokens))


@ZOO.add
def embedding_bag() -> Case:
    """bag of words, sparse gradients."""
    return Case(Bag, topics(), F.cross_entropy, optimizer=sgd(1.0))


class FrozenWords(nn.Module):
    """Embeddings that stay, as those of a pretrained language model may."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(torch.randn(48, 24), freeze=True)
        self.head = dense(nn.ReLU, depth=1, inputs=24, outputs=4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.words(tokens).mean(1))


@ZOO.add
def frozen_embeddings() -> Case:
    """word vectors that are kept (tempts no-gradient)."""
    return Case(FrozenWords, topics(), F.cross_entropy, optimizer=adam(1e-2))


@ZOO.add
def ensemble() -> Case:
    """four networks at once through torch.func."""

    class Ensemble(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.randn(4, 6, 24) / 6**0.5)
            self.second = nn.Parameter(torch.randn(4, 24, 4) / 24**0.5)

        def forward(self, x: Tensor) -> Tensor:
            one = lambda a, b: torch.tanh(x @ a) @ b  # noqa: E731
            return torch.vmap(one)(self.first, self.second).mean(0)

    return Case(Ensemble, blobs(), F.cross_entropy, optimizer=adam(1e-2))
