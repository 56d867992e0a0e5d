"""One optimizer of a script, and what is seen of its steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from ..observation import Loop, doubtful
from ..observe import (
    EVALUATION_BATCHES,
    EVALUATION_SAMPLES,
    STEPS,
    begun_alike,
    settings,
    traced_steps,
    usual_steps,
    with_steps,
)
from ..setup import held_by, parameters_of
from ..trace.record import Recorder
from ..trace.source import made_at
from ..trace.statistics import StepMeter
from ..trace.types import Backward, Trace
from .extract import Recorded
from .gates import Calls, Gate
from .roots import Together
from .tape import Tape
from .twin import State, Twin, snapshot

RESTING = ("dropout", "batchnorm", "instancenorm")  # behave differently in training, by the names of their classes
CLOSE = 32
"""Of the first steps each is taped, later ones every eighth: a script may end at any time."""
SPARSE = 8
KEPT_BYTES = 1 << 28
"""Batches are kept to evaluate the network on: 256 MB at the most, beside what is evaluated."""


@dataclass
class Passed:
    """A backward pass since the last step: its loss and, where it was watched, what was seen."""

    loss: Tensor
    number: int  # among all of the script's
    trace: Trace | None = None
    recorded: Recorded | None = None


@dataclass
class Strand:
    """Follows one optimizer from step to step. Lives in the script's process.

    model: holds everything that is trained. others: ids of the parameters that other optimizers hold. source: the line
    that made the optimizer. alone: there is no other. parameters: those of the model that are this optimizer's matter,
    by name: its own, and those that no optimizer holds. factors: what a remedy multiplies the learning rates by.
    used, touched: the backward passes whose gradients its steps were made of, and all that reached its parameters.
    notes: what could not be seen.
    """

    optimizer: Any
    model: nn.Module
    others: set[int]
    twin: Twin
    calls: Calls
    paths: dict[int, str]
    source: str | None
    requested: int | None
    alone: bool

    count: int = 0
    losses: list[Tensor | float] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    tapes: deque[Recorded] = field(default_factory=deque)
    wanted: int = STEPS
    extra: int = EVALUATION_BATCHES
    passed: list[Passed] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    loss_line: str | None = None
    clears: list[tuple[int, bool]] = field(default_factory=list)
    training: list[bool] = field(default_factory=list)
    attached: bool = False
    broken: bool = False
    available: int | None = None
    final: State | None = None
    factors: list[float] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """From the first step on, with the model and the optimizer as they are now."""
        self._meet_parameters()
        self.count = 0
        seen = (self.losses, self.traces, self.rates, self.tapes, self.passed, self.passes, self.clears, self.training)
        for each in seen:
            each.clear()
        self.settings = replace(settings(self.optimizer), source=self.source)
        self.recorder = Recorder(self.model)
        self.tape = Tape(self.model, self.paths, self.calls)
        self.recorder_gate = Gate(self.recorder, self.calls)
        self.tape_gate = Gate(self.tape, self.calls)
        self._meter: StepMeter | None = None
        self._stack: ExitStack | None = None
        self._first_batch: list[Tensor] | None = None
        self._can_rest = {
            path: m for path, m in self.model.named_modules() if type(m).__name__.lower().startswith(RESTING)
        }
        self._awake = dict.fromkeys(self._can_rest, -1)  # the last step at which each was in training mode
        self._repeated = True
        self._alike = begun_alike(self.parameters)
        self._kept_bytes = 0
        self._cleared = self._ever_cleared = True
        self._stray: Passed | None = None
        if self.requested is not None:
            self.wanted = self.requested
        self._plan()

    def _meet_parameters(self) -> None:
        """Those that there are now; some may be added later."""
        self.held = held_by(self.optimizer)
        self.parameters = {n: p for n, p in self.model.named_parameters() if id(p) not in self.others - self.held}
        self.own = [p for p in self.parameters.values() if id(p) in self.held]

    def make_room(self, held: set[int], fresh: set[int]) -> None:
        """There are other optimizers from now on, which hold `fresh` among all that are `held`. If they go on with the
        training of this one's parameters, then what it has done is done."""
        self.others, self.alone = held - self.held, False
        self._meet_parameters()
        if self.count and self.final is None and fresh & self.held:
            self.final = snapshot(self.model)

    # -- when what is watched ----------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether all has been seen; nothing more is learned from training on NaN."""
        return self.broken or self.count >= self.wanted + self.extra

    def _plan(self) -> None:
        self.tracing = self.count in traced_steps(self.wanted)
        near = self.count < CLOSE or self.count % SPARSE == 0
        self.taping = self.tracing or near or self.count >= self.wanted

    def arm(self) -> None:
        """Before the step: begin to watch, where this one is to be watched."""
        self._stack = ExitStack()
        if self.tracing:
            self.recorder.reset()
            self._stack.enter_context(self.recorder.listening())
            self.recorder_gate.open = True
        if self.taping:
            self.tape.reset()
            self.tape.listen(self._stack)
            self.tape_gate.open = True
        self.calls.draws = None

    def gates(self) -> tuple[list[Gate], list[Gate]]:
        """What has to be on the stack of modes: tapes, which lie above, and recorders."""
        return [self.tape_gate] * self.taping, [self.recorder_gate] * self.tracing

    def disarm(self) -> None:
        if self._stack is not None:
            self._stack.close()
            self._stack = None
        if self.tracing:
            self.recorder.reset()
        self.tape.reset()

    # -- backward passes ---------------------------------------------------------------------------------------------

    def before_backward(self, exact: bool) -> None:
        """exact: look at every gradient, rather than at whether there is one at all."""
        self.recorder_gate.open = self.tape_gate.open = False
        if len(parameters_of(self.optimizer)) != len(self.held):
            self._meet_parameters()
        self._cleared = self._clear(exact or self.tracing)
        self._ever_cleared = self._ever_cleared or self._cleared
        self._before = [(p.grad, None if p.grad is None else p.grad._version) for p in self.own]

    def _clear(self, exact: bool) -> bool:
        there = [p.grad for p in self.own if p.grad is not None]
        if not there or not exact:
            return not there
        dense = [g.coalesce().values() if g.is_sparse else g for g in there]
        return not any(bool(g.any()) for g in dense)

    def after_backward(
        self, number: int, loss: Tensor, start: Tensor, scale: float, line: str | None, in_step: bool
    ) -> None:
        """A backward pass that may have been this optimizer's.

        start: where it began: at the loss, or at `scale` times the loss (mixed precision).
        """
        if not self._reached():
            self._remember_unattached(number, loss, start, scale, line)
            return
        self.touched.add(number)
        if self._cleared:
            if in_step and self.passed:  # a closure is evaluated several times; the first time is at the step's start
                return
            self.passed.clear()
        self.loss_line = line or self.loss_line
        self.attached = True
        first = not self.passed
        self.passed.append(Passed(loss.detach(), number))
        if first:
            self._look(self.passed[0], loss, start, scale)
        if in_step and self._meter is None and self.tracing:
            self._meter = StepMeter(list(self.parameters.values()), self.recorder.workspace)

    def _reached(self) -> bool:
        """Whether the pass gave some of the optimizer's parameters a gradient."""
        return any(
            p.grad is not None and (p.grad is not before or p.grad._version != version)
            for p, (before, version) in zip(self.own, self._before, strict=True)
        )

    def _remember_unattached(self, number: int, loss: Tensor, start: Tensor, scale: float, line: str | None) -> None:
        """A loss that reaches nothing may be another optimizer's; if no other comes before the step, it was meant."""
        if not self.passed:
            self.loss_line = line or self.loss_line
            self._stray = Passed(loss.detach(), number)
            self._look(self._stray, loss, start, scale)

    def _look(self, passed: Passed, loss: Tensor, start: Tensor, scale: float) -> None:
        if self.tracing:
            passed.trace = unscaled(self.recorder.trace(start, self.count, only=not self.alone), scale)
        if self.taping:
            passed.recorded = self._recorded(loss)
            if passed.recorded is not None and self.twin.sound is None:
                self.twin.check(passed.recorded, self.alone)

    def _recorded(self, loss: Tensor) -> Recorded | None:
        found = self.tape.program(loss)
        if found is None:
            return None
        program, leaves = found
        if self._first_batch is None:
            self._note_origin(leaves)
        kept = tuple(leaf.detach().clone().requires_grad_(leaf.requires_grad) for leaf in leaves)
        return Recorded(self.count, program, kept, loss.item(), self.calls.draws)

    def _note_origin(self, leaves: Sequence[Tensor]) -> None:
        """Whether the batch is a part of a larger tensor."""
        whole = [t._base for t in leaves if t._base is not None and t.dim() and t._base.shape[1:] == t.shape[1:]]
        if whole:
            self.available = max(map(len, whole))

    def listen_again(self, several: bool) -> None:
        """After a backward pass. Where there is one optimizer, what comes after it is no part of this step."""
        self.recorder_gate.open = self.tape_gate.open = several or not self.passed

    # -- steps -------------------------------------------------------------------------------------------------------

    def before_step(self, closure: bool) -> None:
        self._meter = None
        factors = self.factors or [1.0] * len(self.optimizer.param_groups)
        rates = [float(g["lr"]) * f for g, f in zip(self.optimizer.param_groups, factors, strict=False) if "lr" in g]
        self.rates.append(max(rates, default=math.nan))
        scale = getattr(self.optimizer, "grad_scale", None)  # where the step itself takes mixed precision's factor away
        self._scale = 1.0 if scale is None else float(scale)
        self._awake.update({path: self.count for path, m in self._can_rest.items() if m.training})
        if self.tracing and not closure:
            self._meter = StepMeter(list(self.parameters.values()), self.recorder.workspace)

    def after_step(self) -> None:
        passed = self.passed or ([self._stray] if self._stray else [])
        self.passes.append(len(passed))
        self.used |= {p.number for p in self.passed}
        if passed:
            self.losses.append(torch.stack([p.loss.float().reshape(()) for p in passed]).sum())
            self._learn_from(passed[0])
        else:  # the gradients that there are once more
            self.losses.append(self.losses[-1] if self.losses else math.nan)
        if self.tracing and self.count and self.passed:
            self.clears.append((self.count, self._ever_cleared))
        self.passed.clear()
        self._stray, self._ever_cleared = None, False
        self.disarm()
        self.count += 1
        if self.count == self.wanted:
            self.final = snapshot(self.model)
        self._plan()

    def _learn_from(self, passed: Passed) -> None:
        if passed.trace is not None:
            self._finish(passed.trace, passed.recorded)
        if passed.recorded is not None:
            self._keep(passed.recorded)

    def _finish(self, trace: Trace, recorded: Recorded | None) -> None:
        """What the step did to each parameter."""
        trace = with_steps(trace, self.parameters, self._meter, self.held, self._alike, self._scale)
        if not self.traces:
            self.wanted = self.requested or usual_steps(trace)
            self.extra = max(EVALUATION_BATCHES, math.ceil(EVALUATION_SAMPLES / trace.predictions))
        if self._meter is not None and recorded is not None and doubtful(trace):
            promised = self._meter.promised() / self._scale
            after = self.twin.loss_now(recorded)
            if after is not None:
                predicted = None if math.isnan(promised) else promised
                trace = replace(trace, change=after - recorded.loss, predicted=predicted)
        self.traces.append(trace)
        self.training.append(trains(self.model))
        self.broken = not math.isfinite(trace.loss)
        self._compare_batches(recorded)

    def _compare_batches(self, recorded: Recorded | None) -> None:
        if recorded is None or not recorded.leaves:
            self._repeated = False
        elif self._first_batch is None:
            self._first_batch = list(recorded.leaves)
        else:
            same = len(recorded.leaves) == len(self._first_batch) and all(
                a.shape == b.shape and bool(torch.equal(a, b))
                for a, b in zip(recorded.leaves, self._first_batch, strict=True)
            )
            self._repeated = self._repeated and same

    def _keep(self, recorded: Recorded) -> None:
        self.tapes.append(recorded)
        self._kept_bytes += _bytes(recorded)
        while self._kept_bytes > KEPT_BYTES and len(self.tapes) > 1:
            self._kept_bytes -= _bytes(self.tapes.popleft())

    # -- in the end --------------------------------------------------------------------------------------------------

    def rivals(self, other: Strand) -> bool:
        """Whether the two are steps on losses of their own, of which one reaches what the other trains: then neither
        loss has to fall for both to learn (a generator and a discriminator)."""
        mine, theirs = self.touched - self.used, other.touched - other.used
        return not self.used & other.used and bool(mine & other.used or theirs & self.used)

    def settle(self) -> None:
        """The script ends, or nothing more is to be seen of it."""
        self.disarm()
        if self.final is None:
            self.final = snapshot(self.model)

    @property
    def samples(self) -> int | None:
        """In a batch."""
        return next((len(leaf) for leaf in self._first_batch or () if leaf.dim()), None)

    def loop(self) -> Loop:
        modules = dict(self.model.named_modules())
        steps = min(self.count, self.wanted)
        resting = [path for path, step in self._awake.items() if 2 * step < steps - 1]
        # Normalisation first: without dropout a network learns all the same.
        resting.sort(key=lambda path: (type(modules[path]).__name__, path))
        return Loop(
            model=made_at(self.model),
            loss=self.loss_line,
            backwards=median(self.passes) if self.passes else 0,
            uncleared=None if not self.clears or any(clear for _, clear in self.clears) else self.clears[0][0],
            training=tuple(self.training),
            resting=tuple((path, type(modules[path]).__name__, made_at(modules[path])) for path in resting),
            rates=tuple(self.rates),
            repeated=self._repeated and len(self.traces) > 1,
            samples=self.samples,
            available=self.available,
            attached=self.attached,
        )

    def numbers(self) -> list[float]:
        """The loss of each step, as numbers."""
        return [loss.item() if isinstance(loss, Tensor) else loss for loss in self.losses]


def _bytes(recorded: Recorded) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in recorded.leaves)


def trains(model: nn.Module) -> bool:
    """Whether it is in training mode; of several, whether one is."""
    return any(m.training for m in model.children()) if isinstance(model, Together) else model.training


def unscaled(trace: Trace, scale: float) -> Trace:
    """The trace of a loss that mixed precision had multiplied by `scale`."""
    if scale == 1.0:
        return trace
    operations = tuple(
        replace(op, backward=Backward(op.backward.norm / scale, op.backward.zeros)) if op.backward else op
        for op in trace.operations
    )
    return replace(trace, loss=trace.loss / scale, operations=operations)
