"""What only a script's own training loop can do wrong. Silent for a case, whose loop is ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

from ..observation import Loop, Observation
from ..trace.kinds import FROZEN_NORM
from ..trace.types import Operation, Trace
from .base import Finding, Rule, Severity
from .measures import failed, optimizer_line, ruined, trouble

UNTOUCHED = 1e-3
"""What a batch normalisation does with the averages it was made with is to divide by the root of 1 + epsilon, where
epsilon is 1e-5 by default, and 1e-3 in some networks."""

MISSED = 10.0
"""Initialisations suit signals of a standard deviation of about one, which normalisation gives them; inputs ten times
as large or as small are taken for unscaled."""

STANDSTILL = 0.01
"""A weight matrix that changes by less than 1 % in all that is left of a run is the same matrix."""


class GradientsNotCleared(Rule):
    """The gradients of one step are still there when the next begins, so that `backward` adds to them.

    The optimizer then follows the sum of all gradients since the start, which is momentum with a coefficient of 1: a
    ball without friction, whose swings never die out. Many networks learn something all the same, so where they do it
    is a warning. Gradients that are gathered over a few batches on purpose are cleared after each step.

    Qian 1999, on what that coefficient does.
    """

    id = "gradients-not-cleared"
    title = "gradients are never cleared, and add up from step to step"
    reading = "Qian 1999, On the momentum term in gradient descent learning algorithms, Neural Networks 12:145"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        loop = seen.loop
        if loop is None or loop.uncleared is None:
            return
        yield Finding(
            self.id,
            Severity.ERROR if failed(seen) or ruined(seen) else Severity.WARNING,
            f"Gradients are never cleared: step {loop.uncleared} began with those of the step before it, and so did "
            f"the later ones, so that the optimizer follows the sum of all gradients since the start. Call "
            f"optimizer.zero_grad() before backward().",
            source=loop.loss,
            evidence={"backward_passes_per_step": loop.backwards},
            since=loop.uncleared,
            reading=self.reading,
        )


class EvalMode(Rule):
    """The network is trained in evaluation mode, from the start, or since a validation that has left it there.

    Dropout that rests is no obstacle to learning. A batch normalisation that rests uses its running averages, and these
    are only updated in training mode: where they are still those that it was made with, 0 and 1, it normalises nothing.
    Whether that is why a network fails is seen by training a copy of it in training mode. Where that was not tried: by
    outputs that equal the inputs before the first step, and by how far the signal is from what normalisation would have
    made of it. Averages that fit the data, as in a pretrained network whose normalisation is frozen on purpose, pass
    the signal on at the right size.

    Ioffe and Szegedy 2015.
    """

    id = "eval-mode"
    title = "training in evaluation mode: nothing is normalised or dropped"
    reading = "Ioffe and Szegedy 2015, Batch normalization, arXiv:1502.03167, section 3.1"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        loop, severity = seen.loop, trouble(seen)
        if loop is None or not loop.resting:
            return
        idle = _idle(seen.traces[0])
        tried = seen.tried("training-mode")
        if severity is not None and tried is not None and tried.numbers["learns"]:
            yield self._keeps_from_learning(loop, severity, tried.numbers["final_loss"])
        elif severity is not None and idle:
            yield self._normalises_nothing(loop, severity, idle)
        elif loop.training and not loop.training[-1]:
            yield self._note(loop, _since(seen, loop))

    def _keeps_from_learning(self, loop: Loop, severity: Severity, loss: float | int | None) -> Finding:
        return Finding(
            self.id,
            severity,
            f"The network is trained in evaluation mode, in which {_behaviour(loop)}; a copy of it in training mode "
            f"learns, to a loss of {loss:.3g}. Call model.train() before training.",
            module=loop.resting[0][0],
            source=_line(loop),
            evidence={"resting": [path for path, _, _ in loop.resting], "loss_in_training_mode": loss},
            since=0,
            reading=self.reading,
        )

    def _normalises_nothing(self, loop: Loop, severity: Severity, idle: list[Operation]) -> Finding:
        first, worst = idle[0], max(idle, key=_missed)
        certain = severity is Severity.ERROR and _missed(worst) >= MISSED
        advice = (
            "The model is in training mode, but these parts of it are not."
            if any(loop.training)
            else "Call model.train() before training."
        )
        return Finding(
            self.id,
            Severity.ERROR if certain else Severity.WARNING,
            f"Batch normalisation normalises nothing: in evaluation mode it uses its running averages, and these are "
            f"still the 0 and 1 that it was made with. At {worst.label} the signal has a standard deviation of "
            f"{_deviation(worst):.2g}, where 1 was meant. {advice}",
            module=first.module,
            source=first.source or _line(loop),
            evidence={"operations": len(idle), "deviation": _deviation(worst)},
            since=0,
            reading=self.reading,
        )

    def _note(self, loop: Loop, since: int) -> Finding:
        when, advice = "The network is trained", "before training"
        if since:
            when, advice = f"At step {since} and later the network is trained", "after each validation"
        return Finding(
            self.id,
            Severity.INFO,
            f"{when} in evaluation mode, in which {_behaviour(loop)}. Where that is not meant, call model.train() "
            f"{advice}.",
            module=loop.resting[0][0],
            source=_line(loop),
            evidence={"resting": [path for path, _, _ in loop.resting]},
            since=since,
            reading=self.reading,
        )


def _behaviour(loop: Loop) -> str:
    path, name, _ = loop.resting[0]
    more = f" and {len(loop.resting) - 1} more" if len(loop.resting) > 1 else ""
    return f"{path or 'the model'} ({name}){more} behave as in use, not as in training"


def _since(seen: Observation, loop: Loop) -> int:
    """The traced step from which on the model as a whole is in evaluation mode."""
    awake = [trace.step for trace, training in zip(seen.traces, loop.training, strict=False) if training]
    return next(trace.step for trace in seen.traces if trace.step > max(awake, default=-1))


def _line(loop: Loop) -> str | None:
    """That made the first module at rest whose line is known."""
    return next((source for _, _, source in loop.resting if source is not None), None)


def _idle(trace: Trace) -> list[Operation]:
    """Batch normalisations by running averages that hand on what they are given."""
    resting = [op for op in trace.operations if op.name == FROZEN_NORM and op.parents]
    return [op for op in resting if _unchanged(trace.operations[op.parents[0]], op)]


def _unchanged(before: Operation, after: Operation) -> bool:
    size = before.forward.rms
    moments = ((before.forward.rms, after.forward.rms), (before.forward.mean, after.forward.mean))
    return size > 0.0 and all(math.isclose(a, b, rel_tol=0.0, abs_tol=UNTOUCHED * size) for a, b in moments)


def _deviation(op: Operation) -> float:
    """Between samples, root mean square over the units; NaN for a single sample."""
    return op.forward.rms * math.sqrt(op.forward.between)


def _missed(op: Operation) -> float:
    """The factor between its standard deviation and that of one which was meant; 1 where it cannot be told."""
    deviation = _deviation(op)
    if math.isnan(deviation):
        return 1.0
    return max(deviation, 1.0 / deviation) if deviation else math.inf


class LearningRateDecayed(Rule):
    """The schedule has brought the learning rate to nothing before half of the steps were taken.

    To nothing means two things: all rates that are left sum up to less than the largest that there was, so that the
    rest of the run is not worth one of its steps; and by the pace of the real steps, the weights will not change by 1 %
    any more. A schedule that ends at zero comes there in its last steps only, and one that warms up in none. A usual
    mistake is to call `scheduler.step()` for each batch with numbers that were meant for epochs. That it happens is no
    fault in a network that learns: it may be done.

    Bengio 2012, section 3.1.1.
    """

    id = "learning-rate-decayed"
    title = "the schedule brings the learning rate to nothing too early"
    reading = "Bengio 2012, Practical recommendations for gradient-based training, arXiv:1206.5533"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        severity = trouble(seen)
        fell = _standstill(seen) if severity else None
        if seen.loop is None or severity is None or fell is None or 2 * fell >= len(seen.loop.rates):
            return
        rates = seen.loop.rates
        yield Finding(
            self.id,
            severity,
            f"The learning rate falls to nothing too early: it was {max(rates):.1e}, and is {rates[fell]:.1e} at step "
            f"{fell} of {len(rates)} and {rates[-1]:.1e} in the end. All steps from there on, taken together, are less "
            f"than one at the highest rate. Is the scheduler stepped for each batch, with numbers that are meant for "
            f"epochs?",
            source=optimizer_line(seen),
            evidence={"highest_rate": max(rates), "last_rate": rates[-1], "rates_left": sum(rates[fell:])},
            since=fell,
            reading=self.reading,
        )


def _standstill(seen: Observation) -> int | None:
    """The step from which on the rates that are left are as good as none."""
    rates, pace = seen.loop.rates if seen.loop else (), _pace(seen)
    if not rates or pace is None:
        return None
    left = list(accumulate(reversed(rates)))[::-1]
    return next((i for i, rest in enumerate(left) if rest < max(rates) and pace * rest < STANDSTILL), None)


def _pace(seen: Observation) -> float | None:
    """By how much of its size a step changes a typical weight matrix for a learning rate of one, at the most; None
    where no step tells."""
    rates = seen.loop.rates if seen.loop else ()
    steps = [(t.typical_step, rates[t.step]) for t in seen.traces if t.step < len(rates)]
    return max((step / rate for step, rate in steps if step is not None and rate > 0), default=None)


class SameBatch(Rule):
    """Every step is given the same batch, although there are more samples.

    The network does learn that batch, and its loss falls; of all other samples it learns nothing. To see whether a
    network can learn one batch by heart is a good test, so this is a warning.

    Goodfellow, Bengio and Courville 2016, section 11.5, on that test.
    """

    id = "same-batch"
    title = "every step sees the same batch"
    reading = "Goodfellow, Bengio and Courville 2016, Deep Learning, section 11.5"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        loop = seen.loop
        if loop is None or not loop.repeated or len(seen.traces) < 2 or loop.samples is None or loop.available is None:
            return
        if loop.available <= loop.samples:
            return
        yield Finding(
            self.id,
            Severity.WARNING,
            f"Every step that was looked at is given the same batch: {loop.samples} of {loop.available} samples. The "
            f"network can learn these, and nothing of the others. A usual reason is next(iter(loader)) inside of the "
            f"loop, which begins anew each time.",
            source=loop.loss,
            evidence={"samples": loop.samples, "available": loop.available},
            since=seen.traces[0].step,
            reading=self.reading,
        )
