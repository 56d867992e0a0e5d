"""Connections around layers, so that the gradient has a way that goes through no activation."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from ..errors import NotApplicable
from ..observation import Observation
from ..setup import Anatomy, Setup
from ..trace.types import Operation, Site, Trace
from .base import Remedy
from .hidden import Calls, activation_lines, hidden_activations, places
from .rewire import Gate, Rewire, placed_like


class Connection(Remedy):
    """Adds the previous hidden value to the output of each hidden activation, where the shapes are equal."""

    @abstractmethod
    def gate(self, rewire: Rewire, setup: Setup, site: Site) -> Gate | None:
        """What the layers' own output is multiplied by; None for 1."""

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        calls = hidden_activations(anatomy.trace)
        sources = _sources(anatomy.trace, calls)
        if not sources:
            raise NotApplicable("no two hidden activations that follow each other have the same shape")
        rewire = Rewire.of(setup)
        if rewire.has_skips():
            raise NotApplicable("another remedy has added residual connections already")
        for site, source in sources.items():
            rewire.connect(site, source, self.gate(rewire, setup, site))
        setup.changes.append(f"{self} connection in {places(len(sources))} of {len(calls)}")

    def lines(self, seen: Observation) -> tuple[str | None, ...]:
        return activation_lines(seen)

    def __str__(self) -> str:
        return self.names[0]


def _sources(trace: Trace, calls: Calls) -> dict[Site, Site]:
    """For each site, the one whose output can be added to its own: the last hidden activation on the way to it, if
    weights lie in between and both have the same shape. An unrolled recurrent cell is its own source: the last step's.
    """
    hidden = {op.index for ops in calls.values() for op in ops}
    latest: list[tuple[int, bool]] = []  # of each operation: last hidden activation behind it, weights since?
    sources: dict[Site, Site] = {}
    for op in trace.operations:
        behind, weights = max((latest[p] for p in op.parents), default=(-1, False))
        if op.index in hidden and op.site is not None:
            source = trace.operations[behind] if behind >= 0 else None
            if source is not None and source.site is not None and weights and _fit(source, op):
                sources.setdefault(op.site, source.site)
            latest.append((op.index, False))
        else:
            latest.append((behind, weights or op.kind == "weights"))
    return sources


def _fit(source: Operation, op: Operation) -> bool:
    return source.shape == op.shape and source.unit_axis == op.unit_axis


@dataclass(frozen=True)
class Residual(Connection):
    names = ("residual",)
    title = "adds the previous hidden value after every hidden activation, where shapes are equal: h + f(h)"
    reading = "He, Zhang, Ren and Sun 2016, arXiv:1512.03385"
    examples = ("residual",)

    def gate(self, rewire: Rewire, setup: Setup, site: Site) -> None:
        return None


@dataclass(frozen=True)
class ReZero(Connection):
    names = ("rezero",)
    title = "residual connections whose branch starts at zero: h + α f(h), with α = 0 to begin with, and learned"
    reading = "Bachlechner et al. 2021, arXiv:2003.04887"
    examples = ("rezero",)

    def gate(self, rewire: Rewire, setup: Setup, site: Site) -> Gate:
        return rewire.add_module(Gate(**placed_like(setup.model, site)))
