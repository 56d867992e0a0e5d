"""Networks that were really trained, by `benchmarks/theory/points.py`, to lay beside what theory says of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Trained:
    """One network: where it is on the map, and what became of it.

    sigma_w: standard deviation of a hidden weight times the root of the layer's inputs. sigma_b: of a hidden bias.
    depth: hidden layers. loss: after training, None where it overflowed. learns: better than the best constant output.
    """

    family: str
    sigma_w: float
    sigma_b: float
    depth: int
    seed: int
    loss: float | None
    accuracy: float
    learns: bool


@dataclass(frozen=True, slots=True)
class Record:
    """made: command, date, versions. settings: data, layers, training and criterion, in words."""

    made: Mapping[str, Any]
    settings: Mapping[str, Any]
    points: tuple[Trained, ...]


@functools.cache
def trained() -> Record:
    """The points that come with the package."""
    document = json.loads(files(__package__).joinpath("trained.json").read_text(encoding="utf-8"))
    points = (Trained(**dict(zip(document["columns"], row, strict=True))) for row in document["points"])
    return Record(document["made"], document["settings"], tuple(points))
