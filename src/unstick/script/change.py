"""Puts a remedy into a script that is running: after a first step, which shows what the network is, and is taken back.

The unchanged network has its first step taken back, too, so that all trials of one seed see the same batches.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointFunction

from ..errors import NotApplicable
from ..observe import ANATOMY_BATCHES, EVALUATION_SAMPLES, REMEDY_SEED
from ..remedies.base import Remedy
from ..remedies.rewire import RECOMPUTED
from ..setup import Anatomy, Setup
from ..state import preserved, seed_everything
from ..trace.source import describe
from .extract import Cut, Recorded, batch_of, replaying
from .keras import KerasOptimizer
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
            self.held = [Held(context) for context in setup.contexts]
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


def again(live: Any, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimizer like the script's, group by group, with the rates that its schedule starts from; what is new is
    added to the first group."""
    if isinstance(live, KerasOptimizer):
        return live.like(parameters, live.param_groups[0]["lr"])
    known = {id(p) for group in live.param_groups for p in group["params"]}
    groups = [dict(group) for group in live.param_groups]
    groups[0]["params"] = [*groups[0]["params"], *(p for p in parameters if id(p) not in known and p.requires_grad)]
    for group in groups:
        if (rate := _own_rate(group)) is not None:
            group["lr"] = rate
    return like(live, groups, live.defaults)


def like(live: Any, parameters: Any, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Another optimizer of the same class. settings: of which it gets what its constructor takes. Raises
    NotApplicable."""
    wanted = inspect.signature(type(live)).parameters
    given = {name: value for name, value in settings.items() if name in wanted}
    try:
        made: torch.optim.Optimizer = type(live)(parameters, **given)
    except (TypeError, ValueError) as error:
        raise NotApplicable(f"another {type(live).__name__} cannot be made: {error}") from error
    return made


def _own_rate(group: Mapping[str, Any]) -> Any:
    """The learning rate that a group was given, whatever its schedule has made of it by now: of one that rises and
    falls, the peak."""
    return group.get("max_lr", group.get("initial_lr", group.get("lr")))


def adopt(live: Any, made: torch.optim.Optimizer) -> list[float]:
    """Make the script's optimizer one like `made`, in place, since the script and its scheduler hold on to it.

    Learning rates stay the scheduler's: what `made` has is applied as a factor, at each step. Returns the factors.
    Raises NotApplicable where a rate is zero, so that there is no factor.
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
        factors.append(_factor(group, other))
        group.update({k: v for k, v in other.items() if k not in ("params", "lr", "initial_lr")})
    if type(made) is not type(live):
        _become(live, made)
    if isinstance(live, torch.optim.LBFGS):
        live._numel_cache = None  # how many numbers there are to be optimised
    for p, state in made.state.items():  # some make it in the beginning
        live.state.setdefault(p, state)
    if made._optimizer_step_pre_hooks:
        live.register_step_pre_hook(partial(_with_gradients, tuple(made._optimizer_step_pre_hooks.values())))
    if any(factor != 1.0 for factor in factors):
        _scaled_steps(live, factors)
    return factors


def _factor(group: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    if "lr" not in other or "lr" not in group:
        return 1.0
    mine, wanted = float(_own_rate(group)), float(other["lr"])
    if mine == wanted:
        return 1.0
    if mine == 0.0:
        raise NotApplicable("its learning rate is zero, and no multiple of that is another")
    return wanted / mine


def _with_gradients(hooks: Sequence[Callable[..., Any]], live: Any, args: Any, kwargs: Any) -> Any:
    """Call these hooks where the gradients are there: before the step, or whenever its closure has computed them."""
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if closure is None:
        for hook in hooks:
            hook(live, args, kwargs)
        return None

    def closed() -> Any:
        loss = closure()
        for hook in hooks:
            hook(live, args, kwargs)
        return loss

    if len(args) > 1:
        return (args[0], closed, *args[2:]), kwargs
    return args, {**kwargs, "closure": closed}


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
