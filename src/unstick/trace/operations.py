"""From the calls that were seen and their numbers to operations."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from . import signals
from .kinds import NORMALISATIONS, REDUCTIONS
from .statistics import Numbers
from .types import Forward, Kind, Operation, Site

UNMEASURED = Forward(float("nan"), float("nan"), float("nan"), float("nan"))

NORM = re.compile(r"Norm(Gated)?(\d?[dD])?$")
"""How the names of classes end that normalise: LayerNorm, LlamaRMSNorm, LayerNorm2d, MambaRMSNormGated."""


@dataclass(slots=True, eq=False)
class Call:
    """What is known of an operation before its numbers are.

    Not an unfinished `Operation`: one is made for each call while the network runs, and making a frozen value takes ten
    times as long.
    """

    module: str | None
    name: str
    kind: Kind
    source: str | None
    shape: tuple[int, ...]
    unit_axis: int
    parents: tuple[int, ...]
    parameter: str | None
    site: Site | None
    dtype: str
    severed: bool
    cut: str | None


def norms_of(model: nn.Module) -> frozenset[str]:
    """Paths of the modules that are normalisations by the names of their classes. Those of torch call a function."""
    classes = ((path, type(module)) for path, module in model.named_modules())
    return frozenset(path for path, c in classes if NORM.search(c.__name__) and not c.__module__.startswith("torch.nn"))


def written_out(calls: Sequence[Call], norms: Collection[str]) -> Iterator[int]:
    """Indices of the operations that are the steps of a normalisation written by hand: square, mean, divide, scale.

    They run in one of the modules `norms`, go back to one signal alone, and one of them takes a mean, or the like, of
    it. What brings in another signal (a residual sum, a gate) is none of them, and what comes after it starts anew.
    """
    entered: dict[int, int] = {}  # step -> the operation that made the signal
    reduced: set[tuple[str | None, int]] = set()
    for index, call in enumerate(calls if norms else ()):
        if call.module not in norms or call.kind not in ("other", "normalisation"):
            continue
        sources = {entered.get(p, p) if calls[p].module == call.module else p for p in call.parents}
        if len(sources) == 1:
            (entered[index],) = sources
            if call.name in REDUCTIONS or call.name in NORMALISATIONS:
                reduced.add((call.module, entered[index]))
    return (index for index, signal in entered.items() if (calls[index].module, signal) in reduced)


def operations(
    calls: Sequence[Call], norms: Collection[str], forwards: Numbers, flats: Numbers, backwards: Numbers
) -> tuple[Operation, ...]:
    """norms: see `norms_of`. Numbers by the index of the call; those that are missing were not measured."""
    for index in written_out(calls, norms):
        calls[index].kind = "normalisation"
    return tuple(
        Operation(
            index=i,
            module=call.module,
            name=call.name,
            kind=call.kind,
            source=call.source,
            shape=call.shape,
            unit_axis=call.unit_axis,
            parents=call.parents,
            parameter=call.parameter,
            site=call.site,
            forward=signals.forward(forwards[i], flats.get(i, ()), call.shape) if i in forwards else UNMEASURED,
            backward=signals.backward(backwards[i]) if i in backwards else None,
            dtype=call.dtype,
            severed=call.severed,
            cut=call.cut,
        )
        for i, call in enumerate(calls)
    )
