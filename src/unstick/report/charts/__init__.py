"""The charts of a report, each made from the dictionary that the report gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .look import Chart
from .network import network
from .trials import gradients, loss, losses

__all__ = ["Chart", "charts"]


def charts(document: Mapping[str, Any]) -> tuple[Chart, ...]:
    """The main charts of a diagnosis, of trials, of an answer or of a demo; none for what has no numbers to draw."""
    match document.get("schema"):
        case "unstick/diagnosis/1":
            made = [network(document), loss(document)]
        case "unstick/trials/1":
            made = [losses(document), gradients(document), network(document["baseline"])]
        case "unstick/answer/1":
            made = list(charts(document["trials"]))
        case "unstick/demo/1":
            made = [*charts(document["diagnosis"]), losses(document["trials"]), gradients(document["trials"])]
        case _:
            made = []
    return tuple(chart for chart in made if chart is not None)
