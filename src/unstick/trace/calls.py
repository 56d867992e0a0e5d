"""What a call of a torch function is: told from its name, and from its arguments where these decide."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from .kinds import ACTIVATIONS, ALIASES, FROZEN_NORM, NORMALISATIONS, PRODUCTS, SHAPE_ONLY, SILENT, WEIGHTED, Flat
from .types import Kind

LAST = 1 << 10  # as an axis: the last one

# Position of `inplace` among the positional arguments, for functions that torch.nn calls that way.
INPLACE_POSITION: Mapping[str, int] = {
    "dropout": 3, "alpha_dropout": 3, "dropout1d": 3, "dropout2d": 3, "dropout3d": 3, "feature_alpha_dropout": 3,
    "hardtanh": 3, "threshold": 3, "rrelu": 4, "elu": 2, "celu": 2, "leaky_relu": 2,
    "relu": 1, "relu6": 1, "selu": 1, "silu": 1, "mish": 1, "hardswish": 1, "hardsigmoid": 1,
}  # fmt: skip


def is_inplace(raw: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Whether a call named `raw` overwrites its first argument."""
    if raw == "__setitem__" or (raw.endswith("_") and not raw.endswith("__")):  # `x += y` arrives as `add_`
        return True
    if kwargs.get("inplace") is True:
        return True
    position = INPLACE_POSITION.get(raw)
    return position is not None and len(args) > position and args[position] is True


# Names and defaults of the second and third argument. The first is the signal, and above and below them it is cut off.
BOUNDS: Mapping[str, tuple[tuple[str, float | None], tuple[str, float | None]]] = {
    "hardtanh": (("min_val", -1.0), ("max_val", 1.0)),
    "clamp": (("min", None), ("max", None)),
    "clip": (("min", None), ("max", None)),
    "clamp_min": (("min", None), ("max", None)),
}
CUTS: Mapping[tuple[float, float | None], str] = {(0, None): "relu", (0, 6): "relu6", (-1, 1): "hardtanh"}
"""Activations that do nothing but cut the signal off at these bounds. Elsewhere a clamp is a guard, of a logarithm or
of a variance, and no activation."""


class Function(NamedTuple):
    """What the name of a torch function tells. raw: with the underscore of in-place forms. maybe_inplace: see
    `is_inplace`. silent, hidden: no operation of its own. product: weighted where a factor is a parameter. units: the
    axis of units, if it is known. undecided: what it is depends on its arguments (see `called`)."""

    raw: str
    name: str
    maybe_inplace: bool
    silent: bool
    hidden: bool
    kind: Kind
    product: bool
    units: int | None
    flat: Flat | None
    undecided: bool


@functools.cache
def facts(raw: str) -> Function:
    name = raw if raw.endswith("__") else raw.rstrip("_")
    name = ALIASES.get(name, name)
    kind: Kind = "other"
    if name in ACTIVATIONS:
        kind = "activation"
    elif name in NORMALISATIONS:
        kind = "normalisation"
    elif name in WEIGHTED:
        kind = "weights"
    units = None
    if name.startswith("conv"):
        units = 1
    elif name in WEIGHTED or name in PRODUCTS or name == "layer_norm":
        units = LAST
    silent = raw in SILENT
    hidden = silent or name in SHAPE_ONLY
    maybe_inplace = not silent and (raw in INPLACE_POSITION or raw.endswith("_"))
    flat, undecided = ACTIVATIONS.get(name), name in BOUNDS or name == "batch_norm"
    return Function(raw, name, maybe_inplace, silent, hidden, kind, name in PRODUCTS, units, flat, undecided)


def called(raw: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Function:
    """What a call is, told from its name, and from its arguments where these decide."""
    found = facts(raw)
    if not found.undecided:
        return found
    if found.name == "batch_norm":
        return facts(FROZEN_NORM) if _uses_running_averages(args, kwargs) else found
    low, high = (
        args[i] if len(args) > i else kwargs.get(name, default)
        for i, (name, default) in enumerate(BOUNDS[found.name], start=1)
    )
    numbers = isinstance(low, int | float) and isinstance(high, int | float | None)  # they may be tensors
    return _cut(raw, low, high) if numbers else found


@functools.lru_cache(maxsize=256)  # bounds may be other ones in each step
def _cut(raw: str, low: float, high: float | None) -> Function:
    found = facts(raw)
    name = CUTS.get((low, high))
    if name is not None:
        return found._replace(name=name, kind="activation", flat=ACTIVATIONS[name])
    if found.kind != "activation" or high is None:
        return found
    # bfloat16 stores the bounds with an error of up to 1/512 of them.
    return found._replace(flat=Flat(low + abs(low) / 512, high - abs(high) / 512))


def _uses_running_averages(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a batch normalisation is in evaluation mode: an affine map, which does not look at the batch."""
    # The position is the same in `F.batch_norm` and in `torch.batch_norm`.
    training = args[5] if len(args) > 5 else kwargs.get("training", False)
    return training is False
