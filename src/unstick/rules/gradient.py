"""The gradient that does not arrive, and the one that arrives too large."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from ..observation import GROWTH, Observation
from ..prediction import predict
from ..trace.attribution import attenuation
from ..trace.types import Attenuation, Kind, Operation, ParameterStep, Trace
from .base import Finding, Rule, Severity, blamed
from .measures import (
    ENOUGH_STEPS,
    TWO_SIDED,
    Gradient,
    activations,
    critical_start,
    failed,
    fitting_init,
    gradient,
    left_constant,
    main_activation,
    stuck,
    weight_steps,
)

DECADES = 2.0
"""A gradient that loses less than two decades is not called vanishing: networks of finite width scatter by that much.

For ReLU with He weights the logarithm of the squared norm has the variance 5 * (sum of 1 / width) (Hanin and Nica
2020); 40 layers of 64 units scatter by 0.4 decades, 30 layers of 30 units by 0.5: two decades are four of these."""

GROWTH_AT_ONCE = 8.0
"""Growth that is called exploding before a run has shown that the network fails: in float32 the squares of such
gradients, which Adam keeps, are 16 decades apart."""


def vanishes(seen: Observation) -> bool:
    """The gradient is small where it matters: it has lost `DECADES`, and the network cannot or does not learn."""
    state = gradient(seen, DECADES)
    if state is None or state.latest.decades < DECADES or seen.learning.learns is not False:
        return False
    return bool(stuck(seen.traces[-1])) or state.latest.truncated == "underflow" or failed(seen)


def explodes(seen: Observation) -> bool:
    """The gradient grows on its way back, and the network does not learn."""
    state = gradient(seen, GROWTH)
    if state is None or state.latest.decades > -GROWTH or seen.learning.learns is not False:
        return False
    return failed(seen) or state.latest.decades <= -GROWTH_AT_ONCE or state.latest.truncated == "overflow"


def delayed(seen: Observation) -> Gradient | None:
    """The gradient had faded in every trace until the loss left that of a constant output, which took a hundred steps
    and more; small gradients that cost less time are no trouble."""
    left = left_constant(seen)
    if not seen.learning.learns or left is None or left < ENOUGH_STEPS:
        return None
    before = [t for t in seen.traces if t.step <= left]
    lost = [a for t in before if (a := attenuation(t)) is not None and a.decades >= DECADES]
    return Gradient(lost[0], lost[-1], before[0], lost[0]) if len(lost) == len(before) else None


def late(seen: Observation) -> str:
    """A sentence that says how long it had to wait; empty where it does not learn."""
    waited = left_constant(seen) if seen.learning.learns else None
    return "" if waited is None else f" Until step {waited} the loss stayed at that of a constant output."


def _remedies_for_vanishing(trace: Trace, culprit: str) -> tuple[str, ...]:
    if culprit == "weights":
        tailored = (f"trelu+{critical_start(trace)}",) if main_activation(trace) == "relu" else ()
        return (fitting_init(trace), critical_start(trace), "batchnorm", "residual", *tailored)
    if main_activation(trace) in TWO_SIDED:
        return ("batchnorm", critical_start(trace), "relu+init(he)", "tanh+init(xavier)", "residual")
    return ("batchnorm", fitting_init(trace), critical_start(trace), "residual")


def amount(a: Attenuation) -> str:
    """Decades in words, with the part that lost most."""
    bound = "at least " if a.truncated else ""
    return f"{bound}{abs(a.decades):.1f} decades"


class VanishingGradient(Rule):
    """The gradient loses many decades between the last hidden operation and the first.

    A small gradient alone is no trouble: Adam rescales it, and a network that has converged has small gradients as
    well. So the rule also asks what comes of it: weights that the optimizer's real steps leave where they are, or a
    run of a hundred steps and more that does not leave the constant predictor. The loss of decades is then attributed,
    operation by operation, and the kind of operation that lost most is the cause.

    Hochreiter 1991; Bengio, Simard and Frasconi 1994; Glorot and Bengio 2010.
    """

    id = "vanishing-gradient"
    title = "the gradient fades on its way back, and the early layers cannot learn"
    reading = "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        state = gradient(seen, DECADES) if vanishes(seen) else delayed(seen)
        if state is None or (seen.learning.learns and state.culprit == "weights"):
            return
        trace, a = state.onset, state.lost
        still, weights = stuck(seen.traces[-1]), weight_steps(seen.traces[-1])
        first = trace.hidden[0]
        culprit = state.culprit
        expected = predict(trace)
        at = _most_at_fault(trace, culprit)
        follows = (f.rule for f in earlier if f.rule in ("weights-too-small", "saturated-activation"))
        cause = blamed(earlier, "eval-mode") or next(follows, culprit)
        yield Finding(
            self.id,
            Severity.WARNING if seen.learning.learns else Severity.ERROR,
            f"The gradient vanishes: it loses {amount(a)} from {trace.hidden[-1].label} back to {first.label}, "
            f"{_shares(trace, a, culprit)}. So {_consequence(seen, still, weights)}."
            f"{f' {expected.sentence}' if expected else ''}",
            module=at.module,
            source=at.source,
            cause=cause,
            evidence={
                "decades": a.decades,
                "parts": dict(a.parts),
                "truncated": a.truncated,
                "expected_decades": expected.decades if expected else None,
                "reach": expected.reach.layers if expected and expected.reach else None,
                "stuck_weights": len(still),
                "weights": len(weights),
                "relative_step_first": weights[0][1].relative if weights else None,
                "relative_step_last": weights[-1][1].relative if weights else None,
            },
            remedies=_remedies_for_vanishing(trace, culprit),
            since=state.onset.step,
            reading=self.reading,
        )


def _consequence(
    seen: Observation, still: list[tuple[Operation, ParameterStep]], weights: list[tuple[Operation, ParameterStep]]
) -> str:
    """What comes of a gradient that vanishes. still: those of the weights whose steps are as good as none."""
    if seen.learning.learns:
        return f"until step {left_constant(seen)} the loss stayed at that of a constant output"
    if not still:
        return f"after {seen.learning.steps} steps the loss is no better than that of a constant output"
    most = max(p.relative for _, p in still)
    return (
        f"{len(still)} of {len(weights)} weight matrices stand still: a step changes them by at most {most:.0e} of "
        f"their size"
    )


def _shares(trace: Trace, a: Attenuation, culprit: Kind) -> str:
    """What the culprit takes, and what gives some of it back."""
    taken = a.parts[culprit]
    if culprit == "other" or taken <= 0:
        return "not in one kind of operation"
    if taken <= a.decades:
        return f"{taken:.1f} of them in {_what(trace, culprit)}"
    back = min(a.parts, key=lambda kind: a.parts[kind])
    return f"since {_what(trace, culprit)} take {taken:.1f} and {_what(trace, back)} give {-a.parts[back]:.1f} back"


def _most_at_fault(trace: Trace, kind: str) -> Operation:
    """The first operation of this kind, on the line of source that has most of them."""
    found = [op for op in trace.hidden if op.kind == kind] or list(trace.hidden)
    lines = Counter(op.source for op in found)
    return max(found, key=lambda op: lines[op.source])


def _what(trace: Trace, kind: str) -> str:
    """The operations of one kind on the trunk, in words."""
    found = [op for op in trace.hidden if op.kind == kind]
    names = {op.name for op in found}
    noun = names.pop() if len(names) == 1 else {"activation": "activations", "weights": "the weights"}.get(kind, kind)
    if kind == "activation" and found:
        return f"the derivatives of {len(found)} x {noun}"
    if kind == "weights":
        return f"the weights of {len(found)} operations"
    return f"{noun}"


_BLOWS_UP = (
    "gradients-not-cleared",
    "unbounded-activation",
    "batchnorm-small-batch",
    "weights-too-large",
    "learning-rate-too-high",
)


class ExplodingGradient(Rule):
    """The gradient grows by many decades on its way back, so that its direction says nothing about a real step.

    The consequence is measured: the change of the loss through one step, against what the gradient promises for it.
    In the chaotic phase the two have nothing to do with each other.

    Pascanu, Mikolov and Bengio 2013; Poole et al. 2016; Philipp, Song and Carbonell 2018.
    """

    id = "exploding-gradient"
    title = "the gradient grows on its way back until its direction means nothing"
    reading = "Pascanu, Mikolov and Bengio 2013, On the difficulty of training recurrent neural networks"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterable[Finding]:
        if not explodes(seen):
            return
        state = gradient(seen, GROWTH)
        assert state is not None
        trace, first = state.onset, state.onset.hidden[0]
        kept = _promise_kept(seen)
        promise = "" if kept is None else f" A step changes the loss by {kept:.0e} of what the gradient promises."
        yield Finding(
            self.id,
            Severity.ERROR,
            f"The gradient explodes: it grows by {amount(state.lost)} from {trace.hidden[-1].label} back to "
            f"{first.label}.{promise}",
            module=first.module,
            source=first.source,
            cause=blamed(earlier, "eval-mode") or _blown_up(earlier, state.onset.step) or state.culprit,
            evidence={
                "decades": state.lost.decades,
                "parts": dict(state.lost.parts),
                "truncated": state.lost.truncated,
                "promise_kept": kept,
            },
            remedies=(fitting_init(trace), "batchnorm", "clip(1.0)+lr(x0.1)"),
            since=state.onset.step,
            reading=self.reading,
        )


def _blown_up(earlier: Sequence[Finding], onset: int) -> str | None:
    """What made the gradient grow: not what came after it had."""
    return next((f.rule for f in earlier if f.rule in _BLOWS_UP and (f.since or 0) <= onset), None)


def _promise_kept(seen: Observation) -> float | None:
    """Median over traces of (real change of the loss) / (change that the gradient predicts)."""
    kept = [t.change / t.predicted for t in seen.traces if t.change is not None and t.predicted]
    finite = [k for k in kept if math.isfinite(k)]
    return median(finite) if finite else None


def saturated_share(trace: Trace) -> float | None:
    """Median share of saturated entries over the hidden two-sided activations of the trunk."""
    shares = [op.forward.saturated for op in activations(trace, TWO_SIDED) if op.forward.saturated is not None]
    return median(shares) if shares else None
