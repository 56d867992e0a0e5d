"""Operations of a large network gathered by module, so that a thousand of them can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

FEWEST, MOST = 8, 80
"""Groups that say something of a network, and that can be told apart on a page, also on that of a telephone."""


def grouped(layers: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """(name, start, end) of neighbours in the forward order that belong to the same module.

    Modules are looked at from outside: the first depth at which FEWEST of them have names of their own is taken, since
    in a residual network "blocks" and the additions after each may take turns a hundred times. Where the groups are too
    many, neighbours are joined.
    """
    paths = [("loss",) if layer.get("module") is None else _path(layer) for layer in layers]
    deepest = max(map(len, paths), default=0)
    runs: list[tuple[str, int, int]] = []
    for depth in range(1, deepest + 1):
        runs = _runs([path[:depth] for path in paths])
        if len({name for name, *_ in runs}) >= FEWEST:
            break
    return _joined(runs)


def _path(layer: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(layer["module"]).split(".")) if layer["module"] else (str(layer.get("op", "")),)


def _runs(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, int, int]]:
    found, start = [], 0
    for path, members in groupby(paths):
        end = start + len(list(members))
        found.append((".".join(path), start, end))
        start = end
    return found


def _joined(runs: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    size = -(-len(runs) // MOST)
    if size <= 1:
        return runs
    parts = [runs[i : i + size] for i in range(0, len(runs), size)]
    return [
        (part[0][0] if len(part) == 1 else f"{part[0][0]} … {part[-1][0]}", part[0][1], part[-1][2]) for part in parts
    ]
