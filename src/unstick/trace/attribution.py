"""Which path the gradient takes through the network, and which kind of operation it is lost in. Numbers only."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal

from .kinds import NORMALISATIONS
from .types import KINDS, Attenuation, Kind, Operation, Trace


def trunk(operations: Sequence[Operation], ends: Sequence[int]) -> tuple[int, ...]:
    """Indices of the hidden operations along the main path, in forward order.

    Walks back from `ends` (the operations that the loss read). Where branches join, it follows the parent that all
    the other parents came through, which is the skip connection of a residual block; where there is none, it follows
    the deepest. The path is then cut to the hidden part: from the output of the first weighted operation to the
    input of the last. Empty where fewer than two weighted operations lie on it.
    """
    family = _Family(operations)

    def follow(choices: Sequence[int]) -> int:
        if len(choices) == 1:
            return choices[0]
        live = [p for p in choices if operations[p].backward is not None] or list(choices)
        for p in live:
            if all(family.ancestors[other] >> p & 1 for other in live if other != p):
                return p
        return max(live, key=lambda p: (family.depth[p], p))

    path: list[int] = []
    choices: Sequence[int] = ends
    while choices:
        path.append(follow(choices))
        choices = operations[path[-1]].parents
    path.reverse()
    weighted = [i for i, p in enumerate(path) if operations[p].kind == "weights"]
    return tuple(path[weighted[0] : weighted[-1]]) if len(weighted) > 1 else ()


class _Family:
    """Who came before whom; worked out only for networks that branch."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations

    @functools.cached_property
    def ancestors(self) -> list[int]:
        """All operations behind each, as bit sets."""
        found: list[int] = []
        for op in self._operations:
            bits = 0
            for parent in op.parents:
                bits |= found[parent] | 1 << parent
            found.append(bits)
        return found

    @functools.cached_property
    def depth(self) -> list[int]:
        found: list[int] = []
        for op in self._operations:
            found.append(1 + max((found[p] for p in op.parents), default=0))
        return found


def attenuation(trace: Trace) -> Attenuation | None:
    """Decades of gradient lost along the trunk of `trace`, and in what. None where nothing can be said.

    Along the trunk h_0, ..., h_K the whole is a telescoping sum of log10(‖δ_i‖ / ‖δ_{i-1}‖), so every term can be
    given to the operation that made h_i from h_{i-1}. Where h_{i-1} is also read elsewhere, δ_{i-1} is a sum over its
    readers, which no single operation answers for: the term is given to "other". A normalisation that is written out
    reads its input several times, for the mean and to divide by it, and answers for the sum.
    """
    ops = trace.hidden
    norms = [op.backward.norm if op.backward else 0.0 for op in ops]
    usable = [0.0 < n < math.inf for n in norms]
    if not ops or not usable[-1]:
        return None
    first = len(ops) - 1
    while first > 0 and usable[first - 1]:
        first -= 1
    readers = _readers(trace.operations)
    parts: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
    terms: list[tuple[int, Kind, float]] = []
    for i in range(first + 1, len(ops)):
        kind: Kind = ops[i].kind if readers[ops[i - 1].index] == 1 else "other"
        lost = math.log10(norms[i]) - math.log10(norms[i - 1])
        parts[kind] += lost
        terms.append((ops[i].index, kind, lost))
    decades = math.log10(norms[-1]) - math.log10(norms[first])
    truncated: Literal["underflow", "overflow"] | None = None
    if first > 0:
        truncated = "underflow" if norms[first - 1] == 0.0 else "overflow"
    return Attenuation(decades, parts, tuple(terms), truncated)


def _readers(operations: Sequence[Operation]) -> list[int]:
    """How many operations that take part in the backward pass read each output. The steps of a normalisation that is
    written out are one."""
    found: list[set[str | int | None]] = [set() for _ in operations]
    for op in operations:
        if op.backward is not None:
            step = op.kind == "normalisation" and op.name not in NORMALISATIONS
            for parent in op.parents:
                found[parent].add(op.module if step else op.index)
    return [len(readers) for readers in found]
