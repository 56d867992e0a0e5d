"""Parameters that cannot move: no gradient comes to them, or nobody hands them to the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..observation import Loop, Observation
from ..trace.attribution import attenuation
from ..trace.types import Operation, ParameterStep, Trace
from .base import Finding, Rule, Severity
from .measures import EXPONENTIAL, ONE_SIDED, TWO_SIDED, failed, frozen, grade, optimizer_line, trouble

FLATTENING = ONE_SIDED | TWO_SIDED | EXPONENTIAL
"""A gradient that these bring to zero has a cause of its own: dead units, saturation, too large a signal."""


FADED = 20.0
"""Decades. From a gradient of about one it takes forty to become zero in float32."""


class NoGradient(Rule):
    """Parameters that the forward pass reads and the optimizer holds, and that no gradient ever comes to.

    Two ways lead there. The gradient is None where the graph is cut behind them: `detach`, `no_grad`, `argmax`, a trip
    through NumPy. It is exactly zero, at every trace, where something multiplies it by zero on its way: weights that
    are all zero, a gate that is shut. A head whose output nobody reads has no gradient either, and is nobody's fault:
    so a cut counts where the loss depends on what was cut off, or where no weight matrix but the last gets a gradient.
    A script's loss may have a gradient and depend on no parameter at all, which is certain at once.

    Baydin, Pearlmutter, Radul and Siskind 2018, section 3.2.
    """

    id = "no-gradient"
    title = "no gradient comes to parameters that are meant to be trained"
    reading = "Baydin et al. 2018, Automatic differentiation in machine learning: a survey, arXiv:1502.05767"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        if seen.loop is not None and not seen.loop.attached:
            yield self._unattached(seen.traces[-1], seen.loop)
            return
        severity = _severity(seen, certain=_only_the_last(seen))
        trace = seen.traces[-1]
        cut = _always(seen, lambda p: p.gradient is None)
        if severity and cut and (_severed(trace) or _only_the_last(seen)):
            yield self._finding(trace, severity, cut, _severed(trace))
            return
        shut = _always(seen, lambda p: p.gradient == 0.0)
        where = _shut(trace)
        if failed(seen) and shut and where is not None and not _faded(trace):
            yield self._finding(trace, Severity.ERROR, shut, where)

    def _unattached(self, trace: Trace, loop: Loop) -> Finding:
        behind = _severed(trace)
        trained = not trace.parameters or any(p.trainable for p in trace.parameters)
        why = (
            "all of them are frozen (requires_grad=False)"
            if not trained
            else "look for .detach(), .item(), argmax, torch.no_grad() or NumPy between the model and the loss, for a "
            "loss made of other tensors, and for a requires_grad_() that was called on it to make backward() run"
        )
        return Finding(
            self.id,
            Severity.ERROR,
            f"The loss depends on no parameter of the model, so that no step can change it: {why}.",
            source=(behind.cut if behind else None) or trace.cut or loop.loss,
            evidence={"parameters": len(trace.parameters)},
            since=0,
            reading=self.reading,
        )

    def _finding(
        self, trace: Trace, severity: Severity, without: list[ParameterStep], behind: Operation | None
    ) -> Finding:
        first, zero = without[0], without[0].gradient == 0.0
        own = next((op for op in trace.operations if op.parameter == first.name), behind)
        many = f"{len(without)} of {len(_meant(trace))} parameters, {first.name} the first," if len(without) > 1 else ""
        if zero:
            why = "the gradient is exactly zero behind"
        else:
            why = "the graph is cut (by detach, no_grad, argmax or NumPy, say) before"
        return Finding(
            self.id,
            severity,
            f"No gradient comes to {many or first.name} although the forward pass uses and the optimizer holds "
            f"{'them' if many else 'it'}: {why} {_place(behind)}.",
            module=first.name.rpartition(".")[0] or None,
            source=(behind.cut if behind else None) or (own.source if own else None),
            evidence={
                "parameters": [p.name for p in without],
                "gradient": first.gradient,
                "trained": len(_meant(trace)) - len(without),
                "behind": behind.module if behind else None,
                "behind_source": behind.source if behind else None,
            },
            since=0,
            reading=self.reading,
        )


class NotInOptimizer(Rule):
    """Parameters that get a gradient at every step, and that the optimizer has never heard of.

    To train only the head is a choice, so in a network that learns it is a note. Where nothing that the optimizer
    holds gets a gradient, no step can change anything, and one trace is enough to know.

    PyTorch 2024, torch.optim: the optimizer is built over an explicit list of parameters.
    """

    id = "not-in-optimizer"
    title = "the optimizer does not hold parameters that get a gradient"
    reading = "PyTorch 2024, torch.optim, docs.pytorch.org/docs/stable/optim.html"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        driven = [p for p in trace.parameters if p.trainable and p.gradient]
        left_out = [p for p in driven if not p.held]
        severity = _severity(seen, certain=len(left_out) == len(driven))
        if not left_out or severity is None:
            return
        first = left_out[0]
        at = next((op for op in trace.operations if op.parameter == first.name), None)
        rest = f", {first.name} the first," if len(left_out) > 1 else f" ({first.name})"
        yield Finding(
            self.id,
            severity,
            f"{len(left_out)} of {len(driven)} parameters that get a gradient{rest} are not in the optimizer, so they "
            f"stay as they were initialised.",
            module=first.name.rpartition(".")[0] or None,
            source=optimizer_line(seen) or (at.source if at else None),
            evidence={"parameters": [p.name for p in left_out], "held": len(driven) - len(left_out)},
            remedies=("adam",),
            since=0,
            reading=self.reading,
        )


class FrozenParameters(Rule):
    """Half of the weight matrices, or more, are frozen (`requires_grad` is off), and the network fails, or lags.

    To train a head on random or pretrained features is a choice, and such networks mostly learn; so this is said only
    of one in trouble, and where nothing else explains it.

    Yosinski, Clune, Bengio and Lipson 2014, on what it costs to freeze layers.
    """

    id = "frozen-parameters"
    title = "most weights are frozen, and what is left cannot learn the task"
    reading = "Yosinski et al. 2014, How transferable are features in deep neural networks?, arXiv:1411.1792"

    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterator[Finding]:
        trace = seen.traces[-1]
        fixed = frozen(trace)
        matrices = [p for p in trace.parameters if p.name in trace.used and len(p.shape) > 1]
        severity = trouble(seen)
        explained = any(f.severity in (Severity.ERROR, severity) for f in earlier)
        if severity is None or explained or (severity is Severity.ERROR and seen.learning.begun):
            return
        if not fixed or 2 * len(fixed) < len(matrices):
            return
        first = fixed[0]
        at = next((op for op in trace.operations if op.parameter == first.name), None)
        yield Finding(
            self.id,
            severity,
            f"{len(fixed)} of {len(matrices)} weight matrices are frozen (requires_grad=False), {first.name} the "
            f"first: they stay as they are, and what is left to train "
            f"{'does not learn the task' if severity is Severity.ERROR else 'learns little of the task'}.",
            module=first.name.rpartition(".")[0] or None,
            source=at.source if at else seen.loop.model if seen.loop else None,
            evidence={"parameters": [p.name for p in fixed], "matrices": len(matrices)},
            since=0,
            reading=self.reading,
        )


def _severity(seen: Observation, certain: bool) -> Severity | None:
    """A network that learns gets a note; one that fails, or certainly will, an error; None: too early to say."""
    return grade(seen) or (Severity.ERROR if certain else None)


def _meant(trace: Trace) -> list[ParameterStep]:
    """Parameters that are meant to be trained, in the order of the model."""
    return [p for p in trace.parameters if p.trainable and p.held and p.name in trace.used]


def _always(seen: Observation, holds: Callable[[ParameterStep], bool]) -> list[ParameterStep]:
    """Those of them of which something is true at every trace."""
    spared = {p.name for trace in seen.traces for p in trace.parameters if not holds(p)}
    return [p for p in _meant(seen.traces[-1]) if p.name not in spared]


def _only_the_last(seen: Observation) -> bool:
    """Whether of several weight matrices only the last ever has a gradient."""
    matrices = [p.name for p in _meant(seen.traces[-1]) if len(p.shape) > 1]
    without = [p.name for p in _always(seen, lambda p: p.gradient is None) if len(p.shape) > 1]
    return len(matrices) > 1 and without == matrices[:-1]


def _severed(trace: Trace) -> Operation | None:
    """The first operation on the way to the loss that reads something cut off from the parameters that made it."""
    return next((op for op in trace.operations if op.severed and op.backward is not None), None)


def _shut(trace: Trace) -> Operation | None:
    """The operation on the trunk that makes a gradient exactly zero, where that is not the doing of its slope."""
    empty = next((op for op in trace.hidden if op.forward.rms == 0.0), None)
    if empty is not None:  # a ReLU of nothing but zeros passes no gradient on: then it is what made the zeros
        return empty if empty.kind == "weights" else None
    for before, op in zip(reversed(trace.hidden[:-1]), reversed(trace.hidden[1:]), strict=True):
        if before.backward is not None and before.backward.norm == 0.0:
            lost = op.backward is not None and op.backward.norm > 0.0
            return op if lost and op.name not in FLATTENING else None
    return _last_weighted(trace)


def _faded(trace: Trace) -> bool:
    """Whether small numbers became zero, in float16 or after many decades: both are other rules' matters."""
    lost = attenuation(trace)
    ran_out = lost is not None and lost.truncated == "underflow" and lost.decades >= FADED
    return ran_out or (bool(trace.hidden) and trace.hidden[0].dtype == "float16")


def _last_weighted(trace: Trace) -> Operation | None:
    """The last weighted operation, where the gradient is zero right behind it."""
    if not trace.hidden or trace.hidden[-1].backward is None or trace.hidden[-1].backward.norm > 0.0:
        return None
    readers = [op for op in trace.operations if trace.hidden[-1].index in op.parents and op.backward is not None]
    return next((op for op in readers if op.backward and op.backward.norm > 0.0), None)


def _place(op: Operation | None) -> str:
    return op.label if op is not None else "the last weight matrix"
