"""What mean-field theory expects of a traced network, to stand beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median

from . import theory
from .errors import TheoryError
from .trace.attribution import attenuation
from .trace.types import Operation, ParameterStep, Trace

CHANCE = 4.0  # standard deviations
PER_LAYER = math.log10(1.1)
"""Decades by which theory may be wrong for each layer: at initialisation its gains were off by up to 9 % (GELU with He
weights; batch normalisation of small batches)."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """decades: what the gradient should lose from the last to the first hidden operation, with random weights of the
    sizes that these have. path: the same from each hidden operation on to the last, first to last.

    measured: what it loses. scatter: standard deviation of the decades between networks of this width and depth.
    layers: weight matrices on the path. reach: through how many such layers a signal survives; None for a network
    whose layers are not alike.
    """

    decades: float
    path: tuple[float, ...]
    measured: float
    scatter: float
    layers: int
    reach: theory.Reach | None

    @property
    def outlived(self) -> bool:
        """Whether there are more layers than a signal survives."""
        return self.reach is not None and self.layers > self.reach.layers

    @property
    def gap(self) -> float | None:
        """Measured less predicted, where that is more than chance and the theory's own errors make."""
        gap = self.measured - self.decades
        return gap if abs(gap) > CHANCE * self.scatter + PER_LAYER * self.layers else None

    @property
    def sentence(self) -> str:
        """What follows, for people."""
        expects = f"Theory expects {self.decades:.1f} decades of random weights of this size"
        if self.gap is not None:
            return f"{expects}: these are not random (any more), or something else is wrong."
        if self.reach is None or not self.outlived:
            return f"{expects}."
        reach = max(1, round(self.reach.layers))
        survive = "1 layer" if reach == 1 else f"{reach} layers"
        return f"{expects}: signals survive about {survive} here, and there are {self.layers}."


def predict(trace: Trace) -> Prediction | None:
    """None where theory has no word for an operation on the path, or nothing was measured to compare with."""
    lost = attenuation(trace)
    if lost is None or lost.truncated or len(trace.path) < 3:
        return None
    try:
        operations = _Chain(trace).operations()
        steps = theory.propagate(_entering(trace.hidden[0]), operations)
        reach = _reach(operations)
    except (TheoryError, _Unknown):
        return None
    path = list(accumulate((-step.decades for step in reversed(steps)), initial=0.0))
    if not all(map(math.isfinite, path)):
        return None
    weighted = [op for op in trace.hidden if op.kind == "weights"]
    return Prediction(path[-1], tuple(reversed(path)), lost.decades, _scatter(weighted), len(weighted), reach)


class _Unknown(Exception):
    """An operation that theory does not describe."""


def _entering(first: Operation) -> theory.State:
    """The measured signal behind the first weights; its units average to nothing where weights are random."""
    samples = first.shape[0]
    if samples < 2:
        raise _Unknown("a single sample")
    q = first.forward.rms**2
    between = first.forward.between * samples / (samples - 1)  # it was measured around the mean of these samples
    return theory.State(q, q * (1.0 - between))


def _scatter(weighted: Sequence[Operation]) -> float:
    """ln |g|² of a random ReLU network has the variance 5 Σ 1/width (Hanin and Nica 2020); taken for all networks."""
    variance = 5.0 * sum(1.0 / max(1, op.shape[op.unit_axis]) for op in weighted)
    return math.sqrt(variance) / (2.0 * math.log(10.0))


class _Chain:
    """Translates the hidden operations of a trace, behind the first weights, into those of the theory."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._parameters: Mapping[str, ParameterStep] = {p.name: p for p in trace.parameters}

    def operations(self) -> tuple[theory.Operation, ...]:
        return tuple(self._one(before, op) for before, op in pairwise(self._trace.hidden))

    def _one(self, before: Operation, op: Operation) -> theory.Operation:
        if op.kind == "weights":
            return self._weights(op)
        if op.kind == "activation":
            return theory.Activation(op.name)
        if op.name == "batch_norm":
            units = op.shape[op.unit_axis]
            return theory.BatchNorm(math.prod(op.shape) // units, *self._affine(op))
        if op.name == "layer_norm":
            return theory.LayerNorm(op.shape[op.unit_axis], *self._affine(op))
        if op.name == "dropout" and op.forward.rms > 0:  # its share is not in the trace, but in what it does
            return theory.Dropout(max(0.0, 1.0 - (before.forward.rms / op.forward.rms) ** 2))
        if op.name in ("add", "__add__", "__radd__") and len(op.parents) == 2:
            return theory.Residual(self._branch(before, op))
        raise _Unknown(op.name)

    def _branch(self, before: Operation, join: Operation) -> tuple[theory.Operation, ...]:
        """The operations from `before` to where its branch joins it again."""
        ops = self._trace.operations
        at = next(ops[p] for p in join.parents if p != before.index)
        found = [at]
        while at.parents != (before.index,):
            if len(at.parents) != 1:
                raise _Unknown(at.name)
            at = ops[at.parents[0]]
            found.append(at)
        found.append(before)
        return tuple(self._one(earlier, op) for earlier, op in pairwise(reversed(found)))

    def _weights(self, op: Operation) -> theory.Weights:
        weight = self._parameters.get(op.parameter or "")
        if weight is None or op.name not in ("linear", "conv1d", "conv2d", "conv3d"):
            raise _Unknown(op.name)
        fan_in, count = math.prod(weight.shape[1:]), math.prod(weight.shape)
        return theory.Weights(fan_in * weight.norm**2 / count, self._mean_square(_beside(weight.name)))

    def _affine(self, op: Operation) -> tuple[float, float]:
        """Typical gain and shift of a normalisation; those without parameters have 1 and 0."""
        if op.parameter is None:
            return 1.0, 0.0
        return math.sqrt(self._mean_square(op.parameter)), math.sqrt(self._mean_square(_beside(op.parameter)))

    def _mean_square(self, name: str) -> float:
        parameter = self._parameters.get(name)
        return parameter.norm**2 / math.prod(parameter.shape) if parameter else 0.0


def _beside(weight: str) -> str:
    """The name of the bias that goes with a weight."""
    path, dot, last = weight.rpartition(".")
    return f"{path}{dot}{last.replace('weight', 'bias')}"


def _reach(operations: Sequence[theory.Operation]) -> theory.Reach | None:
    """That of a network all of whose layers are like the typical one here; None where they are not alike."""
    layers = {tuple(map(type, layer)) for layer in _layers(operations)}
    activations = {op.activation for op in operations if isinstance(op, theory.Activation)}
    weights = [op for op in operations if isinstance(op, theory.Weights)]
    if len(layers) != 1 or len(activations) != 1 or not weights:
        return None
    norm = next((op for op in operations if isinstance(op, theory.BatchNorm | theory.LayerNorm)), None)
    batch = isinstance(norm, theory.BatchNorm)
    (layer,) = layers
    if layer not in {(theory.Activation,), (theory.Activation, type(norm)), (type(norm), theory.Activation)}:
        return None
    return theory.Uniform(
        activations.pop(),
        theory.Weights(median(w.weight_variance for w in weights), median(w.bias_variance for w in weights)),
        norm=None if norm is None else "batchnorm" if batch else "layernorm",
        side="after" if layer[0] is theory.Activation else "before",
        batch=norm.batch if isinstance(norm, theory.BatchNorm) else None,
        width=norm.width if isinstance(norm, theory.LayerNorm) else None,
    ).reach()


def _layers(operations: Sequence[theory.Operation]) -> list[list[theory.Operation]]:
    """What stands between the weights."""
    layers: list[list[theory.Operation]] = [[]]
    for op in operations:
        if isinstance(op, theory.Weights):
            layers.append([])
        else:
            layers[-1].append(op)
    return layers
