"""Other steps: another optimizer, another learning rate, a bound on the gradient."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..observation import Observation
from ..setup import Anatomy, Setup, parameters_of
from .base import Remedy
from .depth import for_depth, rated
from .values import Times, arguments, check_number, number

Parameters = list[nn.Parameter]


class OfOptimizer(Remedy):
    """Is about the line that makes the optimizer."""

    def lines(self, seen: Observation) -> tuple[str | None, ...]:
        return (seen.optimizer.source,) if seen.optimizer else ()


class NewOptimizer(OfOptimizer):
    """Replaces the case's optimizer, its settings included, by one over all trainable parameters."""

    @abstractmethod
    def make(self, parameters: Parameters) -> torch.optim.Optimizer: ...

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        setup.make_optimizer = self.make
        setup.changes.append(f"optimizer: {self}")


@dataclass(frozen=True)
class Adam(NewOptimizer):
    names = ("adam",)
    title = "Adam, with torch's own settings (lr=0.001, eps=1e-8) where none are given"
    reading = "Kingma and Ba 2015, arXiv:1412.6980"
    examples = ("adam", "adam(lr=3e-4)", "adam(eps=1e-16)")

    lr: float | None = None
    eps: float | None = None

    def __post_init__(self) -> None:
        if self.lr is not None:
            check_number(self.lr, "lr of adam")
        if self.eps is not None:
            check_number(self.eps, "eps of adam", open_=False)

    def make(self, parameters: Parameters) -> torch.optim.Optimizer:
        given = {"lr": self.lr, "eps": self.eps}
        return torch.optim.Adam(parameters, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]

    def __str__(self) -> str:
        return "adam" + arguments(lr=self.lr, eps=self.eps)


@dataclass(frozen=True)
class Sgd(NewOptimizer):
    names = ("sgd",)
    title = "stochastic gradient descent, plain (lr=0.1) or with momentum"
    reading = "Robbins and Monro 1951, doi:10.1214/aoms/1177729586; Sutskever et al. 2013, PMLR 28:1139, on momentum"
    examples = ("sgd", "sgd(lr=0.01)", "sgd(lr=0.1, momentum=0.9)")

    lr: float = 0.1
    momentum: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr of sgd")
        check_number(self.momentum, "momentum of sgd", below=1.0, open_=False)

    def make(self, parameters: Parameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum)

    def __str__(self) -> str:
        return "sgd" + arguments(lr=self.lr, momentum=self.momentum or None)


class Wrapped(OfOptimizer):
    """Keeps the optimizer that the case, or a remedy before this one, makes, and changes something about it."""

    @abstractmethod
    def change(self, optimizer: torch.optim.Optimizer) -> None: ...

    @abstractmethod
    def describe(self) -> str:
        """For the report."""

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        setup.make_optimizer = self._wrapping(setup.make_optimizer)
        setup.changes.append(self.describe())

    def _wrapping(
        self, make: Callable[[Parameters], torch.optim.Optimizer]
    ) -> Callable[[Parameters], torch.optim.Optimizer]:
        def make_and_change(parameters: Parameters) -> torch.optim.Optimizer:
            optimizer = make(parameters)
            self.change(optimizer)
            return optimizer

        return make_and_change


@dataclass(frozen=True)
class LearningRate(Wrapped):
    names = ("lr",)
    title = "another learning rate, a multiple of the case's own in every parameter group, or as small as depth asks"
    reading = (
        "Bengio 2012, Practical recommendations for gradient-based training, arXiv:1206.5533; on depth Bernstein et "
        "al. 2020, arXiv:2002.03432, and Jelassi et al. 2023, arXiv:2305.07810"
    )
    examples = ("lr(1e-3)", "lr(x10)", "lr(x0.1)", "lr(depth)")

    value: float | Times | str

    def __post_init__(self) -> None:
        if isinstance(self.value, Times):
            check_number(self.value.factor, "the factor of lr")
        elif self.value != "depth":
            check_number(self.value, "what lr is set to, unless it is the word depth,")

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        if self.value == "depth":
            setup.make_optimizer = for_depth(setup, anatomy.batches[0])
        else:
            super().apply(setup, anatomy)

    def change(self, optimizer: torch.optim.Optimizer) -> None:
        """Raises NotApplicable where the optimizer has no learning rate."""
        for group in rated(optimizer):
            group["lr"] = group["lr"] * self.value.factor if isinstance(self.value, Times) else self.value

    def describe(self) -> str:
        if isinstance(self.value, Times):
            return f"learning rate multiplied by {number(self.value.factor)}"
        return f"learning rate set to {number(float(self.value))}"

    def __str__(self) -> str:
        return "lr" + arguments(self.value)


@dataclass(frozen=True)
class Clip(Wrapped):
    """The Euclidean norm of all gradients together, before every step."""

    names = ("clip",)
    title = "the norm of the whole gradient is cut to this value before each step"
    reading = "Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063"
    examples = ("clip(1.0)",)

    norm: float

    def __post_init__(self) -> None:
        check_number(self.norm, "the norm of clip")

    def change(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.register_step_pre_hook(self._clip)

    def _clip(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        nn.utils.clip_grad_norm_(parameters_of(optimizer), self.norm)

    def describe(self) -> str:
        return f"gradient norm clipped to {self.norm:g}"

    def __str__(self) -> str:
        return "clip" + arguments(self.norm)
