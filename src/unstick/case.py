"""What is under study: a model, its data, its loss, its optimizer."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .batches import check_data, map_tensors, split, stream
from .errors import CaseError
from .setup import Setup
from .state import seed_everything
from .trace.source import constructing


@dataclass(frozen=True)
class Case:
    """A model, its data, its loss, its optimizer.

    model: a function that returns a fresh nn.Module (preferred: every seed then starts from weights of its own), or
        an nn.Module, of which copies are trained.
    data: (X, y) tensors with the samples first (X may be a tuple or a dict of tensors), a DataLoader, a list of
        batches, or a function that returns an iterable of batches.
    loss: (outputs, targets) -> scalar tensor. step: (model, batch) -> scalar tensor, instead of `loss`, for any other
        training step. With neither, the model must return an object with a `loss`, as Hugging Face models do.
    optimizer: (parameters) -> torch.optim.Optimizer, default Adam(lr=1e-3); or the optimizer that holds the
        parameters of `model`, where that is an nn.Module: it is copied with it.
    metric: (outputs, targets) -> float, higher is better. batch_size: for (X, y). name: for the report.

    A batch is (x, y), (x1, x2, ..., y), a dict with its target under "labels", "label", "targets", "target" or "y"
    (the rest goes to the model by keyword), or with `step=` anything.

    Raises CaseError where the parts cannot belong together; what needs a run to be seen is raised by `check_runs`.
    """

    model: nn.Module | Callable[[], nn.Module]
    data: Any
    loss: Callable[[Any, Any], Tensor] | None = None
    step: Callable[[nn.Module, Any], Tensor] | None = None
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | torch.optim.Optimizer | None = None
    metric: Callable[[Any, Any], float] | None = None
    batch_size: int = 64
    name: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.model):
            raise CaseError(f"model must be an nn.Module or a function that returns one, not {_kind(self.model)}")
        if not isinstance(self.model, nn.Module):
            _check_no_arguments(self.model, "the function given as model")
        if self.loss is not None and self.step is not None:
            raise CaseError("give loss= or step=, not both: step= computes the loss itself")
        for part in ("loss", "step", "metric"):
            if (value := getattr(self, part)) is not None and not callable(value):
                raise CaseError(f"{part} must be a function, not {_kind(value)}")
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise CaseError(f"batch_size must be a whole number of at least 1, not {self.batch_size!r}")
        optimizer = self.optimizer
        if isinstance(optimizer, torch.optim.Optimizer):
            if not isinstance(self.model, nn.Module):
                raise CaseError("an optimizer object needs its own model object; give a function of the parameters")
        elif optimizer is not None and not callable(optimizer):
            raise CaseError(f"optimizer must be a function of the parameters, not {_kind(optimizer)}")
        check_data(self.data)

    @property
    def title(self) -> str:
        """The name for reports."""
        if self.name:
            return self.name
        return type(self.model).__name__ if isinstance(self.model, nn.Module) else _function_name(self.model)

    def fresh(self, seed: int, device: str | torch.device | None = None) -> Setup:
        """A fresh instance to train: nothing in it is shared with the user's objects.

        Seeds the global random state (call inside `state.preserved`). `device`: None leaves the model where it is.
        Raises CaseError.
        """
        seed_everything(seed)
        model, optimizer = self._copies()
        for parameter in model.parameters():
            parameter.grad = None
        if not model.training:
            model.train()
        if device is not None:
            model.to(device)
        if not any(True for _ in model.parameters()):
            raise CaseError("the model has no parameters, so there is nothing to train")
        own = {id(p) for p in model.parameters()}
        separate = self.step is None and self.loss is not None
        return Setup(
            model=model,
            loss=self._loss,
            make_optimizer=lambda parameters: self._make_optimizer(optimizer, own, parameters),
            predict=_predict if separate else None,
            criterion=self.loss if separate else None,
        )

    def stream(self, seed: int, device: str | torch.device | None = None) -> Iterator[Any]:
        """Batches without end, on `device`, in an order that depends on `seed` alone. Each tensor is a copy."""
        return stream(self.data, self.batch_size, seed, device)

    def _copies(self) -> tuple[nn.Module, torch.optim.Optimizer | None]:
        """A model that is ours, and the optimizer that came with it, if one did."""
        memo: dict[int, Any] = {}
        if isinstance(self.model, nn.Module):
            model = _copied(self.model, memo)
            live = self.optimizer
            return model, copy.deepcopy(live, memo) if isinstance(live, torch.optim.Optimizer) else None
        try:
            with constructing():
                made = self.model()
        except Exception as error:
            raise CaseError(f"the function given as model failed: {describe(error)}") from error
        if not isinstance(made, nn.Module):
            raise CaseError(f"the function given as model returned {_kind(made)}, not an nn.Module")
        # It may be the same module each time, and then it is the user's.
        return _copied(made, memo), None

    def _make_optimizer(
        self, live: torch.optim.Optimizer | None, own: set[int], parameters: list[nn.Parameter]
    ) -> torch.optim.Optimizer:
        if live is not None:
            if new := [p for p in parameters if id(p) not in own]:  # a remedy's
                live.add_param_group({"params": new})
            return live
        if self.optimizer is None:
            return torch.optim.Adam(parameters, lr=1e-3)
        assert not isinstance(self.optimizer, torch.optim.Optimizer)
        try:
            made = self.optimizer(parameters)
        except Exception as error:
            raise CaseError(f"the function given as optimizer failed: {describe(error)}") from error
        if not isinstance(made, torch.optim.Optimizer):
            raise CaseError(f"the function given as optimizer returned {_kind(made)}, not a torch.optim.Optimizer")
        ours = {id(p) for p in parameters}
        if not any(id(p) in ours for group in made.param_groups for p in group["params"]):
            raise CaseError("the optimizer does not hold the parameters it was given: build it from its argument")
        return made

    def _loss(self, model: nn.Module, batch: Any) -> Tensor:
        if self.step is not None:
            return self.step(model, batch)
        if self.loss is not None:
            return self.loss(*_predict(model, batch))
        outputs = model(**batch) if isinstance(batch, Mapping) else model(*split(batch)[0])
        if not isinstance(getattr(outputs, "loss", None), Tensor):
            raise CaseError(
                "the case has neither loss= nor step=, and the model's output has no .loss: give one of them"
            )
        loss: Tensor = outputs.loss
        return loss


def check_runs(setup: Setup, batch: Any) -> None:
    """One forward pass, to turn what would fail later into one sentence now. Raises CaseError."""
    shown = f"a batch of {describe_batch(batch)}"
    if setup.predict is None:
        with _failing(f"the training step failed on {shown}"):
            loss = setup.forward(batch)
    else:
        assert setup.criterion is not None
        with setup.active():
            with _failing(f"the model failed on {shown}"):
                outputs, targets = setup.predict(setup.model, batch)
            with _failing(
                f"the loss failed on outputs {describe_batch(outputs)} and targets {describe_batch(targets)}"
            ):
                loss = setup.criterion(outputs, targets)
    if not isinstance(loss, Tensor):
        raise CaseError(f"the loss must be a scalar tensor, not {_kind(loss)}: return the tensor, without .item()")
    if loss.numel() != 1:
        raise CaseError(f"the loss must be one number, not a tensor of shape {tuple(loss.shape)}: take its .mean()")
    if loss.is_complex() or not loss.is_floating_point():
        raise CaseError(f"the loss must be a real floating-point tensor, not {loss.dtype}")
    if not loss.requires_grad:
        raise CaseError(_why_no_gradient(setup.model))


def _why_no_gradient(model: nn.Module) -> str:
    if not any(p.requires_grad for p in model.parameters()):
        return "every parameter of the model is frozen (requires_grad=False), so nothing can learn: unfreeze some"
    return (
        "the loss is not differentiable with respect to the model's parameters: look for .detach(), .item(), argmax, "
        "torch.no_grad() or NumPy between the model and the loss"
    )


class _failing:
    """Turns an exception of the user's code into a CaseError that says where it came from."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, CaseError):
            raise CaseError(f"{self._what}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """An exception in one line, with the last line of the user's own source that it passed through."""
    from .trace.source import of_traceback

    message = " ".join(str(error).split()) or "no message"
    where = of_traceback(error.__traceback__)
    return f"{type(error).__name__}: {message[:300]}" + (f" ({where})" if where else "")


def describe_batch(value: Any) -> str:
    """A batch in words: shapes and dtypes of its tensors."""
    found: list[str] = []
    map_tensors(value, lambda t: found.append(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}") or t)
    return ", ".join(found) or _kind(value)


def _predict(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    args, kwargs, target = split(batch)
    return model(*args, **kwargs), target


def _copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise CaseError(
            f"the model cannot be copied, so it would be changed: {describe(error)}; give a function that builds it"
        ) from error


def _check_no_arguments(function: Callable[..., Any], what: str) -> None:
    try:
        needed = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):  # built-in callables have no signature
        return
    if needed:
        raise CaseError(f"{what} needs arguments ({', '.join(needed)}); it is called without any: wrap it in a lambda")


def _function_name(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "case" if name == "<lambda>" else str(name)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
