"""Steps of the wrong size. Judged by what they do to weights and loss, not by the number that was set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from ..observation import LARGE_STEP, Observation
from ..trace.types import Trace
from .base import Finding, Rule, Severity
from .measures import HOPELESS, below_epsilon, dead, optimizer_line, ruined, saturated, trouble

SMALL = 1e-5
"""At a relative step of 1e-5 a weight needs a thousand steps to change by 1 %, when all of them point the same way."""


FASTER = ("lr(x10)", "lr(x100)", "lr(x1000)", "adam")
SLOWER = ("lr(x0.1)", "lr(x0.01)", "lr(x0.001)")


class LearningRateTooHigh(Rule):
    """Steps overshoot: they change the weights by a tenth and more, and the loss of the very batch that they were
    computed on goes up, although the gradient promised that it would go down.

    The first such step decides. What follows it is no witness: a network whose units were all killed by one step takes
    small and harmless steps from then on.

    Bernstein, Vahdat, Yue and Liu 2020; LeCun, Bottou, Orr and Müller 1998, section 4.6.
    """

    id = "learning-rate-too-high"
    title = "steps overshoot: the loss rises on the batch they were made for"
    reading = "Bernstein, Vahdat, Yue and Liu 2020, On the distance between two neural networks, arXiv:2002.03432"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        severity = trouble(seen) or (Severity.ERROR if ruined(seen) else None)
        if severity is None or _explained(earlier):
            return
        first = next((t for t in seen.traces if (t.typical_step or 0.0) >= LARGE_STEP), None)
        if first is None or not _overshoots(first):
            yield from _by_sweep(self, seen, severity, "high", lambda factor: factor < 1, SLOWER)
            return
        size = first.typical_step or 0.0
        yield Finding(
            self.id,
            severity,
            f"The learning rate is too high: step {first.step} changed a typical weight matrix by {size:.3g} times its "
            f"size, and the loss of the batch it was made for went {_outcome(first)}.",
            source=optimizer_line(seen),
            evidence={"relative_step": size, "loss": first.loss, "change": first.change, "predicted": first.predicted},
            remedies=_rates(seen, *SLOWER),
            since=first.step,
            reading=self.reading,
        )


def _explained(earlier: Sequence[Finding]) -> bool:
    return any(f.rule in ("gradients-not-cleared", "weights-too-large", "unbounded-activation") for f in earlier)


def _overshoots(trace: Trace) -> bool:
    """The loss of the same batch did not fall (or became NaN) where the gradient said it would."""
    return trace.change is not None and (trace.predicted or 0.0) < 0 and not trace.change < 0


def _outcome(trace: Trace) -> str:
    after = trace.loss + (trace.change or 0.0)
    return f"up from {trace.loss:.3g} to {after:.3g}" if math.isfinite(after) else "from a number to NaN"


_NO_MATTER_OF_STEPS = ("weights-too-small", "symmetric-weights", "weights-too-large", "learning-rate-decayed")


class LearningRateTooLow(Rule):
    """Steps do what the gradient promises, but they are so small that the loss cannot move in any reasonable time.

    All weight matrices are looked at: where only the early ones stand still, the gradient vanishes instead.

    Smith 2017 (the learning-rate range test); Bengio 2012, section 3.1.1.
    """

    id = "learning-rate-too-low"
    title = "steps are too small to get anywhere"
    reading = "Bengio 2012, Practical recommendations for gradient-based training, arXiv:1206.5533"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        severity = Severity.ERROR if seen.learning.learns is False else trouble(seen)
        if severity is None or any(f.rule in _NO_MATTER_OF_STEPS for f in earlier if f.severity is not Severity.INFO):
            return
        taken = [
            [p for p in t.parameters if p.trainable and p.held and p.gradient and len(p.shape) > 1] for t in seen.traces
        ]
        if not any(taken) or len(below_epsilon(seen)) == len(taken[-1]):
            return
        largest = max(p.relative for moved in taken for p in moved)
        if not (largest < HOPELESS or (trouble(seen) and largest < SMALL)):
            yield from _by_sweep(self, seen, severity, "low", lambda factor: factor > 1, FASTER)
            return
        yield Finding(
            self.id,
            severity,
            f"The learning rate is too low: the largest step changes a weight matrix by {largest:.0e} of its size, so "
            f"that a change of 1 % takes {0.01 / largest if largest else float('inf'):.0e} steps.",
            source=optimizer_line(seen),
            evidence={"largest_relative_step": largest},
            remedies=_rates(seen, *FASTER),
            since=seen.traces[0].step,
            reading=self.reading,
        )


def _best_rate(seen: Observation) -> float | None:
    """The factor on the learning rate at which the network learned best on a copy; None where it did at none."""
    sweep = seen.tried("rates")
    return sweep.numbers["best"] if sweep else None


def _rates(seen: Observation, *usual: str) -> tuple[str, ...]:
    """What to try: first the rate that was seen to work."""
    best = _best_rate(seen)
    return usual if best is None else tuple(dict.fromkeys((f"lr(x{best:g})", *usual)))


def _by_sweep(
    rule: Rule,
    seen: Observation,
    severity: Severity,
    side: str,
    beyond: Callable[[float], bool],
    usual: tuple[str, ...],
) -> Iterator[Finding]:
    """The finding where the same network learns at another rate, in fewer steps than it had at its own."""
    best, sweep = _best_rate(seen), seen.tried("rates")
    if best is None or sweep is None or not beyond(best):
        return
    if saturated(seen.traces[0]) or dead(seen.traces[0]):  # what is shut before the first step is not shut by steps
        return
    loss = sweep.numbers[f"x{best:g}"]
    yield Finding(
        rule.id,
        severity,
        f"The learning rate is too {side}: at {best:g} times the rate the same network learns, to a loss of "
        f"{loss:.3g}; at its own it stays at {seen.learning.final_loss:.3g}.",
        source=optimizer_line(seen),
        evidence={"factor": best, "loss": loss, "final_loss": seen.learning.final_loss},
        remedies=_rates(seen, *usual)[:2],  # others may come from other findings: where rates matter, two tell
        since=0,
        reading=rule.reading,
    )
