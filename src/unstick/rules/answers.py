"""What the network puts out, against what its loss and its targets can do with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..observation import Ends, Observation
from .base import Finding, Rule, Severity
from .measures import failed
from .reach import (
    LOGARITHMS,
    OUT_OF_REACH,
    RANGES,
    SCORES,
    as_probabilities,
    classifies,
    evidence_of,
    expects_scores,
    found,
    grave,
    keeps_range,
    output,
    reach,
    spoken,
)  # fmt: skip

DEAD = 0.9
"""A healthy ReLU layer is zero for half of its entries."""

CLIPS = frozenset({"clamp", "clip", "clamp_min", "clamp_max", "maximum", "minimum"})
SOFTMAXES = frozenset({"softmax", "log_softmax"})


class LossInputMismatch(Rule):
    """The loss is given another kind of numbers than it is made for: a softmax twice, raw scores for probabilities.

    Judged by what it costs. The best outputs are searched sample by sample, once among all numbers, and once among
    those that the last activation can give. A softmax before `cross_entropy` can never bring the loss below
    log(1 + (classes - 1) / e), and the gradient is damped twice. Other confusions have exact marks: outputs that
    cannot change, a loss that is always zero, distributions along the batch, "log-probabilities" above zero,
    gradients that are exactly zero because the loss clips. What can reach everything is no mismatch, whatever its
    name: a log-softmax before `cross_entropy` changes nothing.

    Bridle 1990, on the softmax and the loss that belongs to it; Zhang et al. 2018 and Islam et al. 2019 on how often
    it goes wrong.
    """

    id = "loss-input-mismatch"
    title = "the outputs are not the kind of numbers that the loss expects"
    reading = (
        "Bridle 1990, Probabilistic interpretation of feedforward classification network outputs; "
        "Islam et al. 2019, arXiv:1906.01388"
    )

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        if seen.ends is None:
            return
        looks = (
            self._constant, self._one_class, self._wrong_axis, self._no_logarithm, self._logarithm_of, self._clipped,
            self._reach,
        )  # fmt: skip
        for look in looks:
            if finding := look(seen, seen.ends):
                yield finding
                return

    def _constant(self, seen: Observation, ends: Ends) -> Finding | None:
        """A softmax over one unit."""
        always = {"softmax": 1.0, "log_softmax": 0.0}.get(ends.activation or "")
        if always is None or not ends.outputs.low == ends.outputs.high == always:
            return None
        return found(
            self,
            seen,
            Severity.ERROR,
            f"A {spoken(ends.activation)} over one unit is always {always:g}: the output cannot change, "
            f"and no gradient gets past it. A sigmoid is meant for one unit.",
            evidence={"output": always, "shape": list(ends.outputs.shape)},
            remedies=("output(linear)",) if expects_scores(ends) else ("output(sigmoid)",),
        )

    def _one_class(self, seen: Observation, ends: Ends) -> Finding | None:
        zero = seen.learning.initial_loss == seen.learning.final_loss == 0.0
        if "cross_entropy" not in ends.losses or ends.outputs.shape[1:2] != (1,) or not zero:
            return None
        return found(
            self,
            seen,
            Severity.ERROR,
            "The loss is 0 whatever the network puts out: cross_entropy over a single output has one class to choose "
            "from. Two classes need two outputs, or one output with binary_cross_entropy_with_logits.",
            evidence={"loss": 0.0, "shape": list(ends.outputs.shape)},
        )

    def _wrong_axis(self, seen: Observation, ends: Ends) -> Finding | None:
        shape, axes = ends.outputs.shape, ends.outputs.distributions
        if ends.activation not in SOFTMAXES or 0 not in axes or shape[0] < 2 or any(axes[1:]):
            return None
        proper = "softmax" if ends.activation == "softmax" else "log-softmax"
        return found(
            self,
            seen,
            grave(seen),
            f"The {spoken(ends.activation)} runs along the batch: the {shape[0]} samples share a probability of 1 "
            f"instead of the units of each sample, so the samples compete with each other. Give it dim=1.",
            evidence={"shape": list(shape), "axis": 0},
            remedies=(f"output({proper})",),
        )

    def _no_logarithm(self, seen: Observation, ends: Ends) -> Finding | None:
        """nll_loss is minus the output of the true class, whatever the output is."""
        if not LOGARITHMS & set(ends.losses[:1]) or not ends.outputs.high > 0:
            return None
        endless = "" if ends.activation in ("softmax", "sigmoid") else ", and falls without end"
        return found(
            self,
            seen,
            grave(seen),
            f"{ends.losses[0]} expects logarithms of probabilities, which are never above 0, and gets numbers up to "
            f"{ends.outputs.high:.3g}{f' from a {ends.activation}' if ends.activation else ''}. "
            f"What it returns then is no likelihood{endless}.",
            evidence={"highest_output": ends.outputs.high, "loss": seen.learning.final_loss},
            remedies=("output(log-softmax)",),
        )

    def _logarithm_of(self, seen: Observation, ends: Ends) -> Finding | None:
        """Raw scores for probabilities, in a loss written by hand: the logarithm of a negative number is NaN."""
        trace = seen.traces[0]
        logs = [op for op in trace.operations if op.module is None and op.name in ("log", "log2", "log10", "log1p")]
        at = output(trace)
        if math.isfinite(trace.loss) or not logs or logs[0].forward.finite or at is None or not at.forward.finite:
            return None
        if ends.activation in ("softmax", "sigmoid"):
            return None
        return found(
            self,
            seen,
            Severity.ERROR,
            "The loss takes the logarithm of the outputs, and some of them are zero or below: it is "
            f"{trace.loss} before the first step. Probabilities are meant.",
            evidence={"activation": ends.activation, "losses": list(ends.losses)},
            remedies=(as_probabilities(ends),),
        )

    def _clipped(self, seen: Observation, ends: Ends) -> Finding | None:
        """Raw scores for probabilities: the loss cuts them off, and has no slope there."""
        at = output(seen.traces[-1])
        if not failed(seen) or at is None or at.backward is None or not CLIPS & set(ends.losses):
            return None
        outside = ends.outputs.low < 0 or ends.outputs.high > 1
        if "log" not in ends.losses or not outside or at.backward.zeros < OUT_OF_REACH:
            return None
        return found(
            self,
            seen,
            Severity.ERROR,
            f"The loss takes the outputs for probabilities, and they reach from {ends.outputs.low:.3g} to "
            f"{ends.outputs.high:.3g}. It clips them, so {at.backward.zeros:.0%} of the outputs get a gradient of "
            f"exactly zero.",
            evidence={"low": ends.outputs.low, "high": ends.outputs.high, "without_gradient": at.backward.zeros},
            remedies=(as_probabilities(ends),),
        )

    def _reach(self, seen: Observation, ends: Ends) -> Finding | None:
        if not classifies(ends):
            return None
        state = reach(seen)
        if state is None:
            return self._by_name(seen, ends)
        if state.share < OUT_OF_REACH:
            return None
        return found(
            self,
            seen,
            grave(seen),
            f"Outputs of a {spoken(ends.activation)} cannot bring this loss below {state.within:.3g}, even if every "
            f"one of them were perfect; other outputs reach {_round(state.free)}, and a constant answer has "
            f"{state.constant:.3g}. So {state.share:.0%} of all that there is to gain is out of reach"
            f"{_twice(ends)}.",
            evidence=evidence_of(state, ends),
            remedies=_instead(ends),
        )

    def _by_name(self, seen: Observation, ends: Ends) -> Finding | None:
        """Where the best outputs could not be searched for, such as for large images."""
        if ends.within is not None or ends.activation not in ("softmax", "sigmoid") or not _twice(ends):
            return None
        if not keeps_range(ends):
            return None
        return found(
            self,
            seen,
            grave(seen),
            f"The network ends in a {ends.activation}{_twice(ends)}.",
            evidence={"activation": ends.activation, "losses": list(ends.losses)},
            remedies=_instead(ends),
        )


def _twice(ends: Ends) -> str:
    loss = next((name for name in ends.losses if name in SCORES), None)
    if loss is None or ends.activation not in ("softmax", "sigmoid"):
        return ""
    applied = f"applies a {SCORES[loss]} itself" if SCORES[loss] != loss else "is applied in the loss once more"
    return f": {loss} {applied}, and expects the numbers before the {ends.activation}"


def _instead(ends: Ends) -> tuple[str, ...]:
    return ("output(linear)",) if expects_scores(ends) else ("output(softmax)", "output(sigmoid)")


def _round(loss: float) -> str:
    return "0" if 0 <= loss < 1e-4 else f"{loss:.3g}"


class OutputRangeMismatch(Rule):
    """Targets that the output's activation cannot give, or a ReLU at the output that has gone quiet.

    Judged by what it costs: how much of the way from the best constant answer to perfect ones such outputs can never
    go. A sigmoid for targets that go a little beyond 1 costs next to nothing, and is not mentioned. A ReLU as the
    output of a classifier could reach everything, but a unit that is off for every sample has no way back; that is
    looked at where the network fails.

    Bishop 2006, section 5.2, on which output belongs to which target; Lu et al. 2020 on ReLUs that die.
    """

    id = "output-range-mismatch"
    title = "the output's activation cannot give what the targets ask for"
    reading = "Bishop 2006, Pattern Recognition and Machine Learning, section 5.2"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        ends = seen.ends
        if ends is None or ends.activation not in RANGES or any(f.rule == "loss-input-mismatch" for f in earlier):
            return
        if quiet := self._quiet(seen, ends):
            yield quiet
            return
        state = None if classifies(ends) else reach(seen)
        if state is None or state.share < OUT_OF_REACH:
            return
        low, high = RANGES[ends.activation]
        yield found(
            self,
            seen,
            grave(seen),
            f"The targets reach from {ends.targets.low:.3g} to {ends.targets.high:.3g}, and a "
            f"{spoken(ends.activation)} gives numbers {_between(low, high)}. Even perfect outputs of this kind "
            f"leave a loss of {state.within:.3g} where a constant answer has {state.constant:.3g}: "
            f"{state.share:.0%} of all that there is to gain is out of reach.",
            evidence={**evidence_of(state, ends), "low": ends.targets.low, "high": ends.targets.high},
            remedies=("output(linear)",),
        )

    def _quiet(self, seen: Observation, ends: Ends) -> Finding | None:
        """A ReLU at the output that is off for most of what it is given."""
        if not failed(seen) or ends.activation not in ("relu", "relu6"):
            return None
        dead = ends.outputs.zeros >= DEAD and ends.outputs.zeros > ends.targets.zeros
        if not dead and not (classifies(ends) and ends.outputs.zeros >= OUT_OF_REACH):
            return None
        thrown_away = "; for a classifier it throws away every score below zero" if classifies(ends) else ""
        return found(
            self,
            seen,
            Severity.ERROR if dead else Severity.WARNING,
            f"The output is a {spoken(ends.activation)}, and {ends.outputs.zeros:.0%} of what it gives is exactly "
            f"zero, where no gradient passes{thrown_away}.",
            evidence={"zeros": ends.outputs.zeros, "activation": ends.activation},
            remedies=(_for_classes(ends), "lr(x0.1)"),
        )


def _for_classes(ends: Ends) -> str:
    if not classifies(ends) or expects_scores(ends):
        return "output(linear)"
    return "output(log-softmax)" if LOGARITHMS & set(ends.losses[:1]) else as_probabilities(ends)


def _between(low: float, high: float) -> str:
    if math.isinf(high):
        return f"from {low:g} up"
    return f"up to {high:g}" if math.isinf(low) else f"between {low:g} and {high:g}"
