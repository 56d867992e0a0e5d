"""What the tool knows: its rules and its remedies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .pen import Blocks, Pen


def rules(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """Each rule with its line, and what to read about it."""
    for rule in document["rules"]:
        yield from _entry(rule["id"], rule, pen)


def remedies(document: Mapping[str, Any], pen: Pen) -> Blocks:
    """Each remedy under the names that `unstick try` takes."""
    for remedy in document["remedies"]:
        yield from _entry(", ".join(remedy["names"]), remedy, pen)


def _entry(name: str, entry: Mapping[str, Any], pen: Pen) -> Blocks:
    yield pen.text(name, "bold cyan")
    yield pen.indented(pen.text(entry["title"]), 4)
    if entry["reading"]:
        yield pen.indented(pen.text(entry["reading"], "dim"), 4)
