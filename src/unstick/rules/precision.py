"""Gradients too small for the numbers that hold them: for a half-precision format, or for the optimizer's epsilon."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..observation import Observation
from ..trace.types import Operation, Trace
from .base import Finding, Rule, Severity
from .gradient import vanishes
from .measures import FAR_BELOW, HOPELESS, below_epsilon, entry, optimizer_line, trouble

SMALLEST_NORMAL = 2.0**-14
"""Of float16. Smaller numbers lose digits, and below 2^-25 they are rounded to zero."""

HALF = 0.5  # of the entries: what a layer of ReLU makes zero by itself

SINGLE = 6.9
"""Decades, -log10(2^-23): a gradient that loses more than this is lost in float32 as well."""

SMALLEST_SQUARE = 2.0**-63
"""The square of a smaller number is no normal number in float32, where Adam keeps its second moments."""

HALF_RESOLUTION = 2.0**-10  # machine epsilon of float16

ZERO = 2.0**-25
"""Rounded to float16, this and what is smaller are zero."""

SQUARE_IS_ZERO = 2.0**-12.5
"""The square of a smaller number is zero in float16."""


class GradientUnderflow(Rule):
    """In float16 a gradient below 6e-8 is zero. On its way back more and more of its entries become so.

    Zeros alone say little: ReLU makes half of the entries zero. So those that are left are looked at, and have to be
    below the smallest normal number, 6e-5. Where the gradient would fade away in float32 too it vanishes, and the
    format is not to blame. Scaling the loss, bfloat16 or float32 help.

    Micikevicius et al. 2018.
    """

    id = "gradient-underflow"
    title = "gradients are rounded to zero in half precision"
    reading = "Micikevicius et al. 2018, Mixed precision training, arXiv:1710.03740"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        if trouble(seen):
            yield from self._divided_by_epsilon(seen)
        trace, at = next(((t, op) for t in seen.traces if (op := _underflowing(t))), (None, None))
        if trace is None or at is None or not (trouble(seen) or seen.learning.learns):
            return
        zeros = [_zeros(end) for end in (trace.hidden[0], trace.hidden[-1])]
        yield Finding(
            self.id,
            trouble(seen) or Severity.INFO,
            f"The gradient underflows in float16: what is left of it at {at.label} has a typical size of "
            f"{_left(at):.1e}, where the smallest normal number is {SMALLEST_NORMAL:.1e}; {zeros[0]:.0%} of its "
            f"entries are zero at the first layer, {zeros[1]:.0%} at the last. Scale the loss, or use bfloat16 or "
            f"float32.",
            module=at.module,
            source=at.source,
            evidence={"entry": _left(at), "zeros_first": zeros[0], "zeros_last": zeros[1]},
            since=trace.step,
            reading=self.reading,
        )

    def _divided_by_epsilon(self, seen: Observation) -> Iterator[Finding]:
        """Adam with weights in float16, where the squares of small gradients are zero, and its usual epsilon too."""
        settings = seen.optimizer
        held = [p for p in seen.traces[0].parameters if p.held and p.gradient and p.resolution == HALF_RESOLUTION]
        if seen.diverged is None or not held or settings is None or not settings.epsilon:
            return
        if settings.epsilon >= FAR_BELOW * SQUARE_IS_ZERO:
            return
        alone = "which is zero as well" if settings.epsilon <= ZERO else "and the step is many times the learning rate"
        yield Finding(
            self.id,
            Severity.ERROR,
            f"The weights are float16, in which the square of a gradient below {SQUARE_IS_ZERO:.0e} is zero: "
            f"{settings.name} divides such a gradient by its epsilon of {settings.epsilon:.0e} alone, {alone}. "
            f"Keep the weights in float32.",
            module=held[0].name.rpartition(".")[0] or None,
            source=next((op.source for op in seen.traces[0].operations if op.parameter == held[0].name), None),
            evidence={"epsilon": settings.epsilon, "parameters": len(held)},
            remedies=("adam(eps=1e-4)",),
            since=seen.diverged,
            reading=self.reading,
        )


def _left(op: Operation) -> float:
    """Root mean square of the entries of its gradient that are not zero."""
    assert op.backward is not None
    count = math.prod(op.shape) * (1.0 - op.backward.zeros)
    return op.backward.norm / math.sqrt(count) if count >= 1 else 0.0


def _underflowing(trace: Trace) -> Operation | None:
    """The last operation behind which the gradient of a float16 trunk is lost, where float32 would have kept it."""
    if not trace.hidden or trace.hidden[0].dtype != "float16":
        return None
    alive = [op for op in (*trace.hidden, *_after(trace)) if op.backward is not None and op.backward.norm > 0.0]
    if not alive or not 0.0 < _left(alive[0]) < SMALLEST_NORMAL:
        return None
    lost = alive[0] is not trace.hidden[0] or _zeros(alive[0]) >= max(HALF, _zeros(trace.hidden[-1]))
    return alive[0] if lost and _fade(trace) < SINGLE else None


def _after(trace: Trace) -> tuple[Operation, ...]:
    """What comes after the trunk: the last weighted operation, and the loss."""
    return trace.operations[trace.path[-1] + 1 :]


def _zeros(op: Operation) -> float:
    return 1.0 if op.backward is None else op.backward.zeros


def _fade(trace: Trace) -> float:
    """Decades that the gradient would lose along the whole trunk, from what it loses while it lasts."""
    alive = [op for op in trace.hidden if op.backward is not None and op.backward.norm > 0.0]
    if len(alive) < 2:
        return 0.0
    return math.log10(_left(alive[-1]) / _left(alive[0])) * len(trace.hidden) / (len(alive) - 1)


class BelowEpsilon(Rule):
    """The gradient is smaller than the epsilon that Adam and its like add before they divide.

    Such an optimizer divides a gradient by its own size, so that even a tiny one gives a full step; but it divides by
    size + epsilon. Below epsilon, steps shrink with the gradient. Told from the real steps: a tenth of the rate and
    less, per entry. Where the gradient has vanished on its way, that is the cause and this is the last link; where
    the loss itself is small, it is the cause. Silent where a smaller epsilon could not help, since the squares of the
    gradient would leave float32.

    Kingma and Ba 2015.
    """

    id = "below-epsilon"
    title = "the gradient is smaller than the optimizer's epsilon"
    reading = "Kingma and Ba 2015, Adam: a method for stochastic optimization, arXiv:1412.6980"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        low = below_epsilon(seen)
        matrices = [p for p in trace.parameters if p.gradient and p.held and len(p.shape) > 1]
        certain = len(low) == len(matrices) and all(p.relative < HOPELESS for p in low)
        severity = Severity.ERROR if certain else trouble(seen)
        if severity is None and len(low) == len(matrices) and _slowed(seen):
            severity = Severity.INFO
        if not low or severity is None or min(map(entry, low)) < SMALLEST_SQUARE:
            return
        smallest = min(low, key=entry)
        settings = seen.optimizer
        assert settings is not None
        at = next((op for op in trace.operations if op.parameter == smallest.name), None)
        yield Finding(
            self.id,
            severity,
            f"{settings.name}'s epsilon of {settings.epsilon:.0e} swallows the gradient: that of {smallest.name} is "
            f"{entry(smallest):.1e} per entry, and so its steps are "
            f"{_share(seen, smallest.step, smallest.shape):.0e} of the learning rate "
            f"({len(low)} of {len(matrices)} weight matrices).",
            module=smallest.name.rpartition(".")[0] or None,
            source=optimizer_line(seen) or (at.source if at else None),
            cause="vanishing-gradient" if vanishes(seen) else None,
            evidence={
                "epsilon": settings.epsilon,
                "gradient_per_entry": entry(smallest),
                "step_over_rate": _share(seen, smallest.step, smallest.shape),
                "matrices": len(low),
            },
            remedies=("adam(eps=1e-16)",),
            since=next((t.step for t in seen.traces if below_epsilon(seen, t)), None),
            reading=self.reading,
        )


def _slowed(seen: Observation) -> bool:
    """It learns, from a gradient that was as small from the start: it has not become so by having learned."""
    learning, constant = seen.learning, seen.learning.constant_loss
    at_first = len(below_epsilon(seen, seen.traces[0])) == len(below_epsilon(seen))
    return learning.learns is True and at_first and constant is not None and 2 * learning.final_loss > constant


def _share(seen: Observation, step: float, shape: tuple[int, ...]) -> float:
    """Size of a step per entry, in learning rates."""
    rate = seen.optimizer.rate if seen.optimizer else None
    return step / math.sqrt(math.prod(shape)) / rate if rate else math.nan
