"""Weights of the wrong size, and weights that are all alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..observation import GROWTH, Observation
from .base import Finding, Rule, Severity
from .gradient import DECADES, explodes, vanishes
from .measures import fitting_init, gradient, main_activation


class WeightsTooSmall(Rule):
    """The gradient vanishes, and the weight matrices take the largest part in it.

    Each layer multiplies the gradient by about the root of (weight variance x fan-out). Where that product is below
    what the activation needs (2 for ReLU, 1 for tanh), the signal shrinks in every layer, forward and backward.
    PyTorch's default `nn.Linear` has 1/3.

    Glorot and Bengio 2010; He et al. 2015.
    """

    id = "weights-too-small"
    title = "the weights shrink the signal in every layer"
    reading = "He et al. 2015, Delving deep into rectifiers, arXiv:1502.01852"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        state = gradient(seen, DECADES)
        if state is None or not vanishes(seen) or state.culprit != "weights":
            return
        trace = state.onset
        weighted = [op for op in trace.hidden[1:] if op.kind == "weights"]
        lost = state.lost.parts["weights"]
        factor = 10 ** (-lost / max(1, len(weighted)))
        yield Finding(
            self.id,
            Severity.ERROR,
            f"The weights are too small for this depth: each of {len(weighted)} layers shrinks the gradient to "
            f"{factor:.2f} of itself, {lost:.1f} decades in all.",
            module=weighted[0].module if weighted else None,
            source=weighted[0].source if weighted else None,
            evidence={"decades": lost, "factor_per_layer": factor, "layers": len(weighted)},
            remedies=(fitting_init(trace), "batchnorm", "residual"),
            since=state.onset.step,
            reading=self.reading,
        )


class WeightsTooLarge(Rule):
    """The gradient explodes from the first step on, and the weight matrices make it grow.

    Where it did so only later, the steps are to blame, not the initial weights.

    Sompolinsky, Crisanti and Sommers 1988; Poole et al. 2016.
    """

    id = "weights-too-large"
    title = "the weights blow the signal up in every layer"
    reading = "Poole et al. 2016, Exponential expressivity in deep neural networks, arXiv:1606.05340"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        state = gradient(seen, GROWTH)
        if state is None or not explodes(seen) or state.culprit != "weights" or state.first.decades > -GROWTH:
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
            evidence={"decades": gained, "factor_per_layer": factor, "layers": len(weighted), "largest_value": peak},
            remedies=(fitting_init(trace), "batchnorm", "init(orthogonal)"),
            since=state.onset.step,
            reading=self.reading,
        )


class SymmetricWeights(Rule):
    """All units of a layer have the same weights and get the same gradient, so they stay one unit for ever.

    Told from the rows of the matrix and of its gradient, at the last trace: a last layer that starts at zero is not
    meant, since its rows get different gradients and part at the first step.

    Goodfellow, Bengio and Courville 2016, section 8.4.
    """

    id = "symmetric-weights"
    title = "the units of a layer are all alike and stay alike"
    reading = "Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        alike = [p for p in trace.parameters if p.symmetric and p.trainable]
        if not alike:
            return
        first = alike[0]
        at = next((op for op in trace.operations if op.parameter == first.name), None)
        yield Finding(
            self.id,
            Severity.ERROR if first.gradient or not seen.learning.learns else Severity.WARNING,
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
