"""Keras 3 on its torch backend: its layers are torch modules that torch's hooks do not hear of, and its optimizers are
none of torch's. Here both are made to look as if they were."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as hooks

from ..errors import NotApplicable
from ..setup import held_by, parameters_of
from ..trace.source import caller

if TYPE_CHECKING:
    from .watch import Watcher

TWINS = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW, "SGD": torch.optim.SGD, "RMSprop": torch.optim.RMSprop}


class KerasOptimizer:
    """What is asked of an optimizer of torch's, answered from one of Keras's. Its classes are named after those."""

    def __init__(self, optimizer: Any, model: Any) -> None:
        self.optimizer, self.model = optimizer, model

    @classmethod
    def of(cls, optimizer: Any, model: Any) -> KerasOptimizer:
        return type(type(optimizer).__name__, (cls,), {})(optimizer, model)  # type: ignore[no-any-return]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        own = self.optimizer
        return [
            {
                "params": [variable.value for variable in self.model.trainable_variables],
                "lr": float(own.learning_rate),
                "weight_decay": own.weight_decay,
                "eps": getattr(own, "epsilon", None),
            }
        ]

    def like(self, parameters: list[nn.Parameter], rate: float | None) -> torch.optim.Optimizer:
        """One of torch's of the same name; Adam, where there is none."""
        made: torch.optim.Optimizer = TWINS.get(type(self).__name__, torch.optim.Adam)(parameters, lr=rate or 1e-3)
        return made

    def kept(self) -> list[Any]:
        """What it remembers between steps."""
        return [variable.value.detach().clone() for variable in self.optimizer.variables]

    def restore(self, kept: list[Any]) -> None:
        """As it was when that was `kept`; what it has begun to remember since then is zero again."""
        for i, variable in enumerate(self.optimizer.variables):
            if variable is not self.optimizer._learning_rate:
                variable.assign(kept[i] if i < len(kept) else torch.zeros_like(variable.value))

    def adopt(self, made: torch.optim.Optimizer) -> list[float]:
        """Take over the learning rate. Raises NotApplicable for anything else."""
        if type(made).__name__ != type(self).__name__:
            raise NotApplicable("an optimizer of Keras cannot be exchanged in a running script")
        if any(p.requires_grad and id(p) not in held_by(self) for p in parameters_of(made)):
            raise NotApplicable("an optimizer of Keras takes no new weights once it has begun")
        if made._optimizer_step_pre_hooks:
            raise NotApplicable("the gradients of Keras cannot be reached between the backward pass and the step")
        factor = float(made.param_groups[0]["lr"]) / self.param_groups[0]["lr"]
        if factor != 1.0 and callable(getattr(self.optimizer._learning_rate, "get_config", None)):
            raise NotApplicable("the learning rate follows a schedule of Keras")
        if factor != 1.0:
            self.optimizer.learning_rate = factor * self.param_groups[0]["lr"]
        return [1.0]


class Keras:
    """Tells a watcher of Keras's models and optimizers, once Keras is there."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._known: dict[int, KerasOptimizer] = {}
        self._lines: dict[int, str | None] = {}
        self._found = False

    def look(self) -> None:
        """Whether it has been imported meanwhile. To be called before the first layer is made."""
        if self._found or (keras := sys.modules.get("keras")) is None or not hasattr(keras, "Model"):
            return
        self._found = True
        if keras.config.backend() != "torch":
            return
        self._watcher.replace(keras.layers.Layer, "__call__", self._call)
        base = keras.optimizers.Optimizer
        self._watcher.replace(base, "__init__", self._made)
        self._watcher.replace(base, "apply", self._apply)

    def _made(self, original: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> None:
        self._lines[id(optimizer)] = caller()
        original(optimizer, *args, **kwargs)

    def _call(self, original: Callable[..., Any], layer: Any, *args: Any, **kwargs: Any) -> Any:
        if self._watcher.done or self._watcher.busy:
            return original(layer, *args, **kwargs)
        self._meet(layer)
        for hook in tuple(hooks._global_forward_pre_hooks.values()):
            hook(layer, args)
        out = original(layer, *args, **kwargs)
        for number, after in tuple(hooks._global_forward_hooks.items()):
            if number in hooks._global_forward_hooks_with_kwargs:
                after(layer, args, kwargs, out)
            else:
                after(layer, args, out)
        return out

    def _meet(self, layer: Any) -> None:
        """A model that has been compiled brings its optimizer along."""
        optimizer = vars(layer).get("optimizer")
        if optimizer is None or id(optimizer) in self._known or not layer.built or not torch.is_grad_enabled():
            return
        self._known[id(optimizer)] = facade = KerasOptimizer.of(optimizer, layer)
        self._watcher.meet(facade, self._lines.get(id(optimizer)))

    def _apply(self, original: Callable[..., Any], optimizer: Any, *args: Any, **kwargs: Any) -> None:
        facade = self._known.get(id(optimizer))
        if facade is None:
            original(optimizer, *args, **kwargs)
            return
        self._watcher.before_step(facade, (), {})
        original(optimizer, *args, **kwargs)
        self._watcher.after_step(facade, (), {})
