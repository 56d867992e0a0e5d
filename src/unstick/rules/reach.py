"""What outputs of the network's kind can do with its loss: readings that the rules about outputs share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..observation import Ends, Observation
from ..trace.types import Operation, Trace
from .base import Finding, Rule, Severity
from .measures import failed

OUT_OF_REACH = 0.1
"""A tenth of all that there is to gain. Outputs of the right kind miss nothing, and the search for the best of them
misses less than a thousandth; softmax before cross-entropy misses 45 % for 2 classes and more for more of them."""

RANGES: dict[str, tuple[float, float]] = {
    "softmax": (0.0, 1.0),
    "log_softmax": (-math.inf, 0.0),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "logsigmoid": (-math.inf, 0.0),
}
"""What comes out of them. Those whose limits are arguments (hardtanh, ELU) cannot be judged by their name."""

SCORES = {
    "cross_entropy": "softmax",
    "log_softmax": "softmax",
    "softmax": "softmax",
    "binary_cross_entropy_with_logits": "sigmoid",
    "logsigmoid": "sigmoid",
    "sigmoid": "sigmoid",
}
"""What losses apply themselves, by the operation that does it: they expect any numbers."""

LOGARITHMS = frozenset({"nll_loss", "kl_div"})
"""Losses that expect logarithms of probabilities."""

CLASSIFYING = {*SCORES, *LOGARITHMS, "log", "logsumexp", "binary_cross_entropy", "multi_margin_loss"}


@dataclass(frozen=True, slots=True)
class Reach:
    """What outputs of this kind can never gain. share: of the gain from the best constant (`constant`) to the best
    outputs whatever they are (`free`); the best outputs of this kind have the loss `within`."""

    share: float
    free: float
    within: float
    constant: float


def reach(seen: Observation) -> Reach | None:
    """None where it is not known, or the outputs are not what the last activation would make of them.

    Nor where some outputs have a loss below zero: many losses mean nothing outside of the activation's range (minus
    the logarithm of a probability is one), and show it by falling below zero there.
    """
    ends, constant = seen.ends, seen.learning.constant_loss
    if ends is None or constant is None or ends.free is None or ends.within is None or not keeps_range(ends):
        return None
    free = min(ends.free, ends.within)
    if not math.isfinite(constant) or free < -1e-6 * constant or constant - free <= 1e-6 * constant:
        return None
    return Reach(min(1.0, (ends.within - free) / (constant - free)), free, ends.within, constant)


def keeps_range(ends: Ends) -> bool:
    """The outputs lie where their last activation puts them."""
    low, high = RANGES.get(ends.activation or "", (math.inf, -math.inf))
    return low <= ends.outputs.low and ends.outputs.high <= high


def output(trace: Trace) -> Operation | None:
    """The operation that the outputs come from."""
    inside = [op for op in trace.operations if op.module is not None and op.backward is not None]
    return inside[-1] if inside else None


def classifies(ends: Ends) -> bool:
    """The loss is one for classes: by its name, or because it takes logarithms by hand."""
    return ends.targets.integer or not CLASSIFYING.isdisjoint(ends.losses)


def found(rule: Rule, seen: Observation, severity: Severity, summary: str, **options: Any) -> Finding:
    """A finding about the outputs, placed where they come from."""
    at = output(seen.traces[-1])
    return Finding(
        rule.id,
        severity,
        summary,
        module=at.module if at else None,
        source=at.source if at else None,
        since=seen.traces[0].step,
        reading=rule.reading,
        **options,
    )


def grave(seen: Observation) -> Severity:
    """What is wrong for certain keeps a failing network from learning; it costs a network that learns something."""
    return Severity.ERROR if failed(seen) else Severity.WARNING


def expects_scores(ends: Ends) -> bool:
    """The loss makes probabilities itself."""
    return not SCORES.keys().isdisjoint(ends.losses)


def as_probabilities(ends: Ends) -> str:
    """The remedy that makes probabilities of the outputs."""
    return "output(sigmoid)" if len(ends.outputs.shape) == 1 or ends.outputs.shape[-1] == 1 else "output(softmax)"


def spoken(name: str | None) -> str:
    """An activation's name as people write it."""
    return {"log_softmax": "log-softmax", "relu": "ReLU", "relu6": "ReLU6"}.get(name or "", name or "")


def evidence_of(state: Reach, ends: Ends) -> dict[str, Any]:
    """For a finding."""
    return {
        "activation": ends.activation,
        "best_within": state.within,
        "best_free": state.free,
        "constant_loss": state.constant,
        "out_of_reach": state.share,
    }
