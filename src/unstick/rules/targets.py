"""What is asked of the network: the shape of the targets, and their size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..observation import Ends, Observation, Values
from ..trace.types import Trace
from .base import Finding, Rule, Severity
from .measures import trouble
from .reach import CLASSIFYING, classifies, found, grave, output

LARGE = 10.0
"""Initialisations make outputs of size one; targets ten times as large are taken for unscaled, as inputs are."""

HUGE = 1000.0  # worth a note even where the network learns

SMALL = 0.01
"""Targets that differ by a hundredth of what the outputs differ by at the start; as for inputs."""

TOO_LONG = 10.0
"""A run ten times as long would not bring the outputs to where the targets are."""


class TargetShapeMismatch(Rule):
    """Each output is compared with the targets of all samples, or each of many outputs with one class number.

    Outputs (n, 1) and targets (n,) broadcast to n x n without an error. The loss then stays the same whichever sample
    has which target (that is how it is told: the loss is asked), and the best answer to it is one number for all.

    Harris et al. 2020 on the rules of broadcasting.
    """

    id = "target-shape-mismatch"
    title = "outputs and targets differ in shape, and are stretched against each other"
    reading = "Harris et al. 2020, Array programming with NumPy, doi:10.1038/s41586-020-2649-2, on broadcasting"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        ends = seen.ends
        if ends is None:
            return
        out, target = ends.outputs.shape, ends.targets.shape
        evidence = {"outputs": list(out), "targets": list(target)}
        if ends.broadcast:
            yield found(
                self,
                seen,
                Severity.ERROR if seen.learning.learns is False else Severity.WARNING,
                f"Outputs of shape {_shape(out)} meet targets of shape {_shape(target)}: each output is compared with "
                f"the targets of all samples, so the loss stays the same whichever sample has which target, and the "
                f"best answer is their mean. Give both the same shape, for example with .squeeze(1).",
                evidence=evidence,
                remedies=("match-shape",),
            )
        elif _class_numbers(ends):
            yield found(
                self,
                seen,
                grave(seen),
                f"All {out[1]} outputs of a sample are compared with one number, from {ends.targets.low:g} to "
                f"{ends.targets.high:g}: it looks like the number of the true class. Use cross_entropy with whole "
                f"numbers of shape (n,), or targets that are one-hot.",
                evidence=evidence,
            )


def _class_numbers(ends: Ends) -> bool:
    """(n, classes) against (n, 1) with numbers that reach from 0 to classes - 1, in a loss of differences."""
    out, target = ends.outputs.shape, ends.targets.shape
    if len(out) != 2 or target != (out[0], 1) or out[1] < 3 or not CLASSIFYING.isdisjoint(ends.losses):
        return False
    differences = {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"} & set(ends.losses)
    return bool(differences) and ends.targets.low == 0 and ends.targets.high == out[1] - 1


def _shape(shape: tuple[int, ...]) -> str:
    return str(("n", *shape[1:])).replace("'", "")


class UnscaledTargets(Rule):
    """Targets of another size than a network's outputs have, and no way to get there in any reasonable time.

    A network's first outputs are of size one, and each step moves them by about as much as the learning rate
    allows. The way that the outputs have come, in mean and in spread, is compared with the way that is left to the
    targets. A large ratio of sizes alone is no fault, and a note where the network learns: it is one where a run ten
    times as long would not arrive. Small targets are told from outputs that still scatter more than they do.

    LeCun, Bottou, Orr and Müller 1998, section 4.3, and Bishop 1995, section 8.2, on scaling.
    """

    id = "unscaled-targets"
    title = "the targets are of another size than the outputs, too far to go"
    reading = "Bishop 1995, Neural Networks for Pattern Recognition, section 8.2"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        ends = seen.ends
        if ends is None or classifies(ends) or ends.broadcast:
            return
        severity = trouble(seen)
        asked = ends.targets
        sizes = f"The targets have a mean of {_mean(asked)} and a standard deviation of {asked.deviation:.3g}"
        if seen.diverged is not None:
            if math.hypot(asked.mean, asked.deviation) >= LARGE:
                yield self._found(seen, ends, Severity.WARNING, f"{sizes}, and the run broke down.", {})
            return
        if severity is None:
            if math.hypot(asked.mean, asked.deviation) >= HUGE and seen.learning.learns:
                text = f"{sizes}, where a network's first outputs are of size one. It learns all the same."
                yield self._found(seen, ends, Severity.INFO, text, {})
        elif math.hypot(asked.mean, asked.deviation) >= LARGE:
            steps = _steps_left(seen, ends)
            if steps is not None and steps >= TOO_LONG * seen.learning.steps:
                text = (
                    f"{sizes}; the outputs, after {seen.learning.steps} steps, {_mean(ends.outputs)} and "
                    f"{ends.outputs.deviation:.3g}. At that pace they need {_about(steps)} steps more to get there."
                )
                yield self._found(seen, ends, severity, text, {"steps_left": steps})
        elif 0 < asked.deviation <= SMALL and ends.outputs.deviation >= LARGE * asked.deviation:
            text = (
                f"{sizes}, and the outputs, after {seen.learning.steps} steps, still scatter by "
                f"{ends.outputs.deviation:.3g}: what they are to show drowns in it."
            )
            yield self._found(seen, ends, severity, text, {})

    def _found(
        self, seen: Observation, ends: Ends, severity: Severity, text: str, more: dict[str, float | None]
    ) -> Finding:
        return found(
            self,
            seen,
            severity,
            text,
            evidence={
                "target_mean": ends.targets.mean,
                "target_deviation": ends.targets.deviation,
                "output_mean": ends.outputs.mean,
                "output_deviation": ends.outputs.deviation,
                **more,
            },
            remedies=("rescale-output", "lr(x10)", "lr(x100)")
            if seen.diverged is None
            else ("rescale-output", "lr(x0.1)", "lr(x0.01)"),
        )


def _steps_left(seen: Observation, ends: Ends) -> float | None:
    """How many more steps it takes to the targets' mean and deviation, at the pace of the steps so far."""
    start = _moments(seen.traces[0])
    if start is None:
        return None
    now, aim = (ends.outputs.mean, ends.outputs.deviation), (ends.targets.mean, ends.targets.deviation)
    come, left = math.dist(start, now), math.dist(now, aim)
    return left / come * seen.learning.steps if come > 0 else math.inf


def _moments(trace: Trace) -> tuple[float, float] | None:
    """Mean and standard deviation of the outputs."""
    op = output(trace)
    if op is None or not math.isfinite(op.forward.rms):
        return None
    return op.forward.mean, math.sqrt(max(0.0, op.forward.rms**2 - op.forward.mean**2))


def _mean(values: Values) -> str:
    return "0" if abs(values.mean) < 1e-3 * values.deviation else f"{values.mean:.3g}"


def _about(steps: float) -> str:
    return f"{steps:.1g}" if math.isfinite(steps) else "endlessly many"
