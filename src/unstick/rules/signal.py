"""What happens to the signal on its way forward: flat activations, dead units, samples that become one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

from ..observation import Observation
from ..trace.types import Operation, Trace
from .base import Finding, Rule, Severity, first_error
from .gradient import vanishes
from .measures import SEVERAL, SHUT, dead, first_difference, fitting_init, flat, grade, off, saturated, span, trouble

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
        found = saturated(trace) if trouble(seen) or vanishes(seen) else _always_shut(seen, flat)
        severity = _severity(seen)
        if not found or severity is None:
            return
        worst = max(found, key=flat)
        share = flat(worst)
        yield Finding(
            self.id,
            severity,
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
            since=next((t.step for t in seen.traces if saturated(t)), None),
            reading=self.reading,
        )


def _always_shut(seen: Observation, share: Callable[[Operation], float]) -> list[Operation]:
    """Activations, on the trunk or beside it, that let nothing through at any trace of a network that learns."""
    if not seen.learning.learns:
        return []
    places = [{(op.module, op.site): op for op in t.operations if share(op) >= SHUT} for t in seen.traces]
    return [op for place, op in places[-1].items() if all(place in others for others in places)]


def _severity(seen: Observation) -> Severity | None:
    """A note where the network learns by other ways, past units that never did anything."""
    return Severity.ERROR if vanishes(seen) else grade(seen)


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
        found = dead(trace) if seen.learning.learns is False or trouble(seen) else _always_shut(seen, off)
        if not found:
            return
        worst = max(found, key=off)
        share = off(worst)
        always = seen.learning.learns or all(any(op.forward.dead == 1.0 for op in dead(t)) for t in seen.traces)
        samples = worst.shape[0] * (len(seen.traces) if always else 1)
        severity = Severity.ERROR if always and not seen.learning.learns else _severity(seen)
        if samples < SEVERAL or severity is None:
            return
        yield Finding(
            self.id,
            severity,
            f"{share:.0%} of the units of {worst.label} are off for every sample of the batch, and so they get no "
            f"gradient ({span(found)} with more than {SHUT:.0%}).",
            module=worst.module,
            source=worst.source,
            cause=first_error(earlier),
            evidence={"dead": share, "operations": len(found)},
            remedies=("leaky-relu", fitting_init(trace), "batchnorm", "lr(x0.1)"),
            since=next((t.step for t in seen.traces if dead(t)), None),
            reading=self.reading,
        )


class CollapsedSignal(Rule):
    """Samples that went in different come out the same, to rounding: the forward twin of a vanished gradient.

    One row for all of the batch is no difference either: that of a mean over the wrong axis.

    Schoenholz, Gilmer, Ganguli and Sohl-Dickstein 2017.
    """

    id = "collapsed-signal"
    title = "different samples have become the same before the output"
    reading = "Schoenholz et al. 2017, Deep information propagation, arXiv:1611.01232"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        collapsed, entering = _collapsed(trace), first_difference(trace)
        if not collapsed or entering is None or entering < 1e4 * ROUNDING:
            return
        severity = Severity.ERROR if vanishes(seen) else trouble(seen)
        if severity is None:
            return
        at = collapsed[0]
        share = collapsed[-1].forward.between
        yield Finding(
            self.id,
            severity,
            f"From {at.label} on, all samples look the same: {share:.0e} of the signal differs between them, which is "
            f"rounding error ({entering:.0%} where it enters).",
            module=at.module,
            source=at.source,
            cause=first_error(earlier),
            evidence={"between_samples": share, "between_samples_at_the_input": entering},
            remedies=("batchnorm", "residual"),
            since=next((t.step for t in seen.traces if _collapsed(t)), None),
            reading=self.reading,
        )


def _collapsed(trace: Trace) -> list[Operation]:
    """The operations from which on no sample differs from another, up to the last that has weights."""
    if not trace.hidden:
        return []
    last = [op for op in trace.operations[trace.path[-1] + 1 :] if op.kind == "weights" and op.backward is not None]
    alike = list(takewhile(_alike, reversed([*trace.hidden, *last[:1]])))
    return alike[::-1] if alike and not math.isnan(alike[0].forward.between) else []


def _alike(op: Operation) -> bool:
    """All samples of its output are the same, or there is one row for all of them."""
    return op.forward.between < ROUNDING or (len(op.shape) > 1 and op.shape[0] == 1)
