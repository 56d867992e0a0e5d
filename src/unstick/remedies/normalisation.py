"""Batch and layer normalisation, before or after every hidden activation."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import batch_norm

from ..errors import NotApplicable, RemedyError
from ..observation import Observation
from ..setup import Anatomy, Setup
from ..trace.types import Operation, Trace
from .base import Remedy
from .hidden import Calls, activation_lines, hidden_activations, places
from .rewire import Rewire, placed_like
from .values import arguments


class BatchNormOver(nn.BatchNorm1d):
    """Batch normalisation of units that lie along any axis: (n, d), (n, c, height, width), (n, time, d) ...

    axis: negative, so counted from the last. All other axes are averaged over, which gives the same numbers as
    BatchNorm1d, BatchNorm2d and BatchNorm3d on the layouts that those are made for.
    """

    def __init__(self, units: int, axis: int, **placement: Any) -> None:
        super().__init__(units, **placement)
        self.axis = axis

    def forward(self, input: Tensor) -> Tensor:
        # As (samples, units, positions) without a change of layout: a `view` that follows must still be possible.
        flat = input.reshape(-1, self.num_features, math.prod(input.shape[self.axis :][1:]))
        if self.training and flat.numel() == self.num_features:  # a last batch of one sample has no variance
            normalised = batch_norm(flat, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        else:
            normalised = super().forward(flat)
        return normalised.reshape(input.shape)


class Normalisation(Remedy):
    """A fresh normalisation layer, with a scale and a shift of its own, at each hidden activation."""

    function: ClassVar[str]  # as torch names it
    side: str

    @abstractmethod
    def layer(self, op: Operation, **placement: Any) -> nn.Module:
        """A new layer for signals like this operation's output."""

    def check(self, calls: Calls) -> None:
        """Raise NotApplicable where the shapes do not allow it."""

    def __post_init__(self) -> None:
        if self.side not in ("before", "after"):
            raise RemedyError(f"{self.names[0]} goes before or after the activation, not {self.side!r}")

    def sites(self, trace: Trace) -> Calls:
        """The hidden activations that get one. Raises NotApplicable where there are none."""
        calls = _of_constant_width(hidden_activations(trace))
        if not calls:
            raise NotApplicable("no hidden activation has samples and a fixed number of units to normalise")
        normalised = _normalised(trace, self.function, self.side)
        calls = {site: ops for site, ops in calls.items() if not all(op.index in normalised for op in ops)}
        if not calls:
            raise NotApplicable(f"every hidden activation has {self.function} {self.side} it already")
        return calls

    def apply(self, setup: Setup, anatomy: Anatomy) -> None:
        calls = self.sites(anatomy.trace)
        self.check(calls)
        rewire = Rewire.of(setup)
        for site, ops in calls.items():
            layer = rewire.add_module(self.layer(ops[0], **placed_like(setup.model, site)))
            # Not the layer itself: called as a module, it would count as a place of its own in a trace.
            (rewire.at(site).before if self.side == "before" else rewire.at(site).after).append(layer.forward)
        setup.changes.append(f"{self.function} {self.side} the activation in {places(len(calls))}")

    def lines(self, seen: Observation) -> tuple[str | None, ...]:
        return activation_lines(seen)

    def __str__(self) -> str:
        return self.names[0] + (arguments("after") if self.side == "after" else "")


def _of_constant_width(calls: Calls) -> Calls:
    """The sites whose calls have samples, and the same number of units along the same axis, counted from the last."""
    return {
        site: ops
        for site, ops in calls.items()
        if all(len(op.shape) > 1 for op in ops) and len({(_axis(op), _units(op)) for op in ops}) == 1
    }


def _axis(op: Operation) -> int:
    return op.unit_axis - len(op.shape)


def _units(op: Operation) -> int:
    return op.shape[op.unit_axis]


def _normalised(trace: Trace, function: str, side: str) -> set[int]:
    """Indices of the operations that have this normalisation right before or after them."""
    found: set[int] = set()
    for op in trace.operations:
        for parent in op.parents:
            if side == "before" and trace.operations[parent].name == function:
                found.add(op.index)
            if side == "after" and op.name == function:
                found.add(parent)
    return found


@dataclass(frozen=True)
class BatchNorm(Normalisation):
    names = ("batchnorm", "batch-norm", "bn")
    title = "batch normalisation before (or after) every hidden activation"
    reading = "Ioffe and Szegedy 2015, arXiv:1502.03167; Yang et al. 2019, arXiv:1902.08129, on its gradients"
    examples = ("batchnorm", "batchnorm(after)")
    function = "batch_norm"

    side: str = "before"

    def check(self, calls: Calls) -> None:
        if min(op.shape[0] for ops in calls.values() for op in ops) < 2:
            raise NotApplicable("batch normalisation needs more than one sample in a batch")

    def layer(self, op: Operation, **placement: Any) -> nn.Module:
        return BatchNormOver(_units(op), _axis(op), **placement)


@dataclass(frozen=True)
class LayerNorm(Normalisation):
    """Over all units of one sample: with channels first, over height and width too (a group norm of one group)."""

    names = ("layernorm", "layer-norm", "ln")
    title = "layer normalisation before (or after) every hidden activation"
    reading = "Ba, Kiros and Hinton 2016, arXiv:1607.06450"
    examples = ("layernorm", "layernorm(after)")
    function = "layer_norm"

    side: str = "before"

    def layer(self, op: Operation, **placement: Any) -> nn.Module:
        return nn.LayerNorm(_units(op), **placement) if _axis(op) == -1 else nn.GroupNorm(1, _units(op), **placement)
