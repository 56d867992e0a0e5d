"""A fresh, trainable instance of a case. It belongs to us: remedies change it, trials train it, then it is dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .trace.types import Trace


def parameters_of(optimizer: Any) -> list[nn.Parameter]:
    """What an optimizer holds, group by group."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def held_by(optimizer: Any) -> set[int]:
    """The same by id."""
    return set(map(id, parameters_of(optimizer)))


@dataclass
class Setup:
    """What one training run needs. The only mutable value that crosses a room: from case through remedies to observe.

    model: a copy of the user's model. loss: one forward pass on a batch, returns a scalar tensor. predict, criterion:
    the two halves of `loss`, (model, batch) -> (outputs, targets) and (outputs, targets) -> scalar, where the case has
    them apart.
    make_optimizer: builds the optimizer from the model's parameters, called once after all remedies were applied.
    contexts: functions that return a context manager, each entered, in order, around every forward pass.
    added: modules of remedies whose parameters and buffers are the model's, but which are not in its tree.
    changes: what remedies did, in words for the report ("sigmoid -> relu in 40 places").
    """

    model: nn.Module
    loss: Callable[[nn.Module, Any], torch.Tensor]
    make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    predict: Callable[[nn.Module, Any], tuple[Any, Any]] | None = None
    criterion: Callable[[Any, Any], torch.Tensor] | None = None
    contexts: list[Callable[[], AbstractContextManager[Any]]] = field(default_factory=list)
    added: list[nn.Module] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Everything that remedies put around a forward pass."""
        with ExitStack() as stack:
            for context in self.contexts:
                stack.enter_context(context())
            yield

    def forward(self, batch: Any) -> torch.Tensor:
        """The loss of one batch, with the remedies' changes in force."""
        with self.active():
            return self.loss(self.model, batch)


@dataclass(frozen=True)
class Anatomy:
    """What a remedy may know of the unchanged network: one trace, and the first batches of its data."""

    trace: Trace
    batches: tuple[Any, ...]
