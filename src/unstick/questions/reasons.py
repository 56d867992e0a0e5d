"""Reasons that can be measured: what somebody says of the mechanism, checked on the traces of the trials.

A reason is a function of the runs of the unchanged network and of the remedied one. Another one is a function here and
a line in `REASONS`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..observation import Observation
from ..rules.gradient import DECADES
from ..trace.types import KINDS, Kind, Operation, Trace
from ..trials.explain import gradient
from ..trials.verdict import first_attenuation, median_decades, restored

FEW_SATURATED = 0.05


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether a reason is true, the numbers that decide it, and what they say as a sentence."""

    holds: bool
    numbers: dict[str, float | None]
    sentence: str


Runs = Sequence[Observation]
Reason = Callable[[Runs, Runs], Judged]


def gradient_not_vanishing(before: Runs, after: Runs) -> Judged:
    """With the change, the gradient loses less than two decades on its way to the first layer."""
    was, now = median_decades(before), median_decades(after)
    numbers = {"decades_before": was, "decades_after": now}
    if now is None:
        return Judged(False, numbers, "The gradient could not be measured with this change.")
    holds = now < DECADES
    verdict = "does not vanish" if holds else "still vanishes"
    but = " but explodes, which is no better" if now <= -DECADES else ""
    return Judged(holds, numbers, f"The gradient {verdict}{but}: it {gradient(now)}{_unchanged(was)}.")


def gradient_restored(before: Runs, after: Runs) -> Judged:
    """With the change, the gradient neither vanishes nor explodes: it changes by less than two decades."""
    was, now = median_decades(before), median_decades(after)
    numbers = {"decades_before": was, "decades_after": now}
    if now is None:
        return Judged(False, numbers, "The gradient could not be measured with this change.")
    verdict = "arrives" if restored(now) else "vanishes" if now > 0 else "explodes"
    return Judged(restored(now), numbers, f"The gradient {verdict}: it {gradient(now)}{_unchanged(was)}.")


def derivatives_not_tiny(before: Runs, after: Runs) -> Judged:
    """With the change, few entries of the hidden activations lie where the derivative is below 1 % of its maximum.

    It may have been true all along. So the sentence says what it was before, and in what the gradient is lost now.
    """
    was, now = _saturated(before), _saturated(after)
    numbers = {"saturated_before": was, "saturated_after": now}
    if now is None:
        return Judged(False, numbers, "No hidden activation with a known derivative was seen with this change.")
    holds = now < FEW_SATURATED
    text = (
        f"What enters the hidden activations {'stays' if holds else 'does not stay'} where the derivative is not tiny"
    )
    text += f" ({now:.1%} of it is saturated{'' if was is None else f', {was:.1%} without the change'})."
    if holds and was is not None and was < FEW_SATURATED:
        text += " That was so before the change as well, so it is not what changed."
    return Judged(holds, numbers, " ".join(filter(None, [text, _moved(before, after)])))


REASONS: dict[str, Reason] = {
    "gradient-not-vanishing": gradient_not_vanishing,
    "gradient-restored": gradient_restored,
    "derivatives-not-tiny": derivatives_not_tiny,
}


def hidden_activations(trace: Trace) -> tuple[Operation, ...]:
    """The activation calls whose output goes on to a weighted operation of the network."""
    leads_on = [False] * len(trace.operations)
    for op in reversed(trace.operations):
        if op.kind == "weights" or leads_on[op.index]:
            for parent in op.parents:
                leads_on[parent] = True
    return tuple(op for op in trace.operations if op.kind == "activation" and op.site and leads_on[op.index])


def _saturated(runs: Runs) -> float | None:
    """Median over the runs of the share of saturated entries in the median hidden activation, at the first trace."""
    shares = []
    for run in runs:
        known = [op.forward.saturated for op in hidden_activations(run.traces[0])] if run.traces else []
        if measured := [share for share in known if share is not None]:
            shares.append(statistics.median(measured))
    return statistics.median(shares) if shares else None


def _moved(before: Runs, after: Runs) -> str:
    """In which kind of operation the loss of gradient changed most, from without the change to with it."""
    was, now = _parts(before), _parts(after)
    if was is None or now is None:
        return ""
    kind = max(KINDS, key=lambda k: abs(now[k] - was[k]))
    return (
        f"What changed most is {_PLACES[kind]}: unchanged, the gradient {gradient(was[kind])} there; with the change "
        f"it {gradient(now[kind])}. In all it {gradient(sum(was.values()))} unchanged, and with the change it "
        f"{gradient(sum(now.values()))}."
    )


_PLACES: dict[Kind, str] = {
    "activation": "the activations",
    "weights": "the weights",
    "normalisation": "the normalisation",
    "other": "other operations",
}


def _parts(runs: Runs) -> dict[Kind, float] | None:
    """Mean attribution over the runs, in decades; the means still sum to the mean of the whole."""
    measured = [found.parts for run in runs if (found := first_attenuation(run)) is not None]
    return {k: statistics.fmean(parts[k] for parts in measured) for k in KINDS} if measured else None


def _unchanged(decades: float | None) -> str:
    return "" if decades is None else f"; unchanged, it {gradient(decades)}"
