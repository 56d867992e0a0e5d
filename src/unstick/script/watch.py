"""Watches a training script while it runs: hooks on, the script, hooks off.

What is hooked is torch's own: the steps of all optimizers, `backward`, the forward passes of all modules, and, at the
steps that are looked at closely, every call of a torch function. The script's objects are left as they are.
"""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader
from torch.utils.weak import WeakIdKeyDictionary

from ..errors import NotApplicable
from ..setup import held_by, parameters_of
from ..trace.source import caller, constructing, describe
from .change import Change
from .gates import Calls, push_below, remove, without_modes
from .keras import Keras
from .roots import alive, outermost, paths_of, together
from .strand import Strand
from .twin import Twin

ENDS = 3
"""So often a script is ended, which may train anew after it has caught the first (another fold), before it is left."""


class Enough(SystemExit):
    """All has been seen: ends the script as `sys.exit()` would, so that it closes what it has opened."""


@dataclass
class Watcher:
    """Sees a script train.

    steps: of each optimizer, None for as many as are usual. keep_going: do not end the script. change: a remedy to be
    put in. deadline: by `time.perf_counter`. on_step: called after each optimizer step with the number of steps. leave:
    called where the script goes on however often it is ended, to end it otherwise. busy: within a backward pass, or
    with copies, which are not the script's. fault: what went wrong in looking. stepped: how many steps there were, of
    all optimizers.
    """

    steps: int | None = None
    keep_going: bool = False
    deadline: float = float("inf")
    on_step: Callable[[int], None] = lambda _: None
    leave: Callable[[], None] = lambda: None

    change: Change | None = None

    strands: list[Strand] = field(default_factory=list)
    done: bool = False
    backwards: int = 0
    stepped: int = 0
    busy: bool = False
    fault: Exception | None = None

    def __post_init__(self) -> None:
        self.calls = Calls()
        self.twin: Twin | None = None
        self._pid = os.getpid()
        self._ends = 0
        self._eager = False
        self._lines: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()
        self._known: WeakSet[Any] = WeakSet()
        self._unbound: list[Any] = []
        self._binding = ExitStack()
        self._counting: ExitStack | None = None
        self._gates: list[TorchFunctionMode] = []
        self._scaled = WeakIdKeyDictionary()  # by mixed precision -> the loss, and what has scaled it
        self._stepping: Any = None
        self._loaders: dict[int | None, int] = {}
        self._hooks = ExitStack()
        self._keras = Keras(self)

    # -- hooks on, hooks off -----------------------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator[None]:
        try:
            with self._hooks:
                self._hook()
                yield
        finally:
            self.close()

    def _hook(self) -> None:
        self._hooks.enter_context(constructing(apart=True))
        self.replace(nn.Module, "__init__", self._module_made)
        self.replace(Optimizer, "__init__", self._made)
        self.replace(torch.autograd, "backward", self._backward)
        self.replace(torch.amp.GradScaler, "scale", self._scale)
        self.replace(DataLoader, "__iter__", self._iterated)
        self.replace(torch, "compile", self._compiled)
        self._hooks.callback(register_optimizer_step_pre_hook(self.before_step).remove)
        self._hooks.callback(register_optimizer_step_post_hook(self.after_step).remove)

    def replace(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        """Put `around(original, ...)` in the place of a function."""
        original, inherited = getattr(owner, name), name not in vars(owner)

        @functools.wraps(original)
        def replaced(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        setattr(owner, name, replaced)
        self._hooks.callback(*((delattr, owner, name) if inherited else (setattr, owner, name, original)))

    def close(self) -> None:
        """Everything off, while the script goes on or after it has ended."""
        for strand in self.strands:
            strand.disarm()
        self._remove_gates()
        if self.change is not None:
            self.change.close()
        self._binding.close()
        self._count(False)
        self._hooks.close()

    # -- what is made ------------------------------------------------------------------------------------------------

    def _module_made(self, original: Callable[..., Any], module: nn.Module, *args: Any, **kwargs: Any) -> None:
        self._keras.look()
        original(module, *args, **kwargs)

    def _made(self, original: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> None:
        original(optimizer, *args, **kwargs)
        self.meet(optimizer, caller())

    @property
    def optimizers(self) -> int:
        """How many were made."""
        return len(self._known)

    def meet(self, optimizer: Any, line: str | None) -> None:
        """An optimizer that may not have been seen before, and the line that made it. The model is looked for when it
        runs next."""
        if self.done or self.busy or optimizer in self._known or os.getpid() != self._pid:
            return
        self._known.add(optimizer)
        self._lines[optimizer] = line
        if not self._unbound:
            self._binding.callback(register_module_forward_pre_hook(self._runs).remove)
            self._count(True)
        self._unbound.append(optimizer)

    def _iterated(self, original: Callable[..., Any], loader: Any) -> Any:
        if not self.done and torch.is_grad_enabled():
            with suppress(TypeError):  # an iterable data set has no length
                self._loaders[loader.batch_size] = len(loader.dataset)
        return original(loader)

    def _compiled(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A compiled graph does not show what it computes: until all is seen, what it is made of runs in its place."""
        if not self.done and not self._eager:
            self._eager = True
            self._hooks.enter_context(torch.compiler.set_stance("force_eager"))
        return original(*args, **kwargs)

    def _scale(self, original: Callable[..., Any], scaler: Any, outputs: Any) -> Any:
        scaled = original(scaler, outputs)
        if isinstance(scaled, Tensor) and scaled is not outputs:
            self._scaled[scaled] = outputs, scaler
        return scaled

    # -- the model ---------------------------------------------------------------------------------------------------

    def _runs(self, module: nn.Module, _: Any) -> None:
        """The first module that runs, with gradients on, after optimizers were made: part of a model, if it holds what
        they hold."""
        if self.busy or not torch.is_grad_enabled() or os.getpid() != self._pid:
            return
        held = {id(p) for optimizer in self._unbound for p in parameters_of(optimizer)}
        if any(id(p) in held for p in module.parameters()) and self._quietly(self._bind, module):
            self._set_gates()

    def _bind(self, running: nn.Module | None) -> None:
        fresh, self._unbound = self._unbound, []
        self._binding.close()
        self._binding = ExitStack()
        known = [s.optimizer for s in self.strands] + fresh
        everywhere = {id(p) for optimizer in known for p in parameters_of(optimizer)}
        for strand in self.strands:
            strand.make_room(everywhere, {id(p) for optimizer in fresh for p in parameters_of(optimizer)})
        modules = alive()
        roots = outermost((p for optimizer in known for p in parameters_of(optimizer)), modules)
        if not roots:
            return
        model = together(roots)
        self.twin = Twin(model)
        paths = paths_of(model, modules)
        for optimizer in fresh:
            own = held_by(optimizer)
            self.strands.append(
                Strand(
                    optimizer, model, everywhere - own, self.twin, self.calls, paths, self._lines[optimizer],
                    self.steps, alone=len(known) == 1,
                )
            )  # fmt: skip
            if self.change is not None:
                self.change.remember(self.strands[-1])
            draws = self.calls.draws
            self.strands[-1].arm()
            self.calls.draws = draws  # the pass has begun
            if running is not None and self.strands[-1].tracing:
                self.strands[-1].recorder.enter(running)
            if self._stepping is optimizer:  # a closure has brought us here
                self.strands[-1].before_step(closure=True)

    def _set_gates(self) -> None:
        """Tapes above recorders, whichever are needed now, below all modes of the script's own."""
        self._remove_gates()
        wanted = [s.gates() for s in self.strands]
        tapes = [gate for above, _ in wanted for gate in above]
        recorders = [gate for _, below in wanted for gate in below]
        # A tape keeps what the script called, a recorder sees what a remedy made of it.
        self._gates = [*tapes, *(self.change.held if self.change else ()), *recorders]
        for gate in self._gates:
            push_below(gate)
        self._count(bool(self._gates or self._unbound))

    def _remove_gates(self) -> None:
        for gate in self._gates:
            remove(gate)
        self._gates = []

    def _count(self, wanted: bool) -> None:
        """Keep track of how deep in modules the program is, while it matters."""
        if wanted and self._counting is None:
            self._counting = ExitStack()
            self.calls.listen(self._counting)
        elif not wanted and self._counting is not None:
            self._counting.close()
            self._counting = None

    # -- backward passes ---------------------------------------------------------------------------------------------

    def _backward(self, original: Callable[..., Any], tensors: Any, *args: Any, **kwargs: Any) -> None:
        outermost_call = not self.busy and os.getpid() == self._pid and not self.done
        if not outermost_call:  # activation checkpointing calls it from within
            original(tensors, *args, **kwargs)
            return
        self.busy = True
        self.backwards += 1
        if self.change is not None:
            self.change.before_backward()
        try:
            several = len(self.strands) > 1
            well = self._quietly(self._before_backward, several)
            start = _objective(tensors, *args, **kwargs) if well and self.strands else None
            original(tensors, *args, **kwargs)
            if start is not None:
                self._quietly(self._after_backward, start)
        finally:
            self.busy = False
        for strand in self.strands:
            strand.listen_again(several)

    def _before_backward(self, several: bool) -> None:
        for strand in self.strands:
            strand.before_backward(exact=several)

    def _after_backward(self, start: Tensor) -> None:
        loss, scaler = self._scaled.get(start, (start, None))
        scale = 1.0 if scaler is None else scaler.get_scale()
        for strand in self.strands:
            in_step = self._stepping is strand.optimizer
            strand.after_backward(self.backwards, loss, start, scale, caller(), in_step)

    def _quietly(self, look: Callable[..., None], *args: Any) -> bool:
        """Whatever goes wrong when something is looked at must not go wrong in the script: then there is an end to
        looking, with a note beside what was seen until then, and this is False."""
        try:
            with without_modes():
                look(*args)
        except NotApplicable:
            raise
        except Exception as error:
            self.fault = error
            for strand in self.strands:
                strand.notes.append(f"steps from {strand.count} on: they could not be watched ({describe(error)})")
            self.finish()
            return False
        return True

    # -- steps -------------------------------------------------------------------------------------------------------

    def before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.done or self.busy or os.getpid() != self._pid:
            return
        self._stepping = optimizer
        if (strand := self._strand(optimizer)) is None:
            self.meet(optimizer, None)  # a copy of one that was made
            return
        closure = len(args) > 1 or kwargs.get("closure") is not None
        if not closure:  # the optimizer's own calls are not looked at, and a closed gate costs, too
            self._remove_gates()
        self._quietly(strand.before_step, closure)

    def after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.done or self.busy or os.getpid() != self._pid:
            self._end_again()
            return
        self._stepping = None
        self.stepped += 1
        if (strand := self._strand(optimizer)) is None:
            return
        self.busy = True
        try:
            well = self._quietly(self._stepped, strand)
        finally:
            self.busy = False
        if not well:
            return
        if strand.available is None and (samples := strand.samples) in self._loaders:
            strand.available = self._loaders[samples]
        self.on_step(strand.count)
        first = next((s for s in self.strands if s.count), strand)
        if first.ended or time.perf_counter() > self.deadline:
            self.finish()
            return
        self._set_gates()
        strand.arm()  # after `Calls.listen`, as a tape needs it

    def _stepped(self, strand: Strand) -> None:
        strand.after_step()
        if self.change is not None and not self.change.made and self.change.due(strand):
            self._make(self.change, strand)

    def _make(self, change: Change, strand: Strand) -> None:
        if len(self.strands) > 1:
            raise NotApplicable(
                f"it has {len(self.strands)} optimizers, and trials compare networks with one; give unstick a Case"
            )
        change.make(strand)

    def _strand(self, optimizer: Any) -> Strand | None:
        return next((s for s in self.strands if s.optimizer is optimizer), None)

    def finish(self) -> None:
        """All is seen: hooks off. Ends the script, unless it is to go on."""
        self.done = True
        for strand in self.strands:
            strand.settle()
        self.close()
        if not self.keep_going:
            self._hooks.callback(register_optimizer_step_post_hook(self.after_step).remove)
        self._end_again()

    def _end_again(self) -> None:
        """Some scripts catch everything, even the end."""
        if self.done and not self.keep_going and os.getpid() == self._pid:
            self._ends += 1
            if self._ends > ENDS:
                self.leave()
            raise Enough(0)


def _objective(tensors: Any, grad_tensors: Any = None, *_: Any, **__: Any) -> Tensor | None:
    """What a backward pass goes downhill of, a scalar: nearly always the one tensor that it begins at."""
    if isinstance(tensors, Tensor) and grad_tensors is None and tensors.numel() == 1:
        return tensors
    starts = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    weights = [grad_tensors] if grad_tensors is None or isinstance(grad_tensors, Tensor) else list(grad_tensors)
    if not all(isinstance(t, Tensor) and t.is_floating_point() for t in starts):  # it may begin at an edge of the graph
        return None
    with without_modes(), torch.enable_grad():
        parts = itertools.zip_longest(starts, weights)
        return torch.stack([(t if w is None else t * w.detach()).sum() for t, w in parts]).sum()
