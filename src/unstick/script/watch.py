"""Watches a training script while it runs: hooks on, the script, hooks off.

What is hooked is torch's own: the steps of all optimizers, `backward`, the forward passes of all modules, and, at the
steps that are looked at closely, every call of a torch function. The script's objects are left as they are.
"""

from __future__ import annotations

import functools
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
from torch.utils.data import DataLoader

from ..trace.source import caller, constructing
from .gates import Calls, Gate, push_below, remove
from .roots import outermost, paths_of, together
from .strand import Strand
from .twin import Twin


class Enough(SystemExit):
    """All has been seen: ends the script as `sys.exit()` would, so that it closes what it has opened."""


@dataclass
class Watcher:
    """Sees a script train. steps: of each optimizer, None for as many as are usual. keep_going: do not end the script.
    deadline: by `time.perf_counter`. on_step: called after each optimizer step with the number of steps."""

    steps: int | None = None
    keep_going: bool = False
    deadline: float = float("inf")
    on_step: Callable[[int], None] = lambda _: None

    strands: list[Strand] = field(default_factory=list)
    done: bool = False
    uncovered: list[str] = field(default_factory=list)
    backwards: int = 0

    def __post_init__(self) -> None:
        self.calls = Calls()
        self.twin: Twin | None = None
        self._pid = os.getpid()
        self._lines: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()
        self._known: WeakSet[Any] = WeakSet()
        self._unbound: list[Any] = []
        self._binding = ExitStack()
        self._counting: ExitStack | None = None
        self._gates: list[Gate] = []
        self._scaled: dict[int, tuple[Tensor, Tensor]] = {}
        self._in_backward = False
        self._stepping: Any = None
        self._loaders: dict[int | None, int] = {}
        self._hooks = ExitStack()

    # -- hooks on, hooks off -----------------------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator[None]:
        try:
            with self._hooks:
                self._hook()
                yield
        finally:
            self._close()

    def _hook(self) -> None:
        self._hooks.enter_context(constructing(apart=True))
        self._replace(Optimizer, "__init__", self._made)
        self._replace(torch.autograd, "backward", self._backward)
        self._replace(torch.amp.GradScaler, "scale", self._scale)
        self._replace(DataLoader, "__iter__", self._iterated)
        self._hooks.callback(register_optimizer_step_pre_hook(self._before_step).remove)
        self._hooks.callback(register_optimizer_step_post_hook(self._after_step).remove)

    def _replace(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        """Put `around(original, ...)` in the place of a function."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def replaced(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        setattr(owner, name, replaced)
        self._hooks.callback(setattr, owner, name, original)

    def _close(self) -> None:
        """Everything off, while the script goes on or after it has ended."""
        for strand in self.strands:
            strand.disarm()
        self._set_gates()
        self._binding.close()
        self._count(False)
        self._hooks.close()

    # -- what is made ------------------------------------------------------------------------------------------------

    def _made(self, original: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> None:
        original(optimizer, *args, **kwargs)
        self.meet(optimizer)

    @property
    def optimizers(self) -> int:
        """How many were made."""
        return len(self._known)

    def meet(self, optimizer: Any) -> None:
        """An optimizer that has not been seen before. The model is looked for when it runs next."""
        if self.done or optimizer in self._known or os.getpid() != self._pid:
            return
        self._known.add(optimizer)
        self._lines[optimizer] = caller()
        if not self._unbound:
            self._binding.callback(register_module_forward_pre_hook(self._runs).remove)
            self._count(True)
        self._unbound.append(optimizer)

    def _iterated(self, original: Callable[..., Any], loader: Any) -> Any:
        if not self.done and torch.is_grad_enabled():
            with suppress(TypeError):  # an iterable data set has no length
                self._loaders[loader.batch_size] = len(loader.dataset)
        return original(loader)

    def _scale(self, original: Callable[..., Any], scaler: Any, outputs: Any) -> Any:
        scaled = original(scaler, outputs)
        if isinstance(scaled, Tensor) and scaled is not outputs:
            self._scaled = {id(scaled): (scaled, outputs)}
        return scaled

    # -- the model ---------------------------------------------------------------------------------------------------

    def _runs(self, module: nn.Module, _: Any) -> None:
        """The first module that runs, with gradients on, after optimizers were made: part of a model, if it holds what
        they hold."""
        if not torch.is_grad_enabled() or os.getpid() != self._pid:
            return
        held = {id(p) for optimizer in self._unbound for p in _parameters(optimizer)}
        if any(id(p) in held for p in module.parameters()):
            self._bind(module)

    def _bind(self, running: nn.Module | None) -> None:
        fresh, self._unbound = self._unbound, []
        self._binding.close()
        self._binding = ExitStack()
        known = [s.optimizer for s in self.strands] + fresh
        roots = outermost(p for optimizer in known for p in _parameters(optimizer))
        if not roots:
            return
        model = together(roots)
        self.twin = Twin(model)
        paths = paths_of(model)
        everywhere = {id(p) for optimizer in known for p in _parameters(optimizer)}
        for optimizer in fresh:
            own = {id(p) for p in _parameters(optimizer)}
            matter = {n: p for n, p in model.named_parameters() if id(p) in own or id(p) not in everywhere}
            self.strands.append(
                Strand(
                    optimizer, model, matter, own, self.twin, self.calls, paths, self._lines[optimizer], self.steps,
                    alone=len(known) == 1,
                )
            )  # fmt: skip
            draws = self.calls.draws
            self.strands[-1].arm()
            self.calls.draws = draws  # the pass has begun
            if running is not None and self.strands[-1].tracing:
                self.strands[-1].recorder.enter(running)
        self._set_gates()

    def _set_gates(self) -> None:
        """Tapes above recorders, whichever are needed now, below all modes of the script's own."""
        for gate in self._gates:
            remove(gate)
        wanted = [] if self.done else [s.gates() for s in self.strands]
        self._gates = [g for tapes, _ in wanted for g in tapes] + [g for _, recorders in wanted for g in recorders]
        for gate in self._gates:
            push_below(gate)
        self._count(bool(self._gates or self._unbound))

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
        outermost_call = not self._in_backward and os.getpid() == self._pid and not self.done
        if not outermost_call:  # activation checkpointing calls it from within
            original(tensors, *args, **kwargs)
            return
        self._in_backward = True
        self.backwards += 1
        try:
            several = len(self.strands) > 1
            for strand in self.strands:
                strand.before_backward(exact=several)
            original(tensors, *args, **kwargs)
            start = tensors if isinstance(tensors, Tensor) else tensors[0]
            _, loss = self._scaled.pop(id(start), (start, start))
            if loss.numel() == 1:
                for strand in self.strands:
                    strand.after_backward(
                        self.backwards, loss, start, caller(), in_step=self._stepping is strand.optimizer
                    )
        finally:
            self._in_backward = False
        for strand in self.strands:
            strand.listen_again(several)

    # -- steps -------------------------------------------------------------------------------------------------------

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.done or os.getpid() != self._pid:
            return
        self._stepping = optimizer
        if (strand := self._strand(optimizer)) is not None:
            strand.before_step(closure=len(args) > 1 or kwargs.get("closure") is not None)

    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.done or os.getpid() != self._pid:
            self._end_again()
            return
        self._stepping = None
        if (strand := self._strand(optimizer)) is None:
            return
        strand.after_step()
        if strand.available is None and (samples := strand.samples) in self._loaders:
            strand.available = self._loaders[samples]
        self.on_step(strand.count)
        first = next(s for s in self.strands if s.count)
        if first.ended or time.perf_counter() > self.deadline:
            self.finish()
            return
        strand.arm()
        self._set_gates()

    def _strand(self, optimizer: Any) -> Strand | None:
        return next((s for s in self.strands if s.optimizer is optimizer), None)

    def finish(self) -> None:
        """All is seen: hooks off. Ends the script, unless it is to go on."""
        self.done = True
        for strand in self.strands:
            strand.settle()
        self._close()
        self._end_again()

    def _end_again(self) -> None:
        """Some scripts catch everything, even the end."""
        if self.done and not self.keep_going and os.getpid() == self._pid:
            raise Enough(0)


def _parameters(optimizer: Any) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
