"""A copy of the script's model, on which is computed what the script itself does not compute."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NotApplicable
from ..setup import Setup
from ..state import drawing as same_draws
from ..state import preserved, random_state
from ..trace.source import describe
from .extract import Recorded
from .gates import unseen
from .tape import state_of

SAME = 1e-3
"""Relative: what is computed again may differ by rounding, more so in mixed precision."""

State = dict[str, Tensor]


def _nothing(*_: Any) -> Any:
    raise NotApplicable("a training step cannot be computed again on a copy")


class Twin:
    """The model as it was before the first step, and one more copy with whatever weights are asked for.

    initial: None where the model cannot be copied. sound: a recorded step, computed again on the copy, gives the
    script's own loss; None before that was tried. fault: why there is no copy, or why it is of no use. put: puts a
    remedy into a fresh setup, whose loss, or the two halves of it, are `parts`.
    """

    def __init__(self, live: nn.Module) -> None:
        self.live = live
        self.initial: nn.Module | None = None
        self.sound: bool | None = None
        self.fault: str | None = None
        self.put: Callable[[Setup], None] | None = None
        self.parts: dict[str, Any] = {"loss": _nothing}
        self._now: Setup | None = None
        if any(base.__module__.partition(".")[0] == "keras" for m in live.modules() for base in type(m).__mro__):
            self.fault = "a model of Keras is copied by being saved, which gives its weights new names"
            self.sound = False
            return
        try:
            with preserved(), torch.no_grad():
                self.initial = without_functions(copy.deepcopy(live))
        except Exception as error:
            self.fault = f"the model cannot be copied ({describe(error)})"
            self.sound = False

    def check(self, recorded: Recorded, gradients: bool) -> None:
        """Whether what was recorded of a step that is about to be made leads to the same loss again, and to gradients
        for the same parameters, as far as those that are there are this step's."""
        self.sound = False
        try:
            copied = self.fresh().model
            # At the first step the buffers are as they were before it, unlike those of the script's model.
            load(copied, snapshot(self.live) if recorded.step else dict(self.live.named_parameters()))
            with put_aside(self.live), drawing(recorded.draws):
                loss = recorded.program.loss_of(copied, recorded.leaves)
                if loss.requires_grad:
                    loss.backward()
                found = _with_gradient(copied)
                strayed = _with_gradient(self.live)
            again = loss.item()
        except Exception as error:
            self.fault = f"a training step could not be computed again on a copy ({describe(error)})"
            return
        if not (math.isclose(again, recorded.loss, rel_tol=SAME, abs_tol=1e-6) or math.isnan(recorded.loss)):
            self.fault = f"a training step computed again on a copy gave {again:.6g}, not {recorded.loss:.6g}"
        elif strayed:
            self.fault = f"a copy of the model computes with weights of the original ({min(strayed)})"
        elif gradients and (wrong := found ^ _with_gradient(self.live)):
            self.fault = f"a training step computed again on a copy has not the same gradients ({min(wrong)})"
        self.sound = self.fault is None

    def loss_now(self, recorded: Recorded) -> float | None:
        """The loss of a recorded step with the weights that the script's model has now, under the same draws."""
        if not self.sound or self.initial is None:
            return None
        try:
            if self._now is None:
                self._now = self.fresh()
            load(self._now.model, snapshot(self.live))
            same_modes(self._now.model, self.live)
            with drawing(recorded.draws), torch.no_grad(), self._now.active():
                return recorded.program.loss_of(self._now.model, recorded.leaves).item()
        except Exception:  # the numbers may have become such that it cannot be computed
            return None

    def fresh(self) -> Setup:
        """A copy of the model as it was, with the remedy put in, if there is one. Raises NotApplicable."""
        with preserved():
            with torch.no_grad():
                model = copy.deepcopy(self.initial)
            assert model is not None
            setup = Setup(model, make_optimizer=_nothing, **self.parts)
            if self.put is not None:
                self.put(setup)
        return setup


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def without_functions(model: nn.Module) -> nn.Module:
    """The same copy without hooks that are plain functions: these are no copies, and what they do besides (to fill a
    list, say) is the script's. Hooks that are objects, such as those of `spectral_norm`, are copied, and stay."""
    for module in model.modules():
        for hooks in (vars(module).get(name) or {} for name in HOOKS):
            for key in [key for key, hook in hooks.items() if isinstance(hook, FunctionType)]:
                del hooks[key]
    return model


@contextmanager
def put_aside(model: nn.Module) -> Iterator[None]:
    """Without its gradients, which are there again afterwards."""
    saved = [(p, p.grad) for p in model.parameters()]
    for p, _ in saved:
        p.grad = None
    try:
        yield
    finally:
        for p, gradient in saved:
            p.grad = gradient


def _with_gradient(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.grad is not None}


def snapshot(model: nn.Module) -> State:
    """Copies of all parameters and buffers."""
    return {name: t.detach().clone() for name, t in state_of(model).items()}


def load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a copy of the model these parameters and buffers; others stay."""
    with torch.no_grad():
        for name, t in state_of(model).items():
            if name in state and 0 not in t.stride():
                t.copy_(state[name])


def same_modes(model: nn.Module, like: nn.Module) -> None:
    for ours, theirs in zip(model.modules(), like.modules(), strict=False):
        ours.training = theirs.training


@contextmanager
def drawing(draws: tuple[Any, ...] | None) -> Iterator[None]:
    """What is drawn at random inside is what was drawn then; outside it is as if nothing had been drawn."""
    with same_draws(draws or random_state()), unseen(), torch.inference_mode(False), torch.enable_grad():
        yield
