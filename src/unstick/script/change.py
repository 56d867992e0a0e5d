"""Puts a remedy into a script that is running: after a first step, which shows what the network is, and is taken back.

The unchanged network has its first step taken back, too, so that all trials of one seed see the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.checkpoint import CheckpointFunction

from ..errors import NotApplicable
from ..observe import ANATOMY_BATCHES, EVALUATION_SAMPLES, REMEDY_SEED
from ..remedies.base import Remedy
from ..remedies.rewire import RECOMPUTED
from ..setup import Anatomy, Setup
from ..state import preserved, seed_everything
from ..trace.source import describe
from .extract import Cut, Recorded, batch_of, replaying
from .gates import Gate
from .optimizers import adopt, again, kept, restore
from .roots import unwrapped
from .strand import Strand
from .twin import State, Twin, drawing, load, snapshot


class Change:
    """One remedy, or none, for one script. seed: of what the remedy draws.

    changes: what it did, in words, once it is made.
    """

    def __init__(self, remedy: Remedy | None, seed: int) -> None:
        self.remedy, self._seed = remedy, seed
        self.changes: tuple[str, ...] = ()
        self.held: list[Gate] = []
        self.made = False
        self._anatomy: Anatomy | None = None
        self._before: tuple[State, Any] | None = None
        self._driver: Driver | None = None

    def remember(self, strand: Strand) -> None:
        """What is to be as it was, once the first steps have been looked at. Before the first of them."""
        self._before = snapshot(strand.model), kept(strand.optimizer)

    def due(self, strand: Strand) -> bool:
        """Whether enough steps have been seen to know the network by."""
        if not strand.traces:
            return strand.count >= ANATOMY_BATCHES
        enough = math.ceil(EVALUATION_SAMPLES / strand.traces[0].predictions)
        return strand.count >= min(ANATOMY_BATCHES, enough)

    def make(self, strand: Strand) -> None:
        """Take back the steps that were made, and put the remedy in. Raises NotApplicable."""
        assert self._before is not None
        state, of_optimizer = self._before
        load(strand.model, state)
        restore(strand.optimizer, of_optimizer)
        for p in strand.model.parameters():
            p.grad = None
        self.made = True
        if self.remedy is not None:
            self._apply(strand)
        strand.restart()

    def _apply(self, strand: Strand) -> None:
        if not strand.traces:
            raise NotApplicable("no step of the unchanged network could be traced")
        taped = list(strand.tapes) if strand.twin.sound else []
        recorded = [r for r in taped if r.program.signature == taped[0].program.signature]
        cut = Cut.of(recorded[0].program, recorded[0].leaves) if recorded else None
        batches = tuple(batch_of(r, cut) for r in recorded) or (None,)
        self._anatomy = Anatomy(strand.traces[0], batches)
        parts = replaying(recorded[0], cut) if recorded else {"loss": partial(_unknown, strand.twin)}
        strand.twin.put, strand.twin.parts = self.put, parts
        if strand.twin.initial is not None:  # what cannot be put into a copy is not put into the script's own
            self._try_on_copy(strand.twin, recorded)
        setup = Setup(strand.model, make_optimizer=partial(again, strand.optimizer), **parts)
        hooks = _hooks_of(strand.model)
        with preserved():
            self.put(setup)
            made = setup.make_optimizer(list(strand.model.parameters()))
        whole = any(step.call == "" for r in recorded[:1] for step in r.program.steps)
        if _hooks_of(strand.model) != hooks and not whole:
            raise NotApplicable("it changes what goes into the model or comes out of it, and parts of it are run apart")
        strand.factors = adopt(strand.optimizer, made)
        self.changes = tuple(setup.changes)
        if setup.contexts:
            self.held = [Gate(context, shut=True) for context in setup.contexts]
            self._driver = Driver(strand.model, self.held)

    def _try_on_copy(self, twin: Twin, recorded: Sequence[Recorded]) -> None:
        """Raises NotApplicable where the changed network cannot be run."""
        copied = twin.fresh()
        for step in recorded[:1]:
            try:
                with drawing(step.draws), copied.active():
                    step.program.loss_of(copied.model, step.leaves)
            except NotApplicable:
                raise
            except Exception as error:
                raise NotApplicable(f"with this change it cannot be run: {describe(error)}") from error

    def put(self, setup: Setup) -> None:
        """The remedy, in the same way each time."""
        assert self.remedy is not None
        assert self._anatomy is not None
        with preserved():
            seed_everything(self._seed + REMEDY_SEED)
            try:
                self.remedy.apply(setup, self._anatomy)
            except NotApplicable:
                raise
            except Exception as error:
                raise NotApplicable(f"it cannot be put into this model: {describe(error)}") from error

    def before_backward(self) -> None:
        if self._driver is not None:
            self._driver.pass_ends()

    def close(self) -> None:
        """Nothing is changed any more."""
        if self._driver is not None:
            self._driver.close()


def _unknown(twin: Twin, model: nn.Module, batch: Any) -> NoReturn:
    raise NotApplicable(f"it needs the data, and {twin.fault or 'no step could be recorded'}")


def _hooks_of(model: nn.Module) -> int:
    return len(model._forward_pre_hooks) + len(model._forward_hooks)


class Driver:
    """Opens what is held where a pass begins, and shuts it where it ends: with the outermost module where there are no
    gradients, and otherwise with the backward pass, since the script may call activations itself in between."""

    def __init__(self, model: nn.Module, held: list[Gate]) -> None:
        self._held, self._whole = held, model
        self._depth = 0
        self._training = False
        self._parts = {id(m) for m in model.modules()}
        self._stack = ExitStack()
        # See `Rewire.__enter__`: with checkpointing, gradients would be those of another network. These are the ways
        # into both of its kinds, wherever the script has got it from.
        self._refuse(saved_tensors_hooks, "__enter__")
        self._refuse(CheckpointFunction, "forward")
        self._stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code would pass by what is held
        self._stack.callback(register_module_forward_pre_hook(self._enter).remove)
        self._stack.callback(register_module_forward_hook(self._leave, always_call=True).remove)

    def _refuse(self, owner: Any, name: str) -> None:
        original = vars(owner)[name]

        def refuse(*_: Any, **__: Any) -> NoReturn:
            raise NotApplicable(RECOMPUTED)

        setattr(owner, name, staticmethod(refuse) if isinstance(original, staticmethod) else refuse)
        self._stack.callback(setattr, owner, name, original)

    def close(self) -> None:
        self._shut()
        self._stack.close()

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._depth += 1
        if self._depth > 1 or id(unwrapped(module)) not in self._parts:
            return
        if not self._training or unwrapped(module) is self._whole:
            for held in self._held:
                held.listener()  # a pass begins
        self._training = self._training or torch.is_grad_enabled()
        for held in self._held:
            held.open = True

    def _leave(self, *_: Any) -> None:
        self._depth = max(0, self._depth - 1)
        if not self._depth and not self._training:
            self._shut()

    def pass_ends(self) -> None:
        self._training = False
        self._shut()

    def _shut(self) -> None:
        for held in self._held:
            held.open = False
            held.listener.forget()
