"""Networks whose layers are all alike: as operations, what their gradient loses, and how far their signals reach."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import TheoryError
from .chain import Activation, BatchNorm, LayerNorm, Operation, Residual, State, Step, Weights, propagate, total_decades
from .functions import Activatable
from .meanfield import mean_field

Norm = Literal["batchnorm", "layernorm"]
Side = Literal["before", "after"]

REACH = 6.0
"""A signal reaches until its strength has changed by exp(6): networks train to a depth of about 6 ξ_c (Schoenholz et
al. 2017). That is a factor of 20 on the gradient's norm."""
DEEPEST = 2000
"""Layers that are followed one by one. By then a network is at rest, or so near to critical that its reach is endless.
"""
AT_REST = 1e-9

Reason = Literal["vanishing", "exploding", "chaotic"]
_REASONS: dict[str, Reason | None] = {"ordered": "vanishing", "critical": None, "chaotic": "chaotic"}


@dataclass(frozen=True, slots=True)
class Reach:
    """layers: how many a signal survives; infinite where nothing is lost. reason: what ends it: a gradient that is
    vanishing or exploding, or chaos, in which alike samples become as different as any."""

    layers: float
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Uniform:
    """A network of equal hidden layers: weights, activation, and a normalisation on one `side` of the activation.

    norm: over `batch` values (batchnorm) or `width` units (layernorm), None for very many. residual: the scale a of
    h + a W φ(h); the weights then come last, and a normalisation is inside of the branch.
    Raises TheoryError for an unknown activation, norm or side.
    """

    activation: Activatable
    weights: Weights
    norm: Norm | None = None
    side: Side = "before"
    batch: int | None = None
    width: int | None = None
    residual: float | None = None

    def __post_init__(self) -> None:
        if self.norm not in (None, *get_args(Norm)):
            raise TheoryError(f"theory knows the normalisations {' and '.join(get_args(Norm))}, not {self.norm!r}.")
        if self.side not in get_args(Side):
            raise TheoryError(f"a normalisation is before or after the activation, not {self.side!r}.")
        self._inner()

    def operations(self, depth: int) -> tuple[Operation, ...]:
        """The network without its output layer. A residual one begins with a layer of weights of its own."""
        if depth < 1:
            raise TheoryError(f"a network has at least one layer; {depth} is too few.")
        if self.residual is None:
            return (self.weights, *self._inner()) * depth
        return (self.weights, *self._layer() * depth)

    def layer_decades(self, depth: int, state: State | None = None) -> tuple[float, ...]:
        """log10 of the factor on the gradient's norm, from behind the weights of a layer to behind those of the layer
        before it, for layers 2 to `depth`; `state` enters the network, by default standardised data."""
        return tuple(total_decades(steps) for steps in itertools.islice(self._walk(state or self._data()), depth - 1))

    def reach(self) -> Reach:
        """About how many layers a signal survives, and what ends it.

        For plain networks that come to rest: 6 ξ_c, after which two samples are as alike as any other two, whether
        the network is ordered (then the gradient has vanished, too) or chaotic (Schoenholz et al. 2017). For others, to
        which that does not apply, the layers in which the squared gradient norm shrinks or grows by exp(6), along the
        variances that the signal really has. An estimate for plain gradient descent: Adam goes further, and a network
        that has begun to train is another network.
        """
        if self.norm is None and self.residual is None:
            field = mean_field(self.activation, self.weights.weight_variance, self.weights.bias_variance)
            if 0.0 < field.q < math.inf:
                return Reach(REACH * field.xi_c, _REASONS[field.phase])
        return self._gradient_reach()

    def _gradient_reach(self) -> Reach:
        change, before = 0.0, self.weights.step(self._data()).state
        for depth, steps in enumerate(itertools.islice(self._walk(self._data()), DEEPEST)):
            rate, after = 2.0 * math.log(10.0) * total_decades(steps), steps[-1].state
            resting = abs(after.q - before.q) + abs(after.shared - before.shared) <= AT_REST * before.q
            if resting and abs(rate) < AT_REST:
                break
            if resting or abs(change + rate) >= REACH:
                layers = depth + (math.copysign(REACH, rate) - change) / rate
                return Reach(layers, "exploding" if rate > 0.0 else "vanishing")
            change, before = change + rate, after
        return Reach(math.inf, None)

    def _data(self) -> State:
        """Standardised data. Only batch normalisation asks how samples differ; alike ones are quick to follow."""
        return State() if self.norm == "batchnorm" else State(shared=1.0)

    def _walk(self, state: State) -> Iterator[tuple[Step, ...]]:
        """The steps of layer after layer, from behind its predecessor's weights to behind its own."""
        state = self.weights.step(state).state
        while True:
            steps = propagate(state, self._layer())
            yield steps
            state = steps[-1].state

    def _layer(self) -> tuple[Operation, ...]:
        inner = (*self._inner(), self.weights)
        return inner if self.residual is None else (Residual(inner, self.residual),)

    def _inner(self) -> tuple[Operation, ...]:
        act = Activation(self.activation)
        if self.norm is None:
            return (act,)
        norm = BatchNorm(self.batch) if self.norm == "batchnorm" else LayerNorm(self.width)
        return (norm, act) if self.side == "before" else (act, norm)
