"""Another activation function in every hidden place."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional

from ..errors import NotApplicable
from ..observation import Observation
from ..setup import Anatomy, Setup
from ..trace.types import Operation, Trace
from .base import Remedy
from .hidden import activation_lines, depth_of, hidden_activations, places
from .initialisations import initialise
from .layers import layers_of
from .rewire import Elementwise, Rewire


class Activation(Remedy):
    """Replaces each hidden elementwise activation and keeps the weights, so that one thing changes.

    The output's activation (after the last weights) belongs to the loss, and stays.
    """

    function: ClassVar[str]  # as torch names it

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.examples = (cls.names[0],)

    @staticmethod
    @abstractmethod
    def activate(x: Tensor) -> Tensor:
        """Elementwise; the shape stays."""

    def fitted(self, trace: Trace) -> Elementwise:
        """What is put into this network."""
        return self.activate

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        calls = hidden_activations(anatomy.trace)
        others = {site: ops for site, ops in calls.items() if any(op.name != self.function for op in ops)}
        if not others:
            raise NotApplicable(f"every hidden activation is {self.function} already")
        rewire, activation = Rewire.of(setup), self.fitted(anatomy.trace)
        for site in others:
            rewire.at(site).activation = activation
        before = _names([op for ops in others.values() for op in ops if op.name != self.function])
        setup.changes.append(f"{before} -> {self.function} in {places(len(others))}")

    def lines(self, seen: Observation) -> tuple[str | None, ...]:
        return activation_lines(seen)

    def __str__(self) -> str:
        return self.names[0]


def _names(operations: Sequence[Operation]) -> str:
    return ", ".join(dict.fromkeys(op.name for op in operations))


@dataclass(frozen=True)
class Tanh(Activation):
    names = ("tanh",)
    title = "tanh in every hidden place: centred at zero, slope 1 there, flat for large inputs"
    reading = "LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, doi:10.1007/3-540-49430-8_2"
    function = "tanh"

    @staticmethod
    def activate(x: Tensor) -> Tensor:
        return x.tanh()


@dataclass(frozen=True)
class Relu(Activation):
    names = ("relu",)
    title = "ReLU in every hidden place: slope 1 for positive inputs, 0 for negative ones"
    reading = "Glorot, Bordes and Bengio 2011, Deep sparse rectifier neural networks, AISTATS, PMLR 15:315"
    function = "relu"

    @staticmethod
    def activate(x: Tensor) -> Tensor:
        return functional.relu(x)


@dataclass(frozen=True)
class LeakyRelu(Activation):
    names = ("leaky-relu", "leakyrelu")
    title = "leaky ReLU in every hidden place: slope 0.01 for negative inputs, so that no unit dies"
    reading = "Maas, Hannun and Ng 2013, Rectifier nonlinearities improve neural network acoustic models, ICML workshop"
    function = "leaky_relu"

    @staticmethod
    def activate(x: Tensor) -> Tensor:
        return functional.leaky_relu(x)


@dataclass(frozen=True)
class Elu(Activation):
    names = ("elu",)
    title = "ELU in every hidden place: like ReLU, with outputs down to -1 and a mean nearer zero"
    reading = "Clevert, Unterthiner and Hochreiter 2016, arXiv:1511.07289"
    function = "elu"

    @staticmethod
    def activate(x: Tensor) -> Tensor:
        return functional.elu(x)


@dataclass(frozen=True)
class Gelu(Activation):
    names = ("gelu",)
    title = "GELU in every hidden place: a smooth ReLU"
    reading = "Hendrycks and Gimpel 2016, arXiv:1606.08415"
    function = "gelu"

    @staticmethod
    def activate(x: Tensor) -> Tensor:
        return functional.gelu(x)


@dataclass(frozen=True)
class Silu(Activation):
    names = ("silu", "swish")
    title = "SiLU (swish) in every hidden place: x sigmoid(x), a smooth ReLU"
    reading = "Elfwing, Uchibe and Doya 2018, arXiv:1702.03118; Ramachandran, Zoph and Le 2017, arXiv:1710.05941"
    function = "silu"

    @staticmethod
    def activate(x: Tensor) -> Tensor:
        return functional.silu(x)


@dataclass(frozen=True)
class Selu(Activation):
    """Self-normalising only with the weights that it was derived for, so it brings them along."""

    names = ("selu",)
    title = "SELU in every hidden place, with the weights it is defined for: N(0, 1/fan_in), zero biases"
    reading = "Klambauer, Unterthiner, Mayr and Hochreiter 2017, arXiv:1706.02515"
    function = "selu"

    @staticmethod
    def activate(x: Tensor) -> Tensor:
        return functional.selu(x)

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        layers_of(setup.model, anatomy.trace)  # says so where there are none, before anything is changed
        super().apply(setup, anatomy)
        initialise("lecun", None, setup, anatomy)


@dataclass(frozen=True)
class TailoredRelu(Activation):
    """Leaky ReLU whose negative slope goes by the depth, so that samples with nothing in common do not all become one.

    Behind L layers of slope a two such samples have the correlation C(C(... C(0))), where C(c) = c + (1 - a)² /
    (π (1 + a²)) (√(1 - c²) - c arccos c) (Cho and Saul 2009); a is the smallest slope with which that is at most 0.9.
    It is scaled so that E[φ'²] = 1/2, like that of ReLU: the weights that suit ReLU suit it.
    """

    names = ("trelu",)
    title = "leaky ReLU with the negative slope that the depth asks for, scaled to suit ReLU's weights"
    reading = "Zhang, Botev and Martens 2022, Deep learning without shortcuts, arXiv:2203.08120"
    function = "trelu"

    @staticmethod
    def activate(x: Tensor, slope: float = 0.0) -> Tensor:
        return functional.leaky_relu(x, slope) / math.sqrt(1.0 + slope * slope)

    def fitted(self, trace: Trace) -> Elementwise:
        return functools.partial(self.activate, slope=tailored_slope(depth_of(trace)))

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        super().apply(setup, anatomy)
        setup.changes[-1] += f", negative slope {tailored_slope(depth_of(anatomy.trace)):.3g}"


ALIKE = 0.9
"""The correlation that Zhang et al. 2022 allow two samples with nothing in common at the end."""


@functools.cache
def tailored_slope(depth: int) -> float:
    """The negative slope of a tailored ReLU, 0 for a network in which ReLU itself keeps samples apart."""

    def alike(slope: float) -> float:
        c, bend = 0.0, (1.0 - slope) ** 2 / (math.pi * (1.0 + slope * slope))
        for _ in range(depth):
            c = min(1.0, c + bend * (math.sqrt(1.0 - c * c) - c * math.acos(c)))
        return c

    low, high = 0.0, 1.0
    if alike(low) <= ALIKE:
        return low
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if alike(middle) <= ALIKE else (middle, high)
    return high
