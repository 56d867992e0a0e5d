"""A normalisation beside each activation: an item of the list that a Sequential is made of, or a call in `forward`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from ..errors import NotApplicable
from ..remedies.base import Remedy
from ..remedies.normalisation import Normalisation
from ..trace.types import Operation
from .forwards import around, attribute_of, uses
from .names import spelled
from .places import Found, find, places
from .script import Script
from .sequences import beside
from .source import Cannot

BATCH = {(2, 1): "BatchNorm1d", (3, 1): "BatchNorm1d", (4, 1): "BatchNorm2d", (5, 1): "BatchNorm3d"}
"""By the number of axes of a signal and the axis of its units."""


def express_normalisation(remedy: Remedy, script: Script) -> Iterator[str]:
    """Yields what is missing."""
    normalisation = cast(Normalisation, remedy)
    try:
        ops = [op for found in normalisation.sites(script.trace).values() for op in found]
    except NotApplicable as reason:
        yield script.missing(remedy, str(reason), [])
        return
    wanted = frozenset(op.index for op in ops)
    for place in places(ops):
        try:
            with script.sources.together():
                _insert(normalisation, place.ops, find(place, wanted, script))
        except Cannot as reason:
            lines = _by_hand(normalisation, place.ops[0])
            yield script.missing(remedy, f"{place.label} gets none, because {reason}", lines)


def _insert(remedy: Normalisation, ops: tuple[Operation, ...], found: Found) -> None:
    nn, before = spelled(found.file, "torch.nn"), remedy.side == "before"

    def layer(some: tuple[Operation, ...], written: str | None = None) -> str:
        return f"{nn}.{_layer(remedy, some, written)}"

    attribute = attribute_of(found)
    if found.kind != "class":
        around(found, found.calls, ops, layer, before)
    elif attribute is not None:
        around(found, uses(found, attribute, ops), ops, layer, before)
    else:
        for call in found.calls:
            beside(found.file, call, ops, layer, before)


def _layer(remedy: Normalisation, ops: tuple[Operation, ...], written: str | None) -> str:
    """A layer for these signals. Its width as it is written; else the number that was seen. Raises Cannot."""
    kinds = {_kind(remedy, op) for op in ops}
    widths = {op.shape[op.unit_axis] for op in ops}
    if len(kinds) > 1:
        raise Cannot("its signals have different shapes")
    if len(widths) > 1 and written is None:
        raise Cannot("its width differs between the places that it makes")
    return f"{kinds.pop()}{widths.pop() if written is None else written})"


def _kind(remedy: Normalisation, op: Operation) -> str:
    """The class, and what stands before its width. Raises Cannot."""
    dims, axis = len(op.shape), op.unit_axis
    if remedy.function == "layer_norm":
        return "LayerNorm(" if axis == dims - 1 else "GroupNorm(1, "
    if (dims, axis) not in BATCH:
        raise Cannot(f"PyTorch has no batch normalisation for units on axis {axis} of {dims}")
    return BATCH[dims, axis] + "("


def _by_hand(remedy: Normalisation, op: Operation) -> list[str]:
    width = op.shape[op.unit_axis]
    try:
        made, use = f"torch.nn.{_kind(remedy, op)}{width})", "self.norm(x)"
    except Cannot:
        made = f"torch.nn.BatchNorm1d({width})"
        use = f"self.norm(x.movedim({op.unit_axis}, -1).flatten(0, -2)).view_as(x.movedim({op.unit_axis}, -1))"
        use += f".movedim(-1, {op.unit_axis})"
    where = "before" if remedy.side == "before" else "behind"
    return [
        f"self.norm = {made}  # in __init__, one for each place",
        f"x = {use}  # in forward, {where} the activation",
    ]
