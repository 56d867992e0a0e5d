"""Changes what activation calls do while a model runs, whether they are made by modules or by functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from ..errors import NotApplicable
from ..setup import Setup
from ..trace.calls import called, is_inplace
from ..trace.sites import ADDED, SiteCounter, tensors_in
from ..trace.types import Site

M = TypeVar("M", bound=nn.Module)
RECOMPUTED = (
    "the model recomputes activations in the backward pass (checkpointing), where they cannot be changed: "
    "switch that off"
)
Elementwise = Callable[[Tensor], Tensor]


class Gate(nn.Module):
    """Holds alpha, which starts at 0, and is learned."""

    def __init__(self, **placement: Any) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros((), **placement))


@dataclass(frozen=True)
class Skip:
    """A connection around the layers between two sites: out = h + alpha * f(h), h the output of `source`."""

    source: Site
    gate: Gate | None = None

    def join(self, h: Tensor | None, out: Tensor) -> Tensor:
        """Unchanged where there is no h yet (the first step of an unrolled recurrent network), or of other shape."""
        if h is None or h.shape != out.shape:
            return out
        return h + out if self.gate is None else h + self.gate.alpha * out


@dataclass
class Change:
    """What happens at one site: before, the activation (None: the network's own), after, then the skip."""

    activation: Elementwise | None = None
    before: list[Elementwise] = field(default_factory=list)
    after: list[Elementwise] = field(default_factory=list)
    skip: Skip | None = None


class Rewire(TorchFunctionMode):
    """Rewires the activation calls of one model. Active around each forward pass: calling it begins one.

    A mode sees `nn.Sigmoid`, `torch.sigmoid(x)`, `x.sigmoid()` and `x.sigmoid_()` alike, as no replacement of modules
    could. What a changed site calls is seen by the modes around this one, such as a recorder, but not by this one
    again.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self._model = setup.model
        self._counter = SiteCounter(setup.model)
        self._changes: dict[Site, Change] = {}
        self._added = setup.added
        self._names_given = 0
        self._sources: set[Site] = set()
        self._outputs: dict[Site, Tensor] = {}  # latest outputs of the sources, of this pass

    @classmethod
    def of(cls, setup: Setup) -> Rewire:
        """The one of this setup; it is added to it if there is none yet."""
        for context in setup.contexts:
            if isinstance(context, cls):
                return context
        rewire = cls(setup)
        setup.contexts.append(rewire)
        return rewire

    # -- what remedies call --------------------------------------------------------------------------------------------

    def at(self, site: Site) -> Change:
        """What happens at this site, to be added to."""
        return self._changes.setdefault(site, Change())

    def connect(self, site: Site, source: Site, gate: Gate | None = None) -> None:
        """Add the output of `source` to the output of `site`."""
        self.at(site).skip = Skip(source, gate)
        self._sources.add(source)

    def has_skips(self) -> bool:
        return bool(self._sources)

    def add_module(self, module: M) -> M:
        """Register the parameters and buffers of a new module with the model, so that the optimizer gets them, and keep
        its mode like the model's.

        They become the model's own, not those of a new child: an `nn.Sequential`, or a forward that loops over the
        model's children, would run a child.
        """
        for name, parameter in module.named_parameters():
            self._model.register_parameter(self._fresh(name), parameter)
        for name, buffer in module.named_buffers():
            self._model.register_buffer(self._fresh(name), buffer)
        self._added.append(module)
        return module

    def _fresh(self, name: str) -> str:
        self._names_given += 1
        return f"{ADDED}_{self._names_given}_{name.replace('.', '_')}"

    # -- one forward pass ----------------------------------------------------------------------------------------------

    def __call__(self) -> Self:
        self._counter.reset()
        for module in self._added:
            module.train(self._model.training)
        return self

    def forget(self) -> None:
        """The pass is over; its outputs would keep its graph alive."""
        self._outputs.clear()

    def __enter__(self) -> Self:
        # Activation checkpointing saves tensors through such hooks, so it is told here instead of computing gradients
        # of another network than the one that ran.
        self._no_checkpoints = disable_saved_tensors_hooks(RECOMPUTED)
        self._no_checkpoints.__enter__()
        super().__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Raises NotApplicable where the model recomputes activations."""
        self.forget()
        super().__exit__(kind, error, trace)
        self._no_checkpoints.__exit__(None, None, None)
        if error is not None and RECOMPUTED in str(error):
            raise NotApplicable(RECOMPUTED) from error

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        site = self._counter.see(called(name, args, kwargs).name, tensors_in(args, kwargs))
        if site is None:
            return func(*args, **kwargs)
        change = self._changes.get(site)
        out = func(*args, **kwargs) if change is None else self._changed(change, func, name, args, kwargs)
        if site in self._sources:
            self._outputs[site] = out
        return out

    def _changed(
        self, change: Change, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Tensor:
        given: Tensor = args[0] if args else kwargs["input"]
        inplace = is_inplace(name, args, kwargs)
        # In place, the caller may go on with the tensor that it gave rather than with what is returned. It is computed
        # on a copy, since most of these functions need their input or output as it was for the backward pass.
        x = given.clone() if inplace else given
        for function in change.before:
            x = function(x)
        if change.activation is not None:
            x = change.activation(x)
        else:
            x = func(x, *args[1:], **kwargs) if args else func(**{**kwargs, "input": x})
        for function in change.after:
            x = function(x)
        if change.skip is not None:
            x = change.skip.join(self._outputs.get(change.skip.source), x)
        return given.copy_(x) if inplace else x


def placed_like(model: nn.Module, site: Site) -> dict[str, Any]:
    """device and dtype that a new module at this site should have."""
    parameter = model.get_parameter(site[0])
    dtype = parameter.dtype if parameter.is_floating_point() else torch.get_default_dtype()
    return {"device": parameter.device, "dtype": dtype}
