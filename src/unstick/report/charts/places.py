"""Places along the network: an operation or a module each, with the numbers that are drawn of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .look import KINDS, MODULE, cut, short

Document = Mapping[str, Any]
Row = dict[str, Any]

LARGEST = 300.0
"""Decades that a float can hold."""


def operations(layers: Sequence[Document], path: Sequence[Document]) -> list[Row]:
    """One row for each operation, in forward order."""
    trunk = {place["index"]: place for place in path if "index" in place}
    behind = _lost_behind(path)
    ends = [place["index"] for place in path if "index" in place]
    until = dict(zip(ends, [*ends[1:], ends[-1] + 1] if ends else [], strict=True))
    rows = []
    for index, layer in enumerate(layers):
        forward, backward, place = layer.get("forward") or {}, layer.get("backward") or {}, trunk.get(index, {})
        expected = place.get("expected")
        rows.append(
            {
                "level": "operations",
                "trunk": not ends or index in until or not ends[0] < index < ends[-1],
                "place": index,
                "start": index,
                "end": index + 1,
                "until": until.get(index, index),
                "name": "loss" if layer.get("module") is None else short(str(layer["module"] or "(model)")),
                "op": short(str(layer.get("op", ""))),
                "kind": layer.get("kind") if layer.get("kind") in KINDS else "other",
                "source": short(str(layer.get("source") or ""), 80),
                "shape": " × ".join(map(str, layer.get("shape") or ())),
                "forward": cut(forward.get("rms")),
                "between": cut(forward.get("between")),
                "gradient": cut(backward.get("norm")),
                "expected": None if expected is None else cut(10.0 ** min(expected, LARGEST)),
                "lost": cut(place.get("lost")),
                **{kind: cut(lost) for kind, lost in behind.get(index, {}).items()},
            }
        )
    return [{key: value for key, value in row.items() if value not in (None, "")} for row in rows]


def _lost_behind(path: Sequence[Document]) -> dict[int, dict[str, float]]:
    """Of each operation on the trunk: the decades that are lost on the way back to its output, by kind."""
    lost = dict.fromkeys(KINDS, 0.0)
    found = {}
    for place in reversed(path):
        if "index" in place:
            found[place["index"]] = dict(lost)
        if place.get("lost") is None or place.get("lost_in") not in KINDS:
            break  # the first of the trunk, or the gradient cannot be followed any further
        lost[place["lost_in"]] += place["lost"]
    return found


def gathered(name: str, members: Sequence[Row]) -> Row:
    """A module as one place: what it passes on, and what comes back through all of it."""
    first, last = members[0], members[-1]
    trunk = [row for row in members if any(kind in row for kind in KINDS)]
    back = next((row["gradient"] for row in (*trunk, first) if "gradient" in row), None)
    lost = [row["lost"] for row in members if "lost" in row]
    ends = {key: trunk[0][key] for key in (*KINDS, "expected") if trunk and key in trunk[0]}
    ahead: Row = {key: last[key] for key in ("forward", "between", "shape") if key in last}
    return {
        "level": "groups",
        "trunk": True,
        "place": first["place"],
        "start": first["start"],
        "end": last["end"],
        "until": last["end"] if trunk else first["start"],
        "name": short(name),
        "op": f"{len(members)} operations" if len(members) > 1 else first["op"],
        "kind": first["kind"] if len(members) == 1 else MODULE,
        **ahead,
        **({} if back is None else {"gradient": back}),
        **({"lost": cut(sum(lost))} if lost else {}),
        **ends,
    }
