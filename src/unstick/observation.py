"""What a short training run showed: numbers only, frozen and picklable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .trace.types import Trace

Progress = Callable[[str, int, int], None]
"""Called as progress(description, done, total); the same description continues the same bar."""

LARGE_STEP = 0.1
"""A step that changes a weight matrix by a tenth of itself is outside of where the gradient describes the loss
(Bernstein et al. 2020 ask for less than the inverse of the depth)."""

SMALLEST_EFFECT = 0.01
"""A loss within 1 % of the constant predictor's has not left it. As a share of that loss it does not depend on the
number of classes or on the unit of the targets."""

ENOUGH_SAMPLES = 1000
"""Fewer samples cannot show that a network does not learn, in however many steps: below the critical batch size,
progress is made by the sample and not by the step (McCandlish et al. 2018; Shallue et al. 2019)."""

GROWTH = 3.0
"""A gradient that grows by more decades than this on its way back is suspected to explode; batch-normalised ReLU
networks grow by 1.21 a layer, which is 2.5 decades at 30 layers, and train."""


def doubtful(trace: Trace) -> bool:
    """Whether a step may not do what its gradient promises: it is large, or its gradient has grown on its way back.

    Only then is the loss of the same batch evaluated once more after the step, since that takes a third of a step.
    """
    return _grown(trace) or (trace.typical_step or 0.0) >= LARGE_STEP


def _grown(trace: Trace) -> bool:
    if not trace.path:
        return False
    first, last = (trace.operations[i].backward for i in (trace.path[0], trace.path[-1]))
    return first is not None and last is not None and first.norm >= 10**GROWTH * last.norm > 0


@dataclass(frozen=True, slots=True)
class Learning:
    """Whether the run learned anything.

    initial_loss, final_loss: mean loss over the same held evaluation batches before and after the run.
    constant_loss: mean loss of the best output that ignores its input, fitted to these batches; None where outputs
        and targets cannot be told apart (`step=` cases).
    below: 99 % confidence interval of (reference - final loss), paired by batch, where the reference is the constant
        predictor, or the network before the run where there is none.
    uses_input: False where shuffling the targets between samples makes the loss no worse; None where it cannot be
        tested.
    learns: the final loss is below the reference, significantly and by at least 1 %. Where there is no constant
        predictor and the batches name their targets, it has to use its input, too. None where its losses cannot
        tell, as those of two networks that are trained against each other.
    """

    learns: bool | None
    initial_loss: float
    final_loss: float
    constant_loss: float | None
    below: tuple[float, float]
    steps: int
    uses_input: bool | None

    @property
    def begun(self) -> bool:
        """It is better than the reference for certain, though by less than 1 %, and because of its input: some networks
        are slow to start."""
        return self.below[0] > 0 and self.uses_input is True


@dataclass(frozen=True, slots=True)
class Values:
    """What a tensor of outputs or targets holds, over the held batches.

    shape: in the first batch, samples first. low, high, mean, deviation: over all entries. zeros: share of entries that
    are zero. integer: class labels rather than numbers. between: standard deviation between samples, root mean square
    over the other axes. distributions: the axes along which entries are probabilities that sum to one, or the
    logarithms of such.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    mean: float
    deviation: float
    between: float
    zeros: float
    integer: bool
    distributions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of the loss: what the network puts out after the run, and what is asked of it.

    activation: the last operation of the model where nothing weighted comes after it ("softmax"), None where the
    outputs come straight from weights. losses: names of the operations outside of the model, which are the loss's.
    free, within: the loss of the best outputs, sample by sample, if they may be any numbers, and if they keep to what
    `activation` can give; None where they cannot be found.
    broadcast: output and target differ in shape, and the loss compares every output with the targets of all samples.
    """

    outputs: Values
    targets: Values
    activation: str | None
    losses: tuple[str, ...]
    free: float | None
    within: float | None
    broadcast: bool


@dataclass(frozen=True, slots=True)
class Optimizer:
    """What was set on the optimizer, the largest over its groups; None where it has no such setting.

    source: the line of a script that made it.
    """

    name: str
    rate: float | None
    weight_decay: float | None
    epsilon: float | None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """What only a script's own training loop shows.

    model, loss: the lines that made the outermost module, and that call `backward`. backwards: backward passes in one
    optimizer step, the median. uncleared: the first traced step that began with the gradients of the step before it
    still there, at the last as at all others that were looked at; None where they were cleared. training: whether the
    model was in training mode at each traced step. resting: modules that behave differently in training (dropout,
    batch normalisation) and were in evaluation mode in all of the last half of the steps, or more, as (path, class,
    line that made it). rates:
    the largest learning rate of each step. repeated: the model was given the very same numbers at every traced step.
    samples, available: in a batch, and in the loader or the tensor that it came from, as far as that is known.
    attached: the loss depends on some parameter of the model, at one traced step at least.
    """

    model: str | None
    loss: str | None
    backwards: float
    uncleared: int | None
    training: tuple[bool, ...]
    resting: tuple[tuple[str, str, str | None], ...]
    rates: tuple[float, ...]
    repeated: bool
    samples: int | None
    available: int | None
    attached: bool


@dataclass(frozen=True, slots=True)
class Experiment:
    """Something that was tried on a copy to tell causes apart.

    name: its id. question: what it asks. answer: what it showed, as a sentence. numbers: measured.
    """

    name: str
    question: str
    answer: str
    numbers: dict[str, float | int | bool | None]
    seconds: float


@dataclass(frozen=True, slots=True)
class Observation:
    """One training run of a case, or of a remedied case.

    target: name of the case. remedy: what was changed, None for the unchanged case. requested: the steps asked for;
    `learning.steps` were taken. losses: training loss of each step. traces: at steps 0, 1, 3, 10, 30 ... and the
    last. metric: the case's own, on the evaluation batches, higher is better. diverged: the first step at which the
    loss was not finite. changes: what the remedy did, in words. interrupted: the user ended it early. ends: None
    where outputs and targets cannot be told apart. experiments: what was tried because the network does not learn.
    loop: None for a case, whose training loop is ours.
    """

    target: str
    remedy: str | None
    seed: int
    requested: int
    losses: tuple[float, ...]
    traces: tuple[Trace, ...]
    learning: Learning
    metric: float | None
    diverged: int | None
    changes: tuple[str, ...]
    seconds: float
    interrupted: bool = False
    ends: Ends | None = None
    optimizer: Optimizer | None = None
    experiments: tuple[Experiment, ...] = ()
    loop: Loop | None = None

    def tried(self, name: str) -> Experiment | None:
        """The experiment of this name, if it was made."""
        return next((e for e in self.experiments if e.name == name), None)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """What no trace could see, each once."""
        return tuple(dict.fromkeys(u for trace in self.traces for u in trace.uncovered))
