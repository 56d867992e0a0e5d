"""What is tried on copies when a network does not learn, or next to nothing, so that a cause is told from its symptoms
by intervention.

To add an experiment: a function here, and a line in `EXPERIMENTS`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from .batches import joined, split, tensors
from .case import Case
from .ends import ONTO
from .observation import ENOUGH_SAMPLES, Experiment, Observation, Progress
from .observe import observe
from .remedies import parse
from .rules.gradient import explodes, vanishes
from .rules.measures import FAR_BEHIND, failed, fitting_init, gained, lags, main_activation, weak
from .rules.reach import OUT_OF_REACH, reach
from .state import preserved
from .trace.attribution import attenuation

MEMORISING = 200  # steps on one batch
COMPARING = 100  # steps at each learning rate, at the least
SAMPLES_TOGETHER = 32
"""In a batch for a reference model, or to be learned by heart, at the least. A single sample has no constant output to
beat, and the reference's learning rate is none for it."""
FACTORS = (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0)
HIDDEN = 64  # units of the reference network
SAMPLES = 4  # batches that its inputs are scaled by

Last = Callable[[Tensor, int], Tensor] | None
Numbers = dict[str, float | int | bool | None]
Shown = tuple[str, Numbers]


@dataclass(frozen=True)
class Lab:
    """The case, what was seen of it, and a way to run it once more with something changed."""

    case: Case
    seen: Observation
    seed: int
    device: str | None
    deadline: float

    def run(self, remedy: str | None = None, *, steps: int, **changed: Any) -> Observation:
        """changed: fields of the case. Ends at the deadline."""
        return observe(
            replace(self.case, **changed),
            remedy=None if remedy is None else parse(remedy),
            steps=steps,
            seed=self.seed,
            budget=max(0.0, self.deadline - time.perf_counter()),
            device=self.device,
        )

    def attempt(self, remedy: str, *, steps: int) -> Observation | None:
        """None where the network, or its optimizer, cannot run with this change: half precision cannot hold some rates,
        for instance."""
        try:
            return self.run(remedy, steps=steps)
        except Exception:
            return None

    @property
    def together(self) -> int:
        """How many of the case's batches make one that is large enough."""
        ends = self.seen.ends
        return math.ceil(SAMPLES_TOGETHER / ends.outputs.shape[0]) if ends else 1

    def larger(self, together: int) -> Callable[[], Iterator[Any]]:
        """A source of batches, each of so many of the case's own."""

        def draw() -> Iterator[Any]:
            while several := list(islice(source, together)):
                yield joined(several)

        source = self.case.stream(self.seed, self.device)
        return draw

    def batches(self, count: int) -> list[Any]:
        source = self.case.stream(self.seed, self.device)
        try:
            with preserved():
                return list(islice(source, count))
        finally:
            source.close()  # type: ignore[attr-defined]


def one_batch(lab: Lab) -> Shown:
    """Can it learn a single batch by heart?"""
    batches = lab.batches(lab.together)
    seen = lab.run(steps=MEMORISING, data=batches if len(batches) == 1 else [joined(batches)]).learning
    fell = f"in {seen.steps} steps its loss went from {seen.initial_loss:.3g} to {seen.final_loss:.3g}"
    able = "It can" if seen.learns else "It cannot"
    return f"{able}: {fell}.", {"learns": seen.learns, "final_loss": seen.final_loss, "steps": seen.steps}


def reference(lab: Lab) -> Shown | None:
    """Do a linear model or a small plain network learn from the same data?"""
    ends = lab.seen.ends
    inputs = _features(lab)
    if ends is None or inputs is None or len(ends.outputs.shape) > 2:
        return None
    fresh = partial(_Reference, inputs, ends.outputs.shape[1:], _last_map(lab))
    together = lab.together
    steps = max(COMPARING, lab.seen.learning.steps // together)
    data = lab.case.data if together == 1 else lab.larger(together)
    for hidden in (0, HIDDEN):
        seen = lab.run(steps=steps, model=partial(fresh, hidden), data=data, optimizer=_adam).learning
        if seen.learns:
            break
    name = f"A network with {HIDDEN} hidden units" if hidden else "A linear model"
    verb = "does" if seen.learns else "does not, either"
    return f"{name} {verb}: its loss is {seen.final_loss:.3g} after {seen.steps} steps.", {
        "learns": seen.learns, "hidden": hidden, "final_loss": seen.final_loss, "constant_loss": seen.constant_loss,
        "same_batches": together == 1 and steps == lab.seen.learning.steps,
    }  # fmt: skip


def rates(lab: Lab) -> Shown | None:
    """Does it learn at another learning rate?"""
    if lab.seen.optimizer is None or lab.seen.optimizer.rate is None or vanishes(lab.seen) or explodes(lab.seen):
        return None
    steps = max(COMPARING, math.ceil(ENOUGH_SAMPLES / lab.seen.traces[0].predictions))
    losses: Numbers = {}
    learned = []
    for factor in FACTORS:
        seen = lab.attempt(f"lr(x{factor:g})", steps=steps)
        losses[f"x{factor:g}"] = seen.learning.final_loss if seen else None
        if seen and seen.learning.learns and _far_better(seen, lab.seen):
            learned.append((seen.learning.final_loss, factor))
    best = min(learned)[1] if learned else None
    answer = f"It does at {best:g} times the rate" if best else "At none from a thousandth to a thousand times its own"
    return f"{answer}.", {"best": best, **losses}


def causes(lab: Lab) -> Shown | None:
    """Is it the activations or the weights, each changed without the other?"""
    trace = lab.seen.traces[0]
    activation = main_activation(trace)
    if activation is None or not (vanishes(lab.seen) or explodes(lab.seen)):
        return None
    other = "tanh" if activation == "relu" else "relu"
    changes = {"activation": other, "weights": fitting_init(trace)}
    lost = {part: _decades(lab.run(remedy, steps=1)) for part, remedy in changes.items()}
    before = _decades(lab.seen)
    told = ", ".join(f"{_shown(lost[part])} with {remedy} alone" for part, remedy in changes.items())
    return f"The gradient loses {_shown(before)} decades as it is, {told}.", {"before": before, **lost}


def training_mode(lab: Lab) -> Shown | None:
    """Does it learn in training mode?"""
    loop = lab.seen.loop
    if loop is None or not loop.resting:
        return None
    seen = lab.run(steps=lab.seen.learning.steps, modes=()).learning
    verb = "does" if seen.learns else "does not, either"
    return f"It {verb}: its loss is {seen.final_loss:.3g} after {seen.steps} steps.", {
        "learns": seen.learns, "final_loss": seen.final_loss,
    }  # fmt: skip


EXPERIMENTS: dict[str, Callable[[Lab], Shown | None]] = {
    "reference": reference,
    "training-mode": training_mode,
    "one-batch": one_batch,
    "causes": causes,
    "rates": rates,
}


def examined(
    case: Case, seen: Observation, *, device: str | None, deadline: float, progress: Progress | None
) -> Observation:
    """`seen`, with all experiments that apply and fit in the time, where the network fails; where it learns only a
    little, a plain model is trained beside it first, and the rest is tried if that is far ahead. The user's objects and
    the global state stay as they were."""
    if not failed(seen) and not weak(seen):
        return seen
    for number, name in enumerate(EXPERIMENTS):
        started = time.perf_counter()
        if started > deadline or not (failed(seen) or number == 0 or lags(seen)):
            break
        if progress is not None:
            progress("finding the cause", number, len(EXPERIMENTS))
        made = _made(name, Lab(case, seen, seen.seed, device, deadline), started)
        seen = replace(seen, experiments=(*seen.experiments, *made))
    if progress is not None:
        progress("finding the cause", len(EXPERIMENTS), len(EXPERIMENTS))
    return seen


def _made(name: str, lab: Lab, started: float) -> tuple[Experiment, ...]:
    """One experiment, if it applies."""
    ask = EXPERIMENTS[name]
    try:
        shown = ask(lab)
    except Exception:  # a change that this network does not allow; each kind of network says so in its own way
        return ()
    if shown is None:
        return ()
    question = (ask.__doc__ or "").strip()
    return (Experiment(name, question, *shown, seconds=time.perf_counter() - started),)


def _far_better(seen: Observation, before: Observation) -> bool:
    """Than a network that learns a little; than one that learns nothing, anything is."""
    now, then = gained(seen), gained(before)
    return not before.learning.learns or (now is not None and then is not None and now >= FAR_BEHIND * then)


def _decades(seen: Observation) -> float | None:
    lost = attenuation(seen.traces[0])
    return lost.decades if lost else None


def _shown(decades: float | None) -> str:
    return "an unknown number of" if decades is None else f"{decades:.1f}"


def _adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-2)


def _features(lab: Lab) -> Tensor | None:
    """Some of the inputs as rows; None where they are not one tensor of numbers."""
    rows = []
    for batch in lab.batches(SAMPLES):
        args, kwargs, _ = split(batch)
        found = tensors((args, kwargs))
        if len(found) != 1 or not found[0].is_floating_point() or found[0].dim() < 2:
            return None
        rows.append(found[0].flatten(1).float())
    return torch.cat(rows)


def _last_map(lab: Lab) -> Last:
    """What the reference ends in: the network's own last activation, where its outputs can be right."""
    ends, state = lab.seen.ends, reach(lab.seen)
    if ends is None or ends.activation not in ONTO or ends.within is None:
        return None
    return None if state is not None and state.share >= OUT_OF_REACH else ONTO[ends.activation]


class _Reference(nn.Module):
    """Standardised inputs, then a linear map, or a hidden layer of ReLU with weights for it before."""

    def __init__(self, inputs: Tensor, shape: Sequence[int], last: Last, hidden: int) -> None:
        super().__init__()
        deviation = inputs.std(0, correction=0)
        self.mean = nn.Parameter(inputs.mean(0), requires_grad=False)
        self.scale = nn.Parameter(torch.where(deviation > 0, deviation, 1.0).reciprocal(), requires_grad=False)
        first = [nn.Linear(inputs.shape[1], hidden), nn.ReLU()] if hidden else []
        self.layers = nn.Sequential(*first, nn.Linear(hidden or inputs.shape[1], math.prod(shape)))
        self.shape, self.last = tuple(shape), last

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        x = tensors((args, kwargs))[0].flatten(1).float()
        out: Tensor = self.layers((x - self.mean) * self.scale).reshape(len(x), *self.shape)
        return out if self.last is None else self.last(out, out.dim() - 1)
