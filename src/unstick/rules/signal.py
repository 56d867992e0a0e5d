"""What happens to the signal on its way forward: flat activations, dead units, samples that become one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from ..observation import Observation
from ..trace.types import Operation, Trace
from .base import Finding, Rule, Severity
from .gradient import vanishes
from .measures import ONE_SIDED, SEVERAL, TWO_SIDED, activations, failed, first_difference, fitting_init, span

FLAT_EVERYWHERE = 0.9  # of one layer's entries
FLAT_TYPICAL = 0.5  # of the median layer's
DEAD = 0.9
ROUNDING = 1e-10
"""Between-sample share of the second moment that float32 arithmetic makes by itself: (100 epsilon)²."""


class SaturatedActivation(Rule):
    """Most inputs of a two-sided activation lie where its derivative is below 1 % of its maximum.

    One-sided activations such as ReLU are flat for half of their inputs by design and are judged by dead units.

    Glorot and Bengio 2010, section 3.
    """

    id = "saturated-activation"
    title = "an activation is driven into its flat ends"
    reading = "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        found = _saturated(trace)
        if not found or not (failed(seen) or vanishes(seen)):
            return
        worst = max(found, key=_share)
        share = _share(worst)
        yield Finding(
            self.id,
            Severity.ERROR,
            f"{share:.0%} of what enters {worst.name} lies where its derivative is below 1 % of its maximum, "
            f"{span(found)}.",
            module=worst.module,
            source=worst.source,
            cause=next(
                (f.rule for f in earlier if f.rule in ("unscaled-inputs", "weights-too-large", "exploding-gradient")),
                None,
            ),
            evidence={"saturated": share, "operations": len(found)},
            remedies=("batchnorm", fitting_init(trace), "standardize"),
            since=next((t.step for t in seen.traces if _saturated(t)), None),
            reading=self.reading,
        )


def _saturated(trace: Trace) -> list[Operation]:
    ops = [op for op in activations(trace, TWO_SIDED) if op.forward.saturated is not None]
    shares = [_share(op) for op in ops]
    if not shares:
        return []
    if median(shares) >= FLAT_TYPICAL:
        return [op for op in ops if _share(op) >= FLAT_TYPICAL]
    return [op for op in ops if _share(op) >= FLAT_EVERYWHERE]


def _share(op: Operation) -> float:
    return op.forward.saturated or 0.0


class DeadUnits(Rule):
    """Units of a one-sided activation that are flat for every sample of the batch: they pass nothing on, either way.

    A zero in the activation is no dead unit: a healthy ReLU layer is zero for half of its entries, and for the whole
    batch in few of its units. So units are counted, over the batch.

    Lu, Shin, Su and Karniadakis 2020.
    """

    id = "dead-units"
    title = "units that are off for every sample"
    reading = "Lu, Shin, Su and Karniadakis 2020, Dying ReLU and initialization, arXiv:1903.06733"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        found = _dead(trace)
        if seen.learning.learns or not found:
            return
        worst = max(found, key=lambda op: op.forward.dead or 0.0)
        share = worst.forward.dead or 0.0
        always = all(any(op.forward.dead == 1.0 for op in _dead(t)) for t in seen.traces)
        samples = worst.shape[0] * (len(seen.traces) if always else 1)
        if samples < SEVERAL or not (failed(seen) or always):
            return
        yield Finding(
            self.id,
            Severity.ERROR,
            f"{share:.0%} of the units of {worst.label} are off for every sample of the batch, and so they get no "
            f"gradient ({span(found)} with more than {DEAD:.0%}).",
            module=worst.module,
            source=worst.source,
            cause=next((f.rule for f in earlier if f.severity is Severity.ERROR), None),
            evidence={"dead": share, "operations": len(found)},
            remedies=("leaky-relu", fitting_init(trace), "batchnorm", "lr(x0.1)"),
            since=next((t.step for t in seen.traces if _dead(t)), None),
            reading=self.reading,
        )


def _dead(trace: Trace) -> list[Operation]:
    return [op for op in activations(trace, ONE_SIDED) if (op.forward.dead or 0.0) >= DEAD]


class CollapsedSignal(Rule):
    """Samples that went in different come out the same, to rounding: the forward twin of a vanished gradient.

    Schoenholz, Gilmer, Ganguli and Sohl-Dickstein 2017.
    """

    id = "collapsed-signal"
    title = "different samples have become the same before the output"
    reading = "Schoenholz et al. 2017, Deep information propagation, arXiv:1611.01232"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        collapsed = [op for op in trace.hidden if op.forward.between < ROUNDING]
        entering = first_difference(trace)
        if not collapsed or collapsed[-1] is not trace.hidden[-1] or entering is None or entering < 1e4 * ROUNDING:
            return
        if not (failed(seen) or (vanishes(seen) and not seen.learning.learns)):
            return
        at = collapsed[0]
        share = trace.hidden[-1].forward.between
        yield Finding(
            self.id,
            Severity.ERROR,
            f"From {at.label} on, all samples look the same: {share:.0e} of the signal differs between them, which is "
            f"rounding error ({entering:.0%} where it enters).",
            module=at.module,
            source=at.source,
            cause=next((f.rule for f in earlier if f.severity is Severity.ERROR), None),
            evidence={"between_samples": share, "between_samples_at_the_input": entering},
            remedies=("batchnorm", "residual"),
            since=next((t.step for t in seen.traces if t.hidden and t.hidden[-1].forward.between < ROUNDING), None),
            reading=self.reading,
        )
