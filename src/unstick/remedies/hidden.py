"""The hidden activations of a network, read from its trace."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import NotApplicable
from ..observation import Observation
from ..trace.types import Operation, Site, Trace

Calls = dict[Site, tuple[Operation, ...]]
"""The calls made at each site, in forward order; several where one layer is used more than once."""

FUSED = ("gru", "lstm", "rnn_")
"""How the names of recurrent operations begin, whose activations are computed inside."""


def hidden_activations(trace: Trace) -> Calls:
    """The activations whose output a weighted operation uses; what comes after the last weights is the output's own.

    Raises NotApplicable where there are none.
    """
    used = _used_by_weights(trace.operations)
    calls: Calls = {}
    for op in trace.operations:
        if op.kind == "activation" and op.site is not None and op.index in used:
            calls[op.site] = (*calls.get(op.site, ()), op)
    if not calls:
        raise NotApplicable(_why_none(trace))
    return calls


def activation_lines(seen: Observation) -> tuple[str | None, ...]:
    """Where the hidden activations are, in the user's source; empty where there are none."""
    try:
        calls = hidden_activations(seen.traces[0])
    except NotApplicable:
        return ()
    return tuple(op.source for ops in calls.values() for op in ops)


def depth_of(trace: Trace) -> int:
    """The largest number of hidden activations that one signal passes through."""
    hidden = {op.index for ops in hidden_activations(trace).values() for op in ops}
    depths: list[int] = []
    for op in trace.operations:
        depths.append(max((depths[p] for p in op.parents), default=0) + (op.index in hidden))
    return max(depths)


def _used_by_weights(operations: Sequence[Operation]) -> set[int]:
    """Indices of the operations that some weighted operation is downstream of."""
    used: set[int] = set()
    for op in reversed(operations):
        if op.kind == "weights" or op.index in used:
            used.update(op.parents)
    return used


def _why_none(trace: Trace) -> str:
    inside = next((op for op in trace.operations if op.name.startswith(FUSED)), None)
    if inside is not None:
        return (
            f"the activations are inside {inside.module or inside.name} ({inside.name}), where they cannot be changed"
        )
    return "no hidden activation was seen: the network has no elementwise nonlinearity before its last weights"


def places(count: int) -> str:
    return f"{count} place" + ("" if count == 1 else "s")
