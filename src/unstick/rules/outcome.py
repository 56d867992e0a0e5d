"""The symptoms: numbers that are no numbers, and a loss that does not fall."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..observation import Observation
from ..trace.types import Operation, Trace
from .base import Finding, Rule, Severity, first_error
from .measures import failed, lags, long_enough


class NonFinite(Rule):
    """A loss, or the gradient of a parameter, that is NaN or infinite, and the operation that it began in.

    Only where it reaches what is trained: attention masks of minus infinity are there to be swallowed by a softmax,
    and rows that are masked as a whole are put right by `nan_to_num`.
    """

    id = "non-finite"
    title = "NaN or infinity in the loss or the gradient"
    reading = "Goodfellow, Bengio and Courville 2016, Deep Learning, section 4.1"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = next((t for t in seen.traces if _bad(t)), None)
        if trace is None and seen.diverged is None:
            return
        at = _origin(trace) if trace is not None else None
        step = seen.diverged if trace is None else trace.step
        where = f"first in {at.label}" if at is not None else "in the loss"
        yield Finding(
            self.id,
            Severity.ERROR,
            f"NaN or infinity from step {step} on, {where}.",
            module=at.module if at else None,
            source=at.source if at else None,
            cause=first_error(earlier),
            evidence={"diverged_at": seen.diverged, "last_loss": seen.losses[-1]},
            # What is wrong before the first step is not for a step size to mend.
            remedies=("lr(x0.1)", "clip(1.0)", "batchnorm") if step else ("batchnorm", "init(lsuv)", "standardize"),
            since=step,
            reading=self.reading,
        )


def _bad(trace: Trace) -> bool:
    """Whether NaN or infinity has reached the loss, or a gradient that the optimizer is given."""
    gradients = (p.gradient for p in trace.parameters if p.gradient is not None)
    return not (math.isfinite(trace.loss) and all(map(math.isfinite, gradients)))


def _origin(trace: Trace) -> Operation | None:
    """The first operation whose NaN or infinity lives on up to the loss; else the last whose gradient is not finite."""
    if not math.isfinite(trace.loss):
        lasting = _lasting(trace.operations)
        return next((op for op in trace.operations if op.shape and op.index in lasting), None)
    back = reversed([op for op in trace.operations if op.shape])
    return next((op for op in back if op.backward is not None and not op.backward.finite), None)


def _lasting(operations: Sequence[Operation]) -> frozenset[int]:
    """Operations with NaN or infinity in their output and in that of a reader, of its reader, and so on to the loss."""
    read = {parent for op in operations for parent in op.parents}
    handed_on = {op.index for op in operations if op.index not in read and op.backward is not None}
    found: set[int] = set()
    for op in reversed(operations):
        if op.index in handed_on and not op.forward.finite:
            found.add(op.index)
            handed_on.update(op.parents)
    return frozenset(found)


class NotLearning(Rule):
    """After a hundred steps and more, the loss is no better than that of the best output that ignores its input.

    An error where another finding explains it. Where none does it is a warning: some tasks are slow to begin, and
    then the step count or the data are what to look at. One that has begun for certain, because of its input, and has
    less than 1 % to show for it yet, is left alone. A warning too where it learns, and a linear model that was trained
    beside it, on the same batches and in as many steps, is far ahead.
    """

    id = "not-learning"
    title = "the loss does not leave that of a constant output"
    reading = "Google Developers 2023, Deep Learning Tuning Playbook, github.com/google-research/tuning_playbook"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        learning = seen.learning
        if lags(seen):
            yield self._behind(seen, earlier)
        if not failed(seen) or not long_enough(seen):
            return
        cause = first_error(earlier)
        if cause is None and learning.begun:
            return
        reference = (
            f"a constant output reaches {learning.constant_loss:.4g}"
            if learning.constant_loss is not None
            else f"it began at {learning.initial_loss:.4g}"
        )
        ignores = "; its outputs do not depend on its input" if learning.uses_input is False else ""
        advice = "" if cause else f" None of the known causes was found. {_ruled_out(seen)}"
        yield Finding(
            self.id,
            Severity.ERROR if cause else Severity.WARNING,
            f"The network does not learn: after {learning.steps} steps its loss is {learning.final_loss:.4g}, "
            f"{reference}{ignores}.{advice}",
            cause=cause,
            evidence={
                "final_loss": learning.final_loss,
                "constant_loss": learning.constant_loss,
                "initial_loss": learning.initial_loss,
                "below": list(learning.below),
                "uses_input": learning.uses_input,
                "steps": learning.steps,
            },
            remedies=() if cause else ("lr(x10)", "lr(x0.1)", "batchnorm", "standardize"),
            reading=self.reading,
        )

    def _behind(self, seen: Observation, earlier: Sequence[Finding]) -> Finding:
        learning, model = seen.learning, seen.tried("reference")
        assert model is not None
        cause = next((f.rule for f in earlier if f.severity is not Severity.INFO), None)
        return Finding(
            self.id,
            Severity.WARNING,
            f"The network learns next to nothing: after {learning.steps} steps its loss is {learning.final_loss:.4g}, "
            f"where a constant output has {learning.constant_loss:.4g} and a linear model, on the same batches and in "
            f"as many steps, {model.numbers['final_loss']:.4g}.",
            cause=cause,
            evidence={
                "final_loss": learning.final_loss,
                "constant_loss": learning.constant_loss,
                "reference_loss": model.numbers["final_loss"],
                "steps": learning.steps,
            },
            remedies=() if cause else ("lr(x10)", "adam", "batchnorm", "standardize"),
            reading=self.reading,
        )


NO_WITNESS = 2.0
"""A reference model whose loss is twice that of a constant output did not fail for want of a signal in the data."""


class UnlearnableTargets(Rule):
    """The network can learn one batch by heart, so it is able to learn; but neither it nor a linear model nor a plain
    small network finds anything in these inputs that tells these targets. Then it is the data that does not fit:
    labels out of order, inputs without the information, or a signal that needs many more samples.

    Zhang, Bengio, Hardt, Recht and Vinyals 2017.
    """

    id = "unlearnable-targets"
    title = "the inputs do not tell the targets, to any model that was tried"
    reading = "Zhang et al. 2017, Understanding deep learning requires rethinking generalization, arXiv:1611.03530"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        heart, reference, rates = (seen.tried(name) for name in ("one-batch", "reference", "rates"))
        if any(f.severity is Severity.ERROR for f in earlier) or not failed(seen) or seen.learning.begun:
            return
        if heart is None or reference is None or not heart.numbers["learns"] or reference.numbers["learns"]:
            return
        loss, constant = reference.numbers["final_loss"], reference.numbers["constant_loss"]
        if loss is None or constant is None or not loss <= NO_WITNESS * abs(constant):
            return
        if rates is not None and rates.numbers["best"] is not None:
            return
        yield Finding(
            self.id,
            Severity.ERROR,
            "The targets cannot be learned from these inputs: the network learns one batch by heart (a loss of "
            f"{heart.numbers['final_loss']:.3g}), but from all of the data neither it nor a linear model nor a plain "
            "small network learns anything. Look at how inputs and labels were put together.",
            evidence={
                "one_batch_loss": heart.numbers["final_loss"],
                "reference_loss": reference.numbers["final_loss"],
                "constant_loss": seen.learning.constant_loss,
            },
            since=0,
            reading=self.reading,
        )


def _ruled_out(seen: Observation) -> str:
    """Which explanations the experiments excluded, and what is left to look at."""
    heart, reference, rates = (seen.tried(name) for name in ("one-batch", "reference", "rates"))
    out = []
    if heart is not None and heart.numbers["learns"]:
        out.append("it can learn a single batch by heart, so the gradient arrives and it has the capacity")
    if rates is not None and rates.numbers["best"] is None:
        out.append("no other learning rate helps")
    if reference is not None:
        where = "so the data can be learned" if reference.numbers["learns"] else "so look at the labels and the data"
        out.append(f"{'a' if reference.numbers['learns'] else 'no'} plain reference model learns, {where}")
    return f"Ruled out: {'; '.join(out)}." if out else "Look at the labels, the data, or longer."
