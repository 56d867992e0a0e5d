"""Puts a remedy into a script that is running: after a first step, which shows what the network is, and is taken back.

The unchanged network has its first step taken back, too, so that all trials of one seed see the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from ..errors import NotApplicable
from ..observe import ANATOMY_BATCHES, EVALUATION_SAMPLES, REMEDY_SEED, settings
from ..remedies.base import Remedy
from ..remedies.rewire import RECOMPUTED
from ..setup import Anatomy, Setup
from ..state import preserved, seed_everything
from ..trace.source import describe
from .extract import Cut, batch_of, replaying
from .keras import KerasOptimizer
from .remade import remade
from .roots import unwrapped
from .strand import Strand
from .twin import State, load, snapshot


class Change:
    """One remedy, or none, for one script. seed: of what the remedy draws.

    changes: what it did, in words, once it is made.
    """

    def __init__(self, remedy: Remedy | None, seed: int) -> None:
        self.remedy, self._seed = remedy, seed
        self.changes: tuple[str, ...] = ()
        self.held: list[Held] = []
        self.made = False
        self._anatomy: Anatomy | None = None
        self._before: tuple[State, Any] | None = None
        self._driver: Driver | None = None

    def remember(self, strand: Strand) -> None:
        """What is to be as it was, once the first steps have been looked at. Before the first of them."""
        own = strand.optimizer
        self._before = snapshot(strand.model), own.kept() if isinstance(own, KerasOptimizer) else _state_of(own)

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
        if isinstance(strand.optimizer, KerasOptimizer):
            strand.optimizer.restore(of_optimizer)
        else:
            strand.optimizer.state.clear()
            strand.optimizer.state.update(of_optimizer)
        for p in strand.model.parameters():
            p.grad = None
        self.made = True
        if self.remedy is not None:
            self._apply(strand)
        strand.restart()

    def _apply(self, strand: Strand) -> None:
        if not strand.traces:
            raise NotApplicable("no step of the unchanged network could be traced")
        recorded = list(strand.tapes) if strand.twin.sound else []
        cut = Cut.of(recorded[0].program, recorded[0].leaves) if recorded else None
        batches = tuple(batch_of(r, cut) for r in recorded) or (None,)
        self._anatomy = Anatomy(strand.traces[0], batches)
        parts = replaying(recorded[0], cut) if recorded else {"loss": partial(_unknown, strand.twin.fault)}
        if strand.twin.initial is not None:  # what cannot be put into a copy is not put into the script's own
            strand.twin.put, strand.twin.parts = self.put, parts
            strand.twin.fresh()
        setup = Setup(model=strand.model, make_optimizer=partial(again, strand.optimizer), **parts)
        with preserved():
            self.put(setup)
            made = setup.make_optimizer(list(strand.model.parameters()))
        strand.factors = adopt(strand.optimizer, made)
        strand.settings = replace(settings(made), source=strand.source)
        self.changes = tuple(setup.changes)
        if setup.contexts:
            self.held = [Held(context) for context in setup.contexts]
            self._driver = Driver(strand.model, self.held)

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


def _unknown(why: str | None, model: nn.Module, batch: Any) -> Tensor:
    raise NotApplicable(f"it needs the data, and {why or 'no step could be recorded'}")


def again(live: Any, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimizer like the script's, group by group; what is new is added to the first group."""
    if isinstance(live, KerasOptimizer):
        return live.like(parameters, live.param_groups[0]["lr"])
    known = {id(p) for group in live.param_groups for p in group["params"]}
    groups = [dict(group) for group in live.param_groups]
    groups[0]["params"] = [*groups[0]["params"], *(p for p in parameters if id(p) not in known and p.requires_grad)]
    try:
        return remade(live, groups, {})
    except TypeError as error:
        raise NotApplicable(f"another {type(live).__name__} cannot be made: {error}") from error


def adopt(live: Any, made: torch.optim.Optimizer) -> list[float]:
    """Make the script's optimizer one like `made`, in place, since the script and its scheduler hold on to it.

    Learning rates stay the scheduler's: what `made` has is applied as a factor, at each step. Returns the factors.
    """
    if isinstance(live, KerasOptimizer):
        return live.adopt(made)
    known = {id(p) for group in live.param_groups for p in group["params"]}
    live.param_groups[0]["params"].extend(
        p for group in made.param_groups for p in group["params"] if id(p) not in known and p.requires_grad
    )
    same = len(made.param_groups) == len(live.param_groups)
    others = made.param_groups if same else [made.param_groups[0]] * len(live.param_groups)
    factors = []
    for group, other in zip(live.param_groups, others, strict=True):
        factors.append(float(other["lr"]) / float(group["lr"]) if "lr" in other and group.get("lr") else 1.0)
        group.update({k: v for k, v in other.items() if k not in ("params", "lr", "initial_lr")})
    if type(made) is not type(live):
        _become(live, made)
    live._optimizer_step_pre_hooks.update(made._optimizer_step_pre_hooks)
    if any(factor != 1.0 for factor in factors):
        _scaled_steps(live, factors)
    return factors


def _become(live: Any, made: torch.optim.Optimizer) -> None:
    tracked = vars(live).pop("step", None)  # a scheduler's, which counts steps and calls the old class
    live.__class__ = type(made)
    live.defaults = made.defaults
    live.state.clear()
    for name, value in vars(made).items():
        vars(live).setdefault(name, value)
    if tracked is not None:
        step = live.step

        def counted(*args: Any, **kwargs: Any) -> Any:
            live._opt_called = True
            return step(*args, **kwargs)

        counted._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
        live.step = counted


def _scaled_steps(live: Any, factors: list[float]) -> None:
    rates: list[Any] = []

    def scale(*_: Any) -> None:
        rates[:] = [group["lr"] for group in live.param_groups]
        for group, factor in zip(live.param_groups, factors, strict=False):
            group["lr"] = group["lr"] * factor

    def restore(*_: Any) -> None:
        for group, rate in zip(live.param_groups, rates, strict=False):
            group["lr"] = rate

    live.register_step_pre_hook(scale)
    live.register_step_post_hook(restore)


def _state_of(optimizer: Any) -> dict[Any, Any]:
    return {
        p: {k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()}
        for p, state in optimizer.state.items()
    }


class Held(TorchFunctionMode):
    """What a remedy puts around a forward pass, on the stack all the time, and active while it is open."""

    def __init__(self, context: Any) -> None:
        super().__init__()
        self.context = context
        self.open = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if self.open:
            return self.context.__torch_function__(func, types, args, kwargs)
        return func(*args, **(kwargs or {}))


class Driver:
    """Opens what is held where a pass begins, and shuts it where it ends: with the outermost module where there are no
    gradients, and otherwise with the backward pass, since the script may call activations itself in between."""

    def __init__(self, model: nn.Module, held: list[Held]) -> None:
        self._held, self._whole = held, model
        self._depth = 0
        self._training = False
        self._parts = {id(m) for m in model.modules()}
        self._stack = ExitStack()
        # See `Rewire.__enter__`: with checkpointing, gradients would be those of another network.
        self._stack.enter_context(disable_saved_tensors_hooks(RECOMPUTED))
        self._stack.callback(register_module_forward_pre_hook(self._enter).remove)
        self._stack.callback(register_module_forward_hook(self._leave, always_call=True).remove)

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._depth += 1
        if self._depth > 1 or id(unwrapped(module)) not in self._parts:
            return
        if not self._training or unwrapped(module) is self._whole:
            for held in self._held:
                held.context()  # a pass begins
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
            held.context.forget()
