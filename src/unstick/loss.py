"""The loss of a batch, by the user's own functions, with whatever they raise told in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .batches import split, tensors
from .errors import CaseError, UnstickError
from .learning import buffers_kept
from .setup import Setup
from .trace.source import describe


@dataclass(frozen=True)
class Losses:
    """The case's `loss` or `step`, with failures told in one sentence.

    Where the network has diverged already, an exception is part of that (binary cross-entropy refuses a NaN, for
    one), and the loss is NaN.
    """

    criterion: Callable[[Any, Any], Tensor] | None
    step: Callable[[nn.Module, Any], Tensor] | None

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of one batch. Raises CaseError."""
        try:
            if self.step is not None:
                with failing("the training step failed on a batch of", batch):
                    return self.step(model, batch)
            with failing("the model failed on a batch of", batch):
                outputs, target = predict(model, batch) if self.criterion is not None else (_call(model, batch), None)
        except CaseError:
            if all_finite(list(model.parameters())):
                raise
            return _nan(list(model.parameters()))
        return _own_loss(outputs) if self.criterion is None else self.criterion_or_nan(outputs, target)

    def criterion_or_nan(self, outputs: Any, targets: Any) -> Tensor:
        """`criterion`, or NaN where it fails on outputs that are not finite. Raises CaseError."""
        assert self.criterion is not None
        try:
            with failing("the loss failed on outputs", outputs, "and targets", targets):
                return self.criterion(outputs, targets)
        except CaseError:
            if all_finite(tensors(outputs)):
                raise
            return _nan(tensors(outputs))


def all_finite(values: list[Tensor]) -> bool:
    """Whether no tensor of floating-point numbers holds NaN or infinity."""
    known = (v for v in values if v.is_floating_point() and not is_lazy(v))
    return all(bool(v.isfinite().all()) for v in known)


def _nan(values: list[Tensor]) -> Tensor:
    """NaN that depends on all of them, so that their gradients are NaN, too."""
    return torch.stack([v.float().sum() * math.nan for v in values if v.is_floating_point()]).sum()


def _call(model: nn.Module, batch: Any) -> Any:
    return model(**batch) if isinstance(batch, Mapping) else model(*split(batch)[0])


def _own_loss(outputs: Any) -> Tensor:
    if not isinstance(loss := getattr(outputs, "loss", None), Tensor):
        raise CaseError("the case has neither loss= nor step=, and the model's output has no .loss: give one of them")
    return loss


def check_runs(setup: Setup, batch: Any) -> None:
    """One forward and backward pass, to turn what would fail later into one sentence now. Raises CaseError.

    It makes the parameters of lazy modules, and leaves nothing else behind.
    """
    if any(is_lazy(t) for t in (*setup.model.parameters(), *setup.model.buffers())):
        with torch.no_grad():
            setup.forward(batch)
    with buffers_kept(setup.model):
        loss = setup.forward(batch)
        _check_loss(loss, setup.model)
        try:
            with failing("the backward pass failed"):
                loss.backward()
        finally:
            for parameter in setup.model.parameters():
                parameter.grad = None


def _check_loss(loss: Any, model: nn.Module) -> None:
    if not isinstance(loss, Tensor):
        raise CaseError(f"the loss must be a scalar tensor, not {kind_of(loss)}: return the tensor, without .item()")
    if loss.numel() != 1:
        raise CaseError(f"the loss must be one number, not a tensor of shape {tuple(loss.shape)}: take its .mean()")
    if loss.is_complex() or not loss.is_floating_point():
        raise CaseError(f"the loss must be a real floating-point tensor, not {loss.dtype}")
    if not loss.requires_grad:
        raise CaseError(_why_no_gradient(model))


def _why_no_gradient(model: nn.Module) -> str:
    if not any(p.requires_grad for p in model.parameters()):
        return "every parameter of the model is frozen (requires_grad=False), so nothing can learn: unfreeze some"
    return (
        "the loss is not differentiable with respect to the model's parameters: look for .detach(), .item(), argmax, "
        "torch.no_grad() or NumPy between the model and the loss"
    )


class failing:
    """Turns an exception of the user's code into a CaseError that says where it came from.

    `what`: text, and values of which shapes and dtypes are told, put into words only when they are needed.
    """

    def __init__(self, *what: Any) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, UnstickError):
            words = " ".join(w if isinstance(w, str) else describe_batch(w) for w in self._what)
            raise CaseError(f"{words}: {describe(error)}") from error


def describe_batch(value: Any) -> str:
    """A batch in words: shapes and dtypes of its tensors."""
    found = [f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in tensors(value)]
    return ", ".join(found) or kind_of(value)


def predict(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    args, kwargs, target = split(batch)
    return model(*args, **kwargs), target


def kind_of(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
