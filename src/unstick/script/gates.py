"""Function modes that can be put below all others, and taken away again, in the middle of somebody else's program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch._C import _len_torch_function_stack
from torch.nn.modules import module as hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode, _pop_mode, _push_mode
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _disable_current_modes

from ..state import random_state


def push_below(mode: TorchFunctionMode) -> None:
    """Enter `mode` below all that are active: whatever the script leaves next is then its own, not ours.

    Only that of `set_default_device` has to stay at the very bottom. Not to be called from within a mode's
    `__torch_function__`, where torch has taken modes off the stack itself.
    """
    there = [_pop_mode() for _ in range(_len_torch_function_stack())][::-1]
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    bottom = int(bool(there) and there[0] is default)
    for each in (*there[:bottom], mode, *there[bottom:]):
        _push_mode(each)


def remove(mode: TorchFunctionMode) -> None:
    """Leave `mode`, wherever in the stack it is."""
    above = []
    while _len_torch_function_stack():
        top = _pop_mode()
        if top is mode:
            break
        above.append(top)
    for each in reversed(above):
        _push_mode(each)


@contextmanager
def without_modes() -> Iterator[None]:
    """What is computed inside is seen by nobody's modes; only those that say where tensors are made stay on."""
    there = [_pop_mode() for _ in range(_len_torch_function_stack())][::-1]
    kept = [mode for mode in there if isinstance(mode, DeviceContext)]
    for mode in kept:
        _push_mode(mode)
    try:
        with _disable_current_modes():
            yield
    finally:
        for _ in kept:
            _pop_mode()
        for mode in there:
            _push_mode(mode)


GLOBAL_HOOKS = (
    hooks._global_forward_hooks,
    hooks._global_forward_pre_hooks,
    hooks._global_backward_hooks,
    hooks._global_backward_pre_hooks,
)


@contextmanager
def unseen() -> Iterator[None]:
    """The same, and modules that run inside call none of the hooks that are there for all modules."""
    saved = [dict(each) for each in GLOBAL_HOOKS]
    for each in GLOBAL_HOOKS:
        each.clear()
    try:
        with without_modes():
            yield
    finally:
        for each, before in zip(GLOBAL_HOOKS, saved, strict=True):
            each.update(before)


class Calls:
    """How deep in modules' forward passes the program is, and whether that one began without gradients: then it is
    no part of training (a validation, a teacher), and nothing in it is of interest."""

    def __init__(self) -> None:
        self.depth = 0
        self.asleep = False
        self.draws: tuple[Any, ...] | None = None  # the random state in which the first pass began since this was None

    @property
    def of_interest(self) -> bool:
        return not self.asleep and (self.depth > 0 or torch.is_grad_enabled())

    def listen(self, stack: ExitStack) -> None:
        """Count until `stack` ends."""
        self.depth, self.asleep = 0, False
        stack.callback(register_module_forward_pre_hook(self._enter).remove)
        stack.callback(register_module_forward_hook(self._leave, always_call=True).remove)

    def _enter(self, module: nn.Module, _: Any) -> None:
        self.depth += 1
        if self.depth == 1:
            self.asleep = not torch.is_grad_enabled()
            if self.draws is None and not self.asleep:
                self.draws = random_state()

    def _leave(self, *_: Any) -> None:
        self.depth = max(0, self.depth - 1)
        if not self.depth:
            self.asleep = False


class Gate(TorchFunctionMode):
    """Lets a listener, which is a mode itself, see the calls that are made while it is open. calls: in training only,
    by these."""

    def __init__(self, listener: Any, calls: Calls | None = None, shut: bool = False) -> None:
        super().__init__()
        self.listener, self._calls = listener, calls
        self.open = not shut

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if self.open and (self._calls is None or self._calls.of_interest):
            return self.listener.__torch_function__(func, types, args, kwargs)
        return func(*args, **(kwargs or {}))
