"""A short training run with the case's own optimizer, traced at a few of its steps."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from .batches import check_finite, tensors
from .case import Case, check_runs
from .learning import Examiner, buffers_kept
from .observation import ENOUGH_SAMPLES, Observation, Optimizer, Progress, doubtful
from .remedies.base import Remedy
from .setup import Anatomy, held_by
from .state import drawing, preserved, random_state, seed_everything
from .trace.record import Recorder, record
from .trace.statistics import Move, StepMeter, fetch, move, rows_alike
from .trace.types import ParameterStep, Trace

STEPS = 300
BUDGET = 120.0  # seconds
EVALUATION_BATCHES = 16
EVALUATION_SAMPLES = 128
"""At the least. The best constant is fitted to them, and k numbers fitted to n samples gain about k / 2n in
log-likelihood by chance (Akaike 1974): for 10 classes, a seventh of the loss at 16 samples, and 2 % at 128."""
ANATOMY_BATCHES = 4
EVALUATION_SEED = 1_000_003  # added to the seed: evaluation batches are drawn apart from the training batches
REMEDY_SEED = 2_000_003


def traced_steps(steps: int) -> frozenset[int]:
    """0, 1, 3, 10, 30, 100 ... and the last: close together where the network changes fastest."""
    spaced = {head * 10**power for power in range(len(str(steps))) for head in (1, 3)}
    return frozenset({0, steps - 1} | {s for s in spaced if s < steps})


def observe(
    case: Case,
    *,
    remedy: Remedy | None = None,
    steps: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    interruptible: bool = False,
) -> Observation:
    """Train a copy of `case`, changed by `remedy`, for `steps` steps or `budget` seconds (120), and measure.

    steps: None for 300, and more where batches are so small that 300 hold fewer than 1,000 samples. progress: called
    with (description, done, total); nothing is shown without it, in a notebook neither.

    interruptible: Ctrl-C, after the first step, ends the training like the budget does, instead of being raised.

    Same seed, same numbers. The user's objects and the global state are left as they were, also when this raises:
    CaseError for a case that cannot run, NotApplicable for a remedy that does not fit it.
    """
    started = time.perf_counter()
    deadline = started + (BUDGET if budget is None else budget)
    with preserved(threads=1 if on_cpu(device) else None):
        run = Run(case, remedy, seed, device)
        try:
            wanted = run.usual_steps if steps is None else steps
            interrupted = run.train(wanted, deadline, progress, interruptible)
            seen = run.concluded(wanted)
        finally:
            run.close()
    return replace(seen, seconds=time.perf_counter() - started, interrupted=interrupted)


class Run:
    """One setup in training. Lives inside `state.preserved`."""

    def __init__(self, case: Case, remedy: Remedy | None, seed: int, device: str | None) -> None:
        self.losses: list[float] = []
        self.traces: list[Trace] = []
        self._pending: list[Tensor] = []
        self._case, self._remedy, self._seed = case, remedy, seed
        self._streams: list[Iterator[Any]] = []
        self.setup = case.fresh(seed, device)
        self.device = device if device is not None else _device_of(self.setup.model)
        held = self._held(case, seed + EVALUATION_SEED)
        check_finite(held[0], 0)
        check_runs(self.setup, held[0])
        self.before, self.sample = self._look(held[0]), held[0]
        self.usual_steps = usual_steps(self.before)
        if remedy is not None:
            self._change(remedy, Anatomy(self.before, tuple(held[:ANATOMY_BATCHES])), seed)
        self.parameters = dict(self.setup.model.named_parameters())
        self._weights = list(self.parameters.values())
        self._recorder = Recorder(self.setup.model)
        self.optimizer = self.setup.make_optimizer(self._weights)
        self.settings = settings(self.optimizer)
        self._optimised = held_by(self.optimizer)
        self._began_alike = begun_alike(self.parameters)
        seed_everything(seed)  # whatever the remedy drew, the training draws the same
        self.examiner = Examiner(self.setup, held, case.metric)
        self._training = case.stream(seed, self.device)
        self._streams.append(self._training)

    def _held(self, case: Case, seed: int) -> list[Any]:
        """Batches to evaluate on; more of them where they are tiny."""
        source = case.stream(seed, self.device)
        try:
            first = next(source)
            samples = min((t.numel() for t in tensors(first) if t.numel()), default=EVALUATION_SAMPLES)
            count = max(EVALUATION_BATCHES, math.ceil(EVALUATION_SAMPLES / samples))
            return [first, *islice(source, count - 1)]
        finally:
            source.close()  # type: ignore[attr-defined]

    def _look(self, batch: Any) -> Trace:
        """A trace of the unchanged network that leaves nothing behind."""
        with buffers_kept(self.setup.model):
            trace = record(self.setup, batch)
        _clear(self.setup.model.parameters())
        return trace

    def _change(self, remedy: Remedy, anatomy: Anatomy, seed: int) -> None:
        seed_everything(seed + REMEDY_SEED)
        remedy.apply(self.setup, anatomy)

    def train(self, steps: int, deadline: float, progress: Progress | None, interruptible: bool) -> bool:
        """Whether the user interrupted it, where that is allowed."""
        try:
            self._train(steps, deadline, progress)
        except KeyboardInterrupt:
            if not interruptible or not self.traces:
                raise
            return True
        return False

    def _train(self, steps: int, deadline: float, progress: Progress | None) -> None:
        traced = traced_steps(steps)
        for step in range(steps):
            batch = self.next_batch()
            out_of_time = time.perf_counter() > deadline and step > 0
            if step in traced or out_of_time:
                self.traced_step(batch, step)
            else:
                self.plain_step(batch)
            if progress is not None:
                progress("training", step + 1, steps)
            if out_of_time or self.ended:
                break

    def next_batch(self) -> Any:
        """Of the training batches."""
        return next(self._training)

    @property
    def ended(self) -> bool:
        """Nothing more is learned from training on NaN. Known after a traced step."""
        return not self._pending and bool(self.losses) and not math.isfinite(self.losses[-1])

    def plain_step(self, batch: Any) -> None:
        """A step of which only the loss is kept."""
        loss = self.loss_and_gradients(batch)
        self._step(batch)
        self.stepped(loss)

    def loss_and_gradients(self, batch: Any) -> Tensor:
        """The loss of one batch; its gradients, and no others, are left on the parameters."""
        _clear(self._weights)
        loss = self.setup.forward(batch)
        loss.backward()
        return loss.detach().float().reshape(())

    def stepped(self, loss: Tensor) -> None:
        """An untraced step was made. Losses wait on the device until a traced step has to wait for it anyway."""
        self._pending.append(loss)

    def _collect(self) -> None:
        if self._pending:
            self.losses += torch.stack(self._pending).tolist()
            self._pending.clear()

    def _step(self, batch: Any) -> None:
        """One optimizer step; gradients are there. L-BFGS wants to evaluate the loss itself, several times."""
        if not isinstance(self.optimizer, torch.optim.LBFGS):
            self.optimizer.step()
            return

        def closure() -> Tensor:
            _clear(self._weights)
            loss = self.setup.forward(batch)
            loss.backward()
            return loss

        self.optimizer.step(closure)

    def traced_step(self, batch: Any, step: int) -> None:
        """A step that is looked at. Raises CaseError where the data are to blame for a loss that is not finite."""
        self._collect()
        self.traces.append(self._traced(batch, step))
        self.losses.append(self.traces[-1].loss)
        if self.ended:
            check_finite(batch, step)

    def _traced(self, batch: Any, step: int) -> Trace:
        _clear(self._weights)
        before_forward = random_state()
        trace = self._recorder.record(self.setup, batch, step)
        meter = StepMeter(self._weights, self._recorder.workspace)
        self._step(batch)
        trace = with_steps(trace, self.parameters, meter, self._optimised, self._began_alike)
        if not doubtful(trace):
            return trace
        promised = meter.promised()
        after = self._loss_again(batch, before_forward)
        return replace(trace, change=after - trace.loss, predicted=None if math.isnan(promised) else promised)

    def _loss_again(self, batch: Any, state: tuple[Any, ...]) -> float:
        """The loss of the same batch after the step, under the same random draws as before it."""
        with drawing(state), buffers_kept(self.setup.model), torch.no_grad():
            return self.setup.forward(batch).item()

    def concluded(self, wanted: int) -> Observation:
        """What all of it comes to, after the training. wanted: how many steps were asked for."""
        self._collect()
        learning, metric = self.examiner.conclude(len(self.losses))
        return Observation(
            target=self._case.title,
            remedy=None if self._remedy is None else str(self._remedy),
            seed=self._seed,
            requested=wanted,
            losses=tuple(self.losses),
            traces=tuple(self.traces),
            learning=learning,
            metric=metric,
            diverged=not_finite(self.losses),
            changes=tuple(self.setup.changes),
            seconds=0.0,
            ends=self.examiner.ends(self.traces[-1]),
            optimizer=self.settings,
        )

    def close(self) -> None:
        for source in self._streams:
            source.close()  # type: ignore[attr-defined]


def usual_steps(trace: Trace) -> int:
    """How many steps are looked at, where nobody says."""
    return max(STEPS, math.ceil(ENOUGH_SAMPLES / trace.predictions))


def not_finite(losses: Sequence[float]) -> int | None:
    """The first step at which the loss was not."""
    return next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)


def begun_alike(parameters: Mapping[str, nn.Parameter]) -> frozenset[str]:
    """The names of those whose units are all alike."""
    return frozenset(name for name, p in parameters.items() if p.dim() > 1 and rows_alike(p))


def with_steps(
    trace: Trace,
    parameters: Mapping[str, nn.Parameter],
    meter: StepMeter | None,
    held: Set[int],
    began_alike: Set[str],
    scale: float = 1.0,
) -> Trace:
    """The trace with what the step after it did to each parameter.

    meter: made of these parameters before the step; None where it could not be. held: ids of those that the optimizer
    has. began_alike: as `begun_alike` found them before the first step. scale: what mixed precision has multiplied the
    gradients by.
    """
    numbers: dict[int, list[float]] = {}
    if meter is not None:
        (numbers,) = fetch(meter.measured())
    moves = {i: move(row) for i, row in numbers.items()}
    if scale != 1.0:
        moves = {i: m._replace(gradient=m.gradient / scale) for i, m in moves.items()}
    matrices = {op.parameter for op in trace.operations if op.kind == "weights" and "embedding" not in op.name}
    steps = (
        _parameter_step(p, name, moves.get(i), name in matrices, id(p) in held, name in began_alike)
        for i, (name, p) in enumerate(parameters.items())
    )
    return replace(trace, parameters=tuple(steps))


def _parameter_step(
    p: nn.Parameter, name: str, moved: Move | None, matrix: bool, held: bool, began_alike: bool
) -> ParameterStep:
    """What a trace keeps of `p` after a step. moved: None for a parameter without a gradient. matrix: its rows are
    units. held: by the optimizer."""
    return ParameterStep(
        name=name,
        shape=tuple(p.shape),
        norm=moved.weight if moved else 0.0,
        gradient=moved.gradient if moved else None,
        step=moved.step if moved else 0.0,
        resolution=_resolution(p.dtype),
        symmetric=matrix and moved is not None and moved.perhaps_alike and rows_alike(p) and rows_alike(p.grad),
        trainable=p.requires_grad,
        held=held,
        began_alike=matrix and began_alike,
    )


def settings(optimizer: torch.optim.Optimizer) -> Optimizer:
    """What is set on it, as numbers."""

    def largest(name: str) -> float | None:
        values = (group.get(name) for group in optimizer.param_groups)
        return max((float(v) for v in values if isinstance(v, int | float | Tensor)), default=None)

    return Optimizer(type(optimizer).__name__, largest("lr"), largest("weight_decay"), largest("eps"))


@functools.cache
def _resolution(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps if dtype.is_floating_point or dtype.is_complex else 0.0


def _clear(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def on_cpu(device: str | torch.device | None) -> bool:
    return device is None or torch.device(device).type == "cpu"


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
