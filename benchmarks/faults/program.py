"""A training program as a value, and the published facts about it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

import unstick

from .dataset import load
from .keras import Layers, build
from .training import LOSSES, Optimizer


@dataclass(frozen=True)
class Program:
    """Everything that is trained. epochs: as published, where they were."""

    data: str
    layers: Layers
    loss: str
    optimizer: Optimizer
    batch: int
    epochs: int | None = None

    @property
    def key(self) -> str:
        """The same for two programs that are the same but for the number of epochs."""
        text = repr((self.data, self.layers, self.loss, self.optimizer, self.batch))
        return hashlib.sha256(text.encode()).hexdigest()

    def updates(self, most: int) -> int:
        """Optimizer steps in the published number of epochs, at most `most`."""
        if self.epochs is None:
            return most
        return min(most, self.epochs * -(-len(load(self.data).x) // self.batch))

    def case(self, name: str) -> unstick.Case:
        data = load(self.data)
        batch = min(self.batch, len(data.x))
        return unstick.Case(
            model=lambda: build(self.layers, data.shape),
            data=(data.x, data.y),
            loss=LOSSES[self.loss],
            optimizer=self.optimizer,
            metric=data.score,
            batch_size=batch,
            name=name,
        )

    def score(self, model: torch.nn.Module) -> float | None:
        """On all samples, without dropout; None where an output is not finite.

        Batch normalisation takes the statistics of all samples: Keras' running averages, which forget a hundredth a
        step, still hold what they began with after a few hundred steps, and that is no fault of the training.
        """
        data = load(self.data)
        model.eval()
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.train()
        with torch.no_grad():
            out = model(data.x)
        return data.score(out, data.y) if bool(out.isfinite().all()) else None


@dataclass(frozen=True)
class Fault:
    """A published program.

    labels: the published ground truth, in the words of the collection. grade: A injected fault with a clean twin; B
    labelled by the program's author or an accepted answer; C inferred from how the case was made; D read from the
    code by us. fix: the published repair or the clean twin as a program, None where there is none. remedies: the
    published repair as far as unstick has words for it. substitute: what stands for data that cannot be had here.
    outcome: what earlier re-runs of the facts in PyTorch found. note: what a reader should know.
    """

    id: str
    family: str
    source: str
    grade: str
    labels: tuple[str, ...]
    program: Program
    fix: Program | None = None
    remedies: tuple[str, ...] = ()
    substitute: str = ""
    outcome: str = ""
    note: str = ""

    @property
    def control(self) -> bool:
        return self.labels == ("healthy",)

    @property
    def half(self) -> str:
        """Rules may be improved on `tune`; `held` is reported on. Equal programs fall on the same side."""
        return "tune" if int(self.program.key[:8], 16) % 2 == 0 else "held"

    @property
    def seed(self) -> int:
        """Of the first run; each case has its own, so that equal programs are at least other draws."""
        return int(hashlib.sha256(self.id.encode()).hexdigest()[:6], 16)
