"""What is under study: a model, its data, its loss, its optimizer."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .batches import check_data, stream
from .errors import CaseError
from .loss import Losses, failing, kind_of, predict
from .loss import check_runs as check_runs
from .setup import Setup, held_by
from .state import seed_everything
from .trace.source import constructing
from .trace.source import describe as describe


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
            raise CaseError(f"model must be an nn.Module or a function that returns one, not {kind_of(self.model)}")
        if not isinstance(self.model, nn.Module):
            _check_no_arguments(self.model, "the function given as model")
        if self.loss is not None and self.step is not None:
            raise CaseError("give loss= or step=, not both: step= computes the loss itself")
        for part in ("loss", "step", "metric"):
            if (value := getattr(self, part)) is not None and not callable(value):
                raise CaseError(f"{part} must be a function, not {kind_of(value)}")
            if inspect.isclass(value):
                raise CaseError(f"{part} is the class {value.__name__}: give an instance of it, {value.__name__}()")
        if not isinstance(self.batch_size, int) or isinstance(self.batch_size, bool) or self.batch_size < 1:
            raise CaseError(f"batch_size must be a whole number of at least 1, not {self.batch_size!r}")
        optimizer = self.optimizer
        if isinstance(optimizer, torch.optim.Optimizer):
            if not isinstance(self.model, nn.Module):
                raise CaseError("an optimizer object needs its own model object; give a function of the parameters")
        elif optimizer is not None and not callable(optimizer):
            raise CaseError(f"optimizer must be a function of the parameters, not {kind_of(optimizer)}")
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
        memo: dict[int, Any] = {}
        model, optimizer = self._copies(memo)
        for parameter in model.parameters():
            parameter.grad = None
        if not model.training:
            model.train()
        if not any(True for _ in model.parameters()):
            raise CaseError("the model has no parameters, so there is nothing to train")
        if device is not None:
            model.to(device)
            if optimizer is not None:
                optimizer.load_state_dict(optimizer.state_dict())  # moves what it remembers to where the weights are
        own = {id(p) for p in model.parameters()}
        functions = Losses(_apart(self.loss, memo, device), _apart(self.step, memo, device))
        separate = functions.criterion is not None
        return Setup(
            model=model,
            loss=functions.loss,
            make_optimizer=lambda parameters: self._make_optimizer(optimizer, own, parameters),
            predict=predict if separate else None,
            criterion=functions.criterion_or_nan if separate else None,
        )

    def stream(self, seed: int, device: str | torch.device | None = None) -> Iterator[Any]:
        """Batches without end, on `device`, in an order that depends on `seed` alone. Each tensor is a copy."""
        return stream(self.data, self.batch_size, seed, device)

    def _copies(self, memo: dict[int, Any]) -> tuple[nn.Module, torch.optim.Optimizer | None]:
        """A model that is ours, and the optimizer that came with it, if one did."""
        if not isinstance(self.model, nn.Module):
            return self._made(memo), None
        model = _copied(self.model, memo)
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            return model, None
        optimizer = _copied_optimizer(self.optimizer, memo)
        if not held_by(optimizer) & {id(p) for p in model.parameters()}:
            raise CaseError("the optimizer holds none of the model's parameters: build it from model.parameters()")
        return model, optimizer

    def _made(self, memo: dict[int, Any]) -> nn.Module:
        """What the factory makes. It may be the same module each time, or share parts: then it is the user's."""
        made = self._make()
        try:
            return _twin(made, memo)
        except Exception as error:
            again = self._make()
            parts = {id(m) for m in made.modules()} | {id(p) for p in made.parameters()}
            if parts.isdisjoint({id(m) for m in again.modules()} | {id(p) for p in again.parameters()}):
                return again
            raise CaseError(
                f"the function given as model returns parts of one module each time, and that cannot be copied: "
                f"{describe(error)}; build the model inside the function"
            ) from error

    def _make(self) -> nn.Module:
        assert not isinstance(self.model, nn.Module)
        with failing("the function given as model failed"), constructing():
            made = self.model()
        if not isinstance(made, nn.Module):
            raise CaseError(f"the function given as model returned {kind_of(made)}, not an nn.Module")
        return made

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
        with failing("the function given as optimizer failed"):
            made = self.optimizer(parameters)
        if not isinstance(made, torch.optim.Optimizer):
            raise CaseError(f"the function given as optimizer returned {kind_of(made)}, not a torch.optim.Optimizer")
        if held_by(made) - {id(p) for p in parameters}:
            raise CaseError(
                "the optimizer holds parameters that it was not given: build it from its argument alone, which are the "
                "parameters of a copy of the model"
            )
        return made


def _twin(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    # A scripted module copies its tensors by operations, which must not be recorded: parameters have no history.
    with torch.no_grad():
        twin = copy.deepcopy(model, memo)
    for parameter, original in zip(twin.parameters(), model.parameters(), strict=True):
        parameter.requires_grad_(original.requires_grad)
    return twin


def _copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        return _twin(model, memo)
    except Exception as error:
        raise CaseError(
            f"the model cannot be copied, so it would be changed: {describe(error)}; give a function that builds it"
        ) from error


def _copied_optimizer(live: torch.optim.Optimizer, memo: dict[int, Any]) -> torch.optim.Optimizer:
    """A copy that holds the copied parameters. Pickling, and so copying, leaves out what L-BFGS keeps beside them."""
    twin = copy.deepcopy(live, memo)
    for name, value in vars(live).items():
        # A function here is bound to the live optimizer (schedulers put a counting `step` on it).
        if name not in vars(twin) and not callable(value):
            setattr(twin, name, copy.deepcopy(value, memo))
    return twin


def _apart(function: Any, memo: dict[int, Any], device: str | torch.device | None) -> Any:
    """A loss that is a module has parameters and buffers of its own, which are the user's: take a copy."""
    if not isinstance(function, nn.Module):
        return function
    with failing("the loss cannot be copied, so it would be changed"):
        twin = copy.deepcopy(function, memo)
    return twin if device is None else twin.to(device)


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
