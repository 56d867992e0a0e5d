"""Weights of the wrong size, and weights that are all alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..observation import GROWTH, Observation
from ..trace.types import Operation, Trace
from .base import Finding, Rule, Severity, blamed
from .gradient import DECADES, delayed, explodes, late, vanishes
from .measures import (
    EXPONENTIAL,
    activations,
    critical_start,
    fitting_init,
    grade,
    gradient,
    main_activation,
    weight_steps,
    worse_than_constant,
)

LARGE, SMALL = 5.0, 0.05
"""A layer with random weights multiplies the root mean square of its input by σ_w, the root of fan-in times their
variance: PyTorch's default is 0.6, Glorot's 1, He's 1.4; a sigmoid that is to be critical wants 4."""


class WeightsTooSmall(Rule):
    """The gradient vanishes, and the weight matrices take the largest part in it.

    Each layer multiplies the gradient by about the root of (weight variance x fan-out). Where that product is below
    what the activation needs (2 for ReLU, 1 for tanh), the signal shrinks in every layer, forward and backward.
    PyTorch's default `nn.Linear` has 1/3.

    A network that learns all the same gets a note where every layer is far below that.

    Glorot and Bengio 2010; He et al. 2015.
    """

    id = "weights-too-small"
    title = "the weights shrink the signal in every layer"
    reading = "He et al. 2015, Delving deep into rectifiers, arXiv:1502.01852"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        state = gradient(seen, DECADES) if vanishes(seen) else delayed(seen)
        if state is None or state.culprit != "weights":
            yield from self._by_layer(seen)
            return
        trace = state.onset
        weighted = [op for op in trace.hidden[1:] if op.kind == "weights"]
        lost = state.lost.parts["weights"]
        factor = 10 ** (-lost / max(1, len(weighted)))
        yield Finding(
            self.id,
            Severity.ERROR if vanishes(seen) else Severity.WARNING,
            f"The weights are too small for this depth: each of {len(weighted)} layers shrinks the gradient to "
            f"{factor:.2f} of itself, {lost:.1f} decades in all.{late(seen)}",
            module=weighted[0].module if weighted else None,
            source=weighted[0].source if weighted else None,
            cause=blamed(earlier, "eval-mode"),
            evidence={"decades": lost, "factor_per_layer": factor, "layers": len(weighted)},
            remedies=(fitting_init(trace), critical_start(trace), "batchnorm", "residual"),
            since=state.onset.step,
            reading=self.reading,
        )

    def _by_layer(self, seen: Observation) -> Iterator[Finding]:
        trace = seen.traces[0]
        sizes, severity = _sizes(trace), grade(seen)
        if len(sizes) < 2 or max(size for size, _ in sizes) > SMALL or severity is None:
            return
        if any(op.kind == "normalisation" for op in trace.operations):  # which takes the size of weights out again
            return
        size, at = max(sizes, key=lambda pair: pair[0])
        yield Finding(
            self.id,
            severity,
            f"All weights are small: each of {len(sizes)} layers shrinks a signal to {size:.2g} of its size or less, "
            f"where about 1 keeps it. Nothing gets through before they have grown.",
            module=at.module,
            source=at.source,
            evidence={"factor": size, "layers": len(sizes)},
            remedies=(fitting_init(trace), critical_start(trace)),
            since=0,
            reading=self.reading,
        )


class WeightsTooLarge(Rule):
    """The gradient explodes from the first step on, and the weight matrices make it grow.

    Where it did so only later, the steps are to blame, not the initial weights. A network of few layers does not
    explode; its large weights are told from single layers, where its loss stays above that of a constant output.

    Sompolinsky, Crisanti and Sommers 1988; Poole et al. 2016.
    """

    id = "weights-too-large"
    title = "the weights blow the signal up in every layer"
    reading = "Poole et al. 2016, Exponential expressivity in deep neural networks, arXiv:1606.05340"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        if activations(seen.traces[0], EXPONENTIAL):
            return
        state = gradient(seen, GROWTH)
        if state is None or not explodes(seen) or state.culprit != "weights" or state.first.decades > -GROWTH:
            yield from self._by_layer(seen)
            return
        trace = state.onset
        weighted = [op for op in trace.hidden[1:] if op.kind == "weights"]
        gained = -state.lost.parts["weights"]
        factor = 10 ** (gained / max(1, len(weighted)))
        peak = max((op.forward.peak for op in trace.hidden if op.forward.finite), default=0.0)
        yield Finding(
            self.id,
            Severity.ERROR,
            f"The weights are too large: each of {len(weighted)} layers multiplies the gradient by {factor:.3g}, "
            f"more than {main_activation(trace) or 'the rest'} takes away.",
            module=weighted[0].module if weighted else None,
            source=weighted[0].source if weighted else None,
            cause=blamed(earlier, "eval-mode"),
            evidence={"decades": gained, "factor_per_layer": factor, "layers": len(weighted), "largest_value": peak},
            remedies=(fitting_init(trace), "batchnorm", "init(orthogonal)"),
            since=state.onset.step,
            reading=self.reading,
        )

    def _by_layer(self, seen: Observation) -> Iterator[Finding]:
        trace, learning = seen.traces[0], seen.learning
        large = [(size, op) for size, op in _sizes(trace) if size >= LARGE]
        if not large or not worse_than_constant(seen):
            return
        size, at = max(large, key=lambda pair: pair[0])
        yield Finding(
            self.id,
            Severity.ERROR,
            f"The weights are too large: those of {at.label} multiply the size of a signal by {size:.3g}, where about "
            f"1 keeps it. The loss begins at {learning.initial_loss:.3g} and comes to {learning.final_loss:.3g}, where "
            f"a constant output has {learning.constant_loss:.3g}.",
            module=at.module,
            source=at.source,
            evidence={"factor": size, "layers": len(large), "initial_loss": learning.initial_loss},
            remedies=(fitting_init(trace), "batchnorm", "init(orthogonal)"),
            since=0,
            reading=self.reading,
        )


def _sizes(trace: Trace) -> list[tuple[float, Operation]]:
    """σ_w of the weighted operations before the first step, as far as it is known, with the operations."""
    steps = {p.name: p for p in trace.parameters if p.norm > 0 and math.isfinite(p.norm)}
    ops = {op.parameter: op for op in trace.operations if op.kind == "weights" and "embedding" not in op.name}
    return [(steps[name].norm / math.sqrt(steps[name].shape[0]), op) for name, op in ops.items() if name in steps]


class SymmetricWeights(Rule):
    """All units of a layer have the same weights and get the same gradient, so they stay one unit for ever.

    Told from the rows of the matrix and of its gradient, at the last trace: a last layer that starts at zero is not
    meant, since its rows get different gradients and part at the first step. Hidden layers that began alike and were
    parted by something else than their own gradient, such as rounding or the place of their units in a larger
    matrix, lose time: a note where the network learns.

    Goodfellow, Bengio and Courville 2016, section 8.4.
    """

    id = "symmetric-weights"
    title = "the units of a layer are all alike and stay alike"
    reading = "Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        alike = [p for p in trace.parameters if p.symmetric and p.trainable]
        if not alike:
            yield from self._at_first(seen)
            return
        first = alike[0]
        at = next((op for op in trace.operations if op.parameter == first.name), None)
        yield Finding(
            self.id,
            Severity.ERROR if first.gradient or seen.learning.learns is False else Severity.WARNING,
            f"The {first.shape[0]} units of {first.name} have identical weights and get identical gradients"
            + (f", and so in {len(alike) - 1} more layers" if len(alike) > 1 else "")
            + ": they can only learn the same thing.",
            module=at.module if at else None,
            source=at.source if at else None,
            evidence={"parameters": [p.name for p in alike], "norm": first.norm, "gradient": first.gradient},
            remedies=(fitting_init(trace), "init(orthogonal)"),
            since=next((t.step for t in seen.traces if any(p.symmetric for p in t.parameters)), None),
            reading=self.reading,
        )

    def _at_first(self, seen: Observation) -> Iterator[Finding]:
        trace = seen.traces[0]
        alike = [(op, p) for op, p in weight_steps(trace) if p.began_alike and p.norm > 0 and p.shape[0] > 1]
        severity = grade(seen)
        if not alike or severity is None:
            return
        at, first = alike[0]
        yield Finding(
            self.id,
            severity,
            f"The {first.shape[0]} units of {first.name} start with identical weights"
            + (f", and so in {len(alike) - 1} more layers" if len(alike) > 1 else "")
            + ": until they have come apart, they learn the same thing.",
            module=at.module,
            source=at.source,
            evidence={"parameters": [p.name for _, p in alike], "norm": first.norm, "gradient": first.gradient},
            remedies=(fitting_init(trace), "init(orthogonal)"),
            since=0,
            reading=self.reading,
        )
