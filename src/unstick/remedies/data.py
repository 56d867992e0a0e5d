"""Remedies for what goes into the network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NotApplicable
from ..learning import buffers_kept
from ..setup import Anatomy, Setup
from ..state import preserved
from ..trace.types import Trace
from .base import Remedy

Key = tuple[str | int, ...]
"""The way to a tensor among the arguments: (0,) the first, ("image",) by keyword, (0, "ids") inside a dict."""


@dataclass(frozen=True)
class Affine:
    """Means and standard deviations of the features of one input, shaped to be broadcast with it."""

    mean: Tensor
    std: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean.to(x)) / self.std.to(x)


@dataclass(frozen=True)
class Standardize(Remedy):
    """Shifts and scales each feature of the input to mean 0 and variance 1, as measured on the first batches.

    A feature is a column of (n, d), a channel of images or of anything that a convolution reads first, and an entry
    of the last axis of (n, time, d). Features that do not vary are only centred. Integer inputs stay as they are.
    """

    names = ("standardize", "standardise")
    title = "inputs with mean 0 and variance 1, feature by feature"
    reading = "LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, doi:10.1007/3-540-49430-8_2"
    examples = ("standardize",)

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        seen = _inputs_seen(setup, anatomy)
        if not seen:
            raise NotApplicable(
                "no floating-point tensor is given to the model's forward, so nothing can be standardised"
            )
        convolution = _starts_with_convolution(anatomy.trace)
        affine = {key: _statistics(tensors, convolution) for key, tensors in seen.items()}

        def standardise(key: Key, x: Tensor) -> Tensor:
            return affine[key](x) if key in affine else x

        _before_forward(setup.model, standardise)
        setup.changes.append(f"standardised {len(affine)} input{'' if len(affine) == 1 else 's'}")

    def __str__(self) -> str:
        return self.names[0]


def _inputs_seen(setup: Setup, anatomy: Anatomy) -> dict[Key, list[Tensor]]:
    """The floating-point tensors that the model is given on the batches, by their place among its arguments."""
    seen: dict[Key, list[Tensor]] = defaultdict(list)

    def remember(key: Key, x: Tensor) -> Tensor:
        seen[key].append(x.detach().clone())
        return x

    handle = _before_forward(setup.model, remember)
    try:
        with preserved(), buffers_kept(setup.model):
            for batch in anatomy.batches:
                setup.forward(batch)
    finally:
        handle.remove()
    return seen


def _before_forward(model: nn.Module, function: Callable[[Key, Tensor], Tensor]) -> Any:
    """Pass each floating-point tensor among the model's arguments through `function`. Returns the hook's handle."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return _mapped(args, (), function), _mapped(kwargs, (), function)

    return model.register_forward_pre_hook(hook, with_kwargs=True)


def _mapped(value: Any, key: Key, function: Callable[[Key, Tensor], Tensor]) -> Any:
    """`value` with its floating-point tensors replaced, however deep in tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return function(key, value) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        mapped = {k: _mapped(v, (*key, k), function) for k, v in value.items()}
        return mapped if type(value) is dict else type(value)(mapped)  # type: ignore[call-arg]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*_items(value, key, function))
    if isinstance(value, tuple | list):
        return type(value)(_items(value, key, function))
    return value


def _items(values: Any, key: Key, function: Callable[[Key, Tensor], Tensor]) -> Iterator[Any]:
    return (_mapped(v, (*key, i), function) for i, v in enumerate(values))


def _starts_with_convolution(trace: Trace) -> bool:
    first = next((op for op in trace.operations if op.kind == "weights"), None)
    return first is not None and first.name.startswith("conv")


def _statistics(tensors: list[Tensor], convolution: bool) -> Affine:
    """Over all entries of each feature, in double precision."""
    dims = tensors[0].dim()
    axis = 1 if dims >= 4 or dims == 2 or (convolution and dims == 3) else dims - 1
    if dims < 2:
        rows, shape = torch.cat([t.reshape(-1, 1) for t in tensors]), (1,) * dims
    else:
        rows = torch.cat([t.movedim(axis, -1).reshape(-1, t.shape[axis]) for t in tensors])
        shape = tuple(-1 if i == axis else 1 for i in range(dims))
    rows = rows.double()
    mean, std = rows.mean(0), rows.std(0, correction=0)
    varies = std > torch.finfo(tensors[0].dtype).eps * mean.abs()  # else its spread is rounding
    return Affine(mean.reshape(shape), torch.where(varies, std, 1.0).reshape(shape))
