"""Signal propagation through a chain of operations: what goes forward, and what each does to the gradient going back.

The networks of the theory are infinitely wide, their weights independent and random, and gradients of different
samples uncorrelated. `docs/theory.md` says where real networks differ: narrow layers, trained weights, tiny batches.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import TheoryError
from .functions import Activatable, Function, function
from .meanfield import check
from .moments import LARGEST, moments, pair, slope_over_variance

EPS = 1e-5
"""What PyTorch's normalisations add to a variance."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a signal behind an activation comes from: the activation, and what it got."""

    function: Function
    mean: float
    variance: float
    covariance: float


@dataclass(frozen=True, slots=True)
class State:
    """The signal h at one place; averages run over units.

    q: E[h²]. shared: E[h_a h_b] for two different samples. mean: E[h]. All in h's own unit, squared for q and shared.
    The default is a standardised input whose samples have nothing in common.
    """

    q: float = 1.0
    shared: float = 0.0
    mean: float = 0.0
    source: Source | None = None

    @property
    def between(self) -> float:
        """The share of q that differs between samples, 0 to 1; 0: the samples cannot be told apart."""
        return min(max(1.0 - self.shared / self.q, 0.0), 1.0) if self.q else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """An operation, the state behind it, and the factor on the gradient's norm from behind it to before it.

    branch: the steps inside of a residual branch.
    """

    operation: Operation
    state: State
    gain: float
    branch: tuple[Step, ...] = ()

    @property
    def decades(self) -> float:
        """log10 of the gain; negative where the gradient is lost."""
        return math.log10(self.gain) if self.gain > 0.0 else -math.inf


class Operation(ABC):
    """One operation at initialisation. Constructors raise TheoryError for numbers that make no sense."""

    __slots__ = ()

    @abstractmethod
    def step(self, state: State) -> Step:
        """What it does to a signal, and to the gradient."""


@dataclass(frozen=True, slots=True)
class Weights(Operation):
    """Dense layer or convolution: weights N(0, weight_variance/fan_in), biases N(0, bias_variance); fan_in = k² c.

    |W^T δ|² = fan_in Var(w) |δ|², whatever the fan-out. Zero padding, which loses a little on small maps, is left out.
    """

    weight_variance: float
    bias_variance: float = 0.0

    def __post_init__(self) -> None:
        check(self.weight_variance, self.bias_variance)

    def step(self, state: State) -> Step:
        w, b = self.weight_variance, self.bias_variance
        after = State(min(w * state.q + b, LARGEST), min(w * state.shared + b, LARGEST))
        return Step(self, after, math.sqrt(w))


@dataclass(frozen=True, slots=True)
class Activation(Operation):
    """φ on each unit, which is taken to be normal over units: behind weights or behind their normalisation it is.

    The gradient keeps E[φ'²].
    """

    activation: Activatable

    def __post_init__(self) -> None:
        function(self.activation)

    def step(self, state: State) -> Step:
        f, square = function(self.activation), state.mean * state.mean
        variance, covariance = max(state.q - square, 0.0), state.shared - square
        mean, second, slope = moments(f, state.mean, variance)
        shared = pair(f, state.mean, variance, max(covariance, -variance))
        source = Source(f, state.mean, variance, covariance)
        after = State(min(second, LARGEST), min(shared, LARGEST), min(mean, math.sqrt(LARGEST)), source)
        return Step(self, after, math.sqrt(slope))


@dataclass(frozen=True, slots=True)
class BatchNorm(Operation):
    """Batch normalisation in training: each unit is centred and scaled over `batch` values. None: over very many.

    What is divided by is the variance *between* samples, q - shared. Behind an activation units differ in it, and what
    is predicted is the product with the activation's gain. The factor (B-2)/(B-3) on the squared gain: the gradient
    loses 2 of B directions, and 1/s² of B normal values is B/(B-3) on average. That average does not exist for B < 4:
    there is no prediction. With SiLU and GELU the symmetry between samples breaks, and real gains are larger.
    """

    batch: int | None = None
    gain: float = 1.0
    shift: float = 0.0
    eps: float = EPS

    def __post_init__(self) -> None:
        _sizes("batch", self.batch)

    def step(self, state: State) -> Step:
        variance = max(state.q - state.shared, 0.0)
        inverse = _inverse(state.source, variance, self.eps)
        kept = self.gain**2 * variance / (variance + self.eps) if variance else 0.0
        after = State(kept + self.shift**2, self.shift**2, self.shift)
        return Step(self, after, abs(self.gain) * math.sqrt(inverse * _finite(self.batch)))


@dataclass(frozen=True, slots=True)
class LayerNorm(Operation):
    """Layer normalisation: each sample is centred and scaled over its `width` units. None: over very many."""

    width: int | None = None
    gain: float = 1.0
    shift: float = 0.0
    eps: float = EPS

    def __post_init__(self) -> None:
        _sizes("width", self.width)

    def step(self, state: State) -> Step:
        square = state.mean * state.mean
        variance = max(state.q - square, 0.0)
        scale = self.gain**2 / (variance + self.eps) if variance + self.eps else 0.0
        after = State(scale * variance + self.shift**2, scale * (state.shared - square) + self.shift**2, self.shift)
        return Step(self, after, math.sqrt(scale * _finite(self.width)))


@dataclass(frozen=True, slots=True)
class Dropout(Operation):
    """Sets a share p of the entries to zero and scales the others by 1/(1-p), differently for each sample."""

    p: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.p < 1.0:
            raise TheoryError(f"the share that dropout drops must be at least 0 and below 1; {self.p} is not.")

    def step(self, state: State) -> Step:
        after = replace(state, q=min(state.q / (1.0 - self.p), LARGEST), source=None)
        return Step(self, after, 1.0 / math.sqrt(1.0 - self.p))


@dataclass(frozen=True, slots=True)
class Residual(Operation):
    """h + scale * branch(h). scale = 0 is the start of ReZero and SkipInit.

    The branch must have random weights, so that it is uncorrelated with h apart from the means. Exact where they come
    last (pre-activation); h + relu(W h) grows faster than this says: about 1.6 a layer against 1.41, 256 units wide.
    """

    branch: tuple[Operation, ...]
    scale: float = 1.0

    def step(self, state: State) -> Step:
        inner, a = propagate(state, self.branch), self.scale
        end = inner[-1].state if inner else state
        cross, square = 2.0 * a * state.mean * end.mean, a * a
        q, shared = state.q + cross + square * end.q, state.shared + cross + square * end.shared
        after = State(min(q, LARGEST), min(shared, LARGEST), state.mean + a * end.mean)
        return Step(self, after, math.sqrt(1.0 + square * total_gain(inner) ** 2), inner)


def propagate(state: State, operations: Iterable[Operation]) -> tuple[Step, ...]:
    """One step for each operation, in forward order."""
    steps: list[Step] = []
    for operation in operations:
        steps.append(operation.step(steps[-1].state if steps else state))
    return tuple(steps)


def total_gain(steps: Sequence[Step]) -> float:
    """Factor on the gradient's norm through all of them."""
    return math.prod(step.gain for step in steps)


def total_decades(steps: Sequence[Step]) -> float:
    """log10 of it, also where the factor itself is no longer a number."""
    return sum(step.decades for step in steps)


def _inverse(source: Source | None, variance: float, eps: float) -> float:
    """E[1/(variance + eps)] over units, weighted with the gradient that they pass on."""
    if source is None or source.covariance <= 0.0:
        return 1.0 / (variance + eps) if variance + eps else 0.0
    slope = moments(source.function, source.mean, source.variance)[2]
    over = slope_over_variance(source.function, source.mean, source.variance, source.covariance, eps)
    return over / slope if slope else 0.0


def _sizes(name: str, count: int | None) -> None:
    if count is not None and count < 4:
        raise TheoryError(f"theory predicts normalisation over 4 values or more; {name} is {count}.")


def _finite(count: int | None) -> float:
    """What normalising over a finite number of values does to the squared gain."""
    return 1.0 if count is None else (count - 2) / (count - 3)
