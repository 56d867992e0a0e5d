"""Readings that several rules share, each taken from an observation. No verdicts here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

from ..observation import ENOUGH_SAMPLES, SMALLEST_EFFECT, Observation
from ..trace.attribution import attenuation
from ..trace.types import Attenuation, Kind, Operation, ParameterStep, Trace
from .base import Severity

ENOUGH_STEPS = 100
"""Fewer steps cannot show that a network does not learn: healthy ones may take that long to leave the plateau that
every training starts from. What is wrong at once, such as weights that cannot move, is found in fewer."""

FAR_BEHIND = 4.0
"""A network lags where a linear model gains four times as much in as many steps on the same batches. Batches, seeds and
the optimizer's rate change what is gained by less than that; a fault that leaves a network alive costs more."""

SEVERAL = 6
"""Fewer samples say nothing of how samples differ. A unit that is off for half of them is off for all of six once in 64
times, and the standard deviation of six normal numbers is a hundredth of the true one less than once in a billion."""

HOPELESS = 1e-7
"""At a relative step of 1e-7 a weight needs a hundred thousand steps to change by 1 %, when all point the same way.

Steps are measured in the stored weights, so what rounding swallows, in whichever precision, is not in them."""

BENT = frozenset({"gelu", "silu", "mish", "softplus", "hardswish", "logsigmoid"})
"""Bent at zero, so that only small signals pass them in proportion."""

DEEP = 70
"""Layers. Customary learning rates change a weight matrix by about 1 % a step (Adam's default: 0.001 times the root of
the width, over the gain); then a step changes the product of 70 matrices by about its own size."""

SHUT = 0.9  # of one layer's entries that are flat, or of its units that are dead
FLAT_TYPICAL = 0.5  # of the median layer's entries

TWO_SIDED = frozenset({"sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid", "relu6"})
ONE_SIDED = frozenset({"relu", "relu6", "gelu", "silu", "mish", "elu", "celu", "selu", "softplus", "hardswish"})
EXPONENTIAL = frozenset({"exp", "exp2", "expm1", "sinh", "cosh"})


def failed(seen: Observation) -> bool:
    """The run was long enough to show learning, or broke down, and there was none."""
    return seen.learning.learns is False and (long_enough(seen) or seen.diverged is not None)


def ruined(seen: Observation) -> bool:
    """The run made things worse, beyond anything that chance or a slow start does."""
    learning = seen.learning
    reference = learning.initial_loss if learning.constant_loss is None else learning.constant_loss
    return learning.learns is not None and learning.final_loss - learning.initial_loss > 10 * abs(reference)


def worse_than_constant(seen: Observation) -> bool:
    """It failed, and for certain is not even as good as an output that ignores its input."""
    return failed(seen) and seen.learning.constant_loss is not None and seen.learning.below[1] < 0


def left_constant(seen: Observation) -> int | None:
    """The first step from which on five losses are on average 1 % below that of a constant output."""
    constant = seen.learning.constant_loss
    if constant is None:
        return None
    windows = zip(*(seen.losses[i:] for i in range(5)), strict=False)
    level = constant - SMALLEST_EFFECT * abs(constant)
    return next((step for step, losses in enumerate(windows) if sum(losses) / 5 < level), None)


def gained(seen: Observation) -> float | None:
    """By how much the loss is below that of a constant output; None where there is no such."""
    constant = seen.learning.constant_loss
    return None if constant is None else constant - seen.learning.final_loss


def weak(seen: Observation) -> bool:
    """It learns, but so little that a plain model may well be far ahead."""
    got, constant = gained(seen), seen.learning.constant_loss
    if got is None or constant is None or not seen.learning.learns or not long_enough(seen):
        return False
    return FAR_BEHIND * got < constant


def lags(seen: Observation) -> bool:
    """It learns, and far less than a linear model that was trained beside it.

    One with hidden units says less: small or deep networks of a good kind start more slowly than one wide layer.
    """
    got, model = gained(seen), seen.tried("reference")
    if got is None or model is None or not weak(seen) or not model.numbers["same_batches"] or model.numbers["hidden"]:
        return False
    constant, final = model.numbers["constant_loss"], model.numbers["final_loss"]
    return constant is not None and final is not None and constant - final >= FAR_BEHIND * got


def trouble(seen: Observation) -> Severity | None:
    """How grave it is what explains this run: an error where the network failed, a warning where it lags."""
    if failed(seen):
        return Severity.ERROR
    return Severity.WARNING if lags(seen) else None


def grade(seen: Observation) -> Severity | None:
    """The same, and a note where it learns all the same; None where it is too early to say."""
    return trouble(seen) or (Severity.INFO if seen.learning.learns else None)


def optimizer_line(seen: Observation) -> str | None:
    """The line of a script that made the optimizer; None for a case."""
    return seen.optimizer.source if seen.optimizer else None


def long_enough(seen: Observation) -> bool:
    """Whether the run could have shown learning."""
    steps = seen.learning.steps
    return steps >= ENOUGH_STEPS and steps * seen.traces[-1].predictions >= ENOUGH_SAMPLES


@dataclass(frozen=True, slots=True)
class Gradient:
    """How the gradient fares on its way back: first, latest, and at the trace from which on it stayed in trouble.

    onset: the first trace after which the attenuation had the sign of the latest, and at least the size asked for,
    at every trace; the latest where it has not that size.
    """

    first: Attenuation
    latest: Attenuation
    onset: Trace
    lost: Attenuation  # at the onset

    @property
    def culprit(self) -> Kind:
        """The kind of operation with the largest part in the loss at the onset, in its own direction.

        A normalisation undoes what the weights before it did to the scale, so only what is left of both counts.
        """
        sign = math.copysign(1.0, self.lost.decades)
        parts = {kind: sign * lost for kind, lost in self.lost.parts.items()}
        if parts["weights"] * parts["normalisation"] < 0:
            parts["weights"] = parts["normalisation"] = parts["weights"] + parts["normalisation"]
        return max(parts, key=lambda kind: parts[kind])


def gradient(seen: Observation, beyond: float) -> Gradient | None:
    """The gradient's fate over all traces; `beyond`: the size in decades from which on it counts as trouble."""
    series = [(t, a) for t in seen.traces if (a := attenuation(t)) is not None]
    if worse_than_constant(seen):  # growth may be over, and what it did not
        series = list(takewhile(lambda pair: pair[1].decades <= -beyond, series)) or series
    if not series:
        return None
    latest = series[-1][1]
    onset, lost = series[-1]
    for trace, a in reversed(series):
        if a.decades * latest.decades <= 0 or abs(a.decades) < beyond:
            break
        onset, lost = trace, a
    return Gradient(series[0][1], latest, onset, lost)


def frozen(trace: Trace) -> list[ParameterStep]:
    """Weight matrices that the forward pass reads and that are not trained (`requires_grad` is off)."""
    return [p for p in trace.parameters if not p.trainable and p.name in trace.used and len(p.shape) > 1]


def weight_steps(trace: Trace) -> list[tuple[Operation, ParameterStep]]:
    """The weights of the operations on the trunk in forward order, each once, with the step that they were given.

    Without those that the optimizer was never given: that they stand still is no wonder.
    """
    steps = {p.name: p for p in trace.parameters if p.trainable and p.held}
    used: dict[str, Operation] = {}
    for op in trace.hidden:
        if op.kind == "weights" and op.parameter in steps:
            used.setdefault(op.parameter, op)
    return [(op, steps[name]) for name, op in used.items()]


def stuck(trace: Trace) -> list[tuple[Operation, ParameterStep]]:
    """Weighted operations on the trunk whose weights get a gradient, and from the optimizer a step as good as none."""
    return [(op, p) for op, p in weight_steps(trace) if p.gradient is not None and p.relative < HOPELESS]


def activations(trace: Trace, names: Iterable[str]) -> list[Operation]:
    """Hidden activations on the trunk with one of these names."""
    wanted = frozenset(names)
    return [op for op in trace.hidden if op.kind == "activation" and op.name in wanted]


def main_activation(trace: Trace) -> str | None:
    """The activation that occurs most often on the trunk."""
    names = [op.name for op in trace.hidden if op.kind == "activation"]
    return max(names, key=names.count) if names else None


def fitting_init(trace: Trace) -> str:
    """The textbook initialisation for the network's main activation (Glorot and Bengio 2010, He et al. 2015)."""
    return "init(he)" if main_activation(trace) in ONE_SIDED - {"selu"} | {"leaky_relu", "prelu"} else "init(xavier)"


def critical_start(trace: Trace) -> str:
    """Weights on the edge of chaos (Schoenholz et al. 2017); with the learning rate that these ask for (Bernstein et
    al. 2020) in deep networks, and where the start has to be small, so that usual steps are large beside it."""
    weights = sum(op.kind == "weights" for op in trace.hidden)
    careful = weights >= DEEP or main_activation(trace) in BENT
    return "init(critical)+lr(depth)" if careful else "init(critical)"


def flat(op: Operation) -> float:
    """The share of what enters a two-sided activation that lies in its flat ends."""
    return (op.forward.saturated or 0.0) if op.name in TWO_SIDED else 0.0


def off(op: Operation) -> float:
    """The share of the units of a one-sided activation that are off for every sample."""
    return (op.forward.dead or 0.0) if op.name in ONE_SIDED else 0.0


def saturated(trace: Trace) -> list[Operation]:
    """Two-sided activations on the trunk that are flat nearly everywhere, or many that are flat for the most part."""
    ops = [op for op in activations(trace, TWO_SIDED) if op.forward.saturated is not None]
    if not ops:
        return []
    usual = FLAT_TYPICAL if median(map(flat, ops)) >= FLAT_TYPICAL else SHUT
    return [op for op in ops if flat(op) >= usual]


def dead(trace: Trace) -> list[Operation]:
    """One-sided activations on the trunk nearly all of whose units are off for every sample."""
    return [op for op in activations(trace, ONE_SIDED) if off(op) >= SHUT]


def first_difference(trace: Trace) -> float | None:
    """Between-sample share of the signal where it enters the trunk."""
    return trace.hidden[0].forward.between if trace.hidden else None


def span(operations: list[Operation]) -> str:
    """A run of operations in words: "in all 40 sigmoids, net.1 to net.79"."""
    if len(operations) == 1:
        return f"in {operations[0].label}"
    return f"in {len(operations)} operations, {operations[0].label} to {operations[-1].label}"


FAR_BELOW = 0.1
"""Adam divides by (size of the gradient + epsilon): at a tenth of epsilon a step is a tenth of what it would be."""


def entry(p: ParameterStep) -> float:
    """Root mean square of the entries of a parameter's gradient."""
    return (p.gradient or 0.0) / math.sqrt(max(1, math.prod(p.shape)))


def below_epsilon(seen: Observation, trace: Trace | None = None) -> list[ParameterStep]:
    """Weight matrices whose gradient is far below the optimizer's epsilon, and whose steps show it (at the last
    trace)."""
    settings = seen.optimizer
    if settings is None or not settings.epsilon or not settings.rate:
        return []
    epsilon, rate = settings.epsilon, settings.rate

    def swallowed(p: ParameterStep) -> bool:
        step = p.step / math.sqrt(max(1, math.prod(p.shape)))
        return 0.0 < entry(p) < FAR_BELOW * epsilon and step < FAR_BELOW * rate

    matrices = [p for p in (trace or seen.traces[-1]).parameters if p.trainable and p.held and len(p.shape) > 1]
    return [p for p in matrices if swallowed(p)]
