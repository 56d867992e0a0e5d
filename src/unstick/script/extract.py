"""A case made of what was recorded of a script: its model as it was before the first step, the batches that it read,
and its loss, to be evaluated and experimented on while the script's own objects stay as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..batches import tensors
from ..case import Case
from ..setup import Setup
from .tape import Leaf, Made, Own, Program


@dataclass(frozen=True)
class Recorded:
    """One training step: what it computed, from what. step: optimizer steps before it. loss: as the script had it.
    draws: the random state in which it began, as far as that is known."""

    step: int
    program: Program
    leaves: tuple[Tensor, ...]
    loss: float
    draws: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Cut:
    """Where a program falls apart into the model and the loss, `loss(outputs, target)`.

    step: the first of the loss. outputs: what the model hands over. target: the leaf that only the loss reads, and that
    has as many samples as the inputs, where there are several such leaves: the others (class weights, say) are as they
    were in one step. inputs: the leaves that the model reads.
    """

    step: int
    outputs: tuple[Made, ...]
    target: int
    inputs: tuple[int, ...]

    @classmethod
    def of(cls, program: Program, leaves: Sequence[Tensor]) -> Cut | None:
        """None where the loss is the model's own, or reads more than what the model's last call gave."""
        runs = [n for n, step in enumerate(program.steps) if step.of_model]
        if not runs or program.loss.step <= runs[-1]:
            return None
        after = runs[-1] + 1
        read = [s for step in program.steps[after:] for s in step.sources]
        handed = dict.fromkeys(s for s in read if isinstance(s, Made) and s.step < after)
        if not handed or any(made.step != runs[-1] for made in handed):
            return None
        if program.differentiates or any(isinstance(s, Own) for s in read):  # a penalty on gradients, or on weights
            return None
        inputs = _leaves(program, 0, after)
        read_later = [i for i in _leaves(program, after, None) if leaves[i].dim()]
        targets = [i for i in read_later if i not in inputs]
        if len(targets) > 1:
            samples = {len(leaves[i]) for i in inputs if leaves[i].dim()}
            targets = [i for i in targets if len(leaves[i]) in samples]
            if len(targets) != 1:
                return None
        target = next(iter(targets or read_later), None)
        return None if target is None else cls(after, tuple(handed), target, inputs)


def _leaves(program: Program, start: int, stop: int | None) -> tuple[int, ...]:
    """The leaves that some of the steps read, each once, in the order in which they are read."""
    return tuple(
        dict.fromkeys(s.place for step in program.steps[start:stop] for s in step.sources if isinstance(s, Leaf))
    )


@dataclass(frozen=True)
class Extracted(Case):
    """A case whose model is run as the script ran it, by the program of a `recorded` step. original: the model, by
    which it is told from others that are put in its place. modes: of its modules, whether each was in training."""

    recorded: Recorded | None = None
    cut: Cut | None = None
    original: nn.Module | None = None
    modes: tuple[bool, ...] = ()

    def fresh(self, seed: int, device: str | torch.device | None = None) -> Setup:
        setup = super().fresh(seed, device)
        if self.model is not self.original:  # an experiment has put another one in its place
            return setup
        assert self.recorded is not None
        for module, training in zip(setup.model.modules(), self.modes, strict=False):
            module.training = training
        return dataclasses.replace(setup, **replaying(self.recorded, self.cut))


def replaying(recorded: Recorded, cut: Cut | None) -> dict[str, Any]:
    """`loss`, `predict` and `criterion` of a setup."""
    if cut is None:
        return {"loss": partial(own_loss, recorded), "predict": None, "criterion": None}
    criterion, predict = partial(_criterion, recorded, cut), partial(_predict, recorded, cut)
    return {"loss": lambda model, batch: criterion(*predict(model, batch)), "predict": predict, "criterion": criterion}


def _predict(recorded: Recorded, cut: Cut, model: nn.Module, batch: Any) -> tuple[Any, Any]:
    *inputs, target = batch
    leaves = list(recorded.leaves)
    for place, value in zip(cut.inputs, inputs, strict=True):
        leaves[place] = value
    made = recorded.program.run(model, leaves, stop=cut.step)
    outputs = tuple(made[m] for m in cut.outputs)
    return (outputs[0] if len(outputs) == 1 else outputs), target


def _criterion(recorded: Recorded, cut: Cut, outputs: Any, target: Any) -> Tensor:
    leaves = list(recorded.leaves)
    leaves[cut.target] = target
    given = dict(zip(cut.outputs, (outputs,) if isinstance(outputs, Tensor) else outputs, strict=True))
    return recorded.program.run(None, leaves, given, start=cut.step)[recorded.program.loss]


def own_loss(recorded: Recorded, model: nn.Module, batch: Any) -> Tensor:
    return recorded.program.loss_of(model, list(batch.values()))


def batch_of(recorded: Recorded, cut: Cut | None) -> Any:
    """(inputs ..., target), or where the loss is the model's own, a dict with the names of the model's arguments."""
    if cut is not None:
        return (*(recorded.leaves[i] for i in cut.inputs), recorded.leaves[cut.target])
    names = _names(recorded.program)
    return {names.get(i, f"leaf{i}"): leaf for i, leaf in enumerate(recorded.leaves)}


def _names(program: Program) -> dict[int, str]:
    """The keywords under which leaves are given to the model."""
    names: dict[int, str] = {}
    for step in program.steps:
        if step.of_model:
            args, kwargs = step.arguments
            place = len(tensors(args))
            for key, value in kwargs.items():
                for source in step.sources[place : (place := place + len(tensors(value)))]:
                    if isinstance(source, Leaf) and key not in names.values():
                        names.setdefault(source.place, key)
    return names
