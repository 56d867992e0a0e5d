"""What all charts share: sizes, colours, and how numbers are cut to what a picture can show.

Charts are Vega-Lite specifications, which are plain data: a browser draws them in the HTML page, and vl-convert draws
the same ones into PNG and SVG files. Text and axes have the colour of the page around them ("currentColor"), so that
light and dark pages and paper need no second picture. The other colours have a contrast of three to one, both to white
and to the dark page's ground, and are told apart with any kind of colour vision (Okabe and Ito 2008); shapes, dashes
and words say the same once more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

BLUE, VERMILION, GREEN, PURPLE, GREY = "#1a80bb", "#d55e00", "#009e73", "#a6618a", "#808080"
INK = "currentColor"

KINDS = {"activation": VERMILION, "weights": BLUE, "normalisation": GREEN, "other": GREY}
MODULE = "whole module"
LOOKS = {
    "activation": (VERMILION, "circle"),
    "weights": (BLUE, "square"),
    "normalisation": (GREEN, "diamond"),
    "other": (GREY, "cross"),
    MODULE: (PURPLE, "triangle-up"),
}
"""Of each kind of operation, and of several that are drawn as one."""

WIDTH = 900
"""Of static pictures, in pixels; on a page, charts are as wide as their place."""

AXIS = 44
"""Pixels that an axis and its title take at the side, the same in all panels so that they lie below each other."""

ONCE: dict[str, Any] = {"values": [{}]}
"""Data for a line at a fixed place, which would be drawn once for each row otherwise: as often, and as dark."""

CONFIG: dict[str, Any] = {
    "aria": False,  # a screen reader gets the chart's sentence and its numbers as a table, not a thousand marks
    "background": None,
    "font": "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "text": {"color": INK},
    "rule": {"color": INK},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "domainColor": INK,
        "domainOpacity": 0.4,
        "tickColor": INK,
        "tickOpacity": 0.4,
        "gridColor": INK,
        "gridOpacity": 0.12,
        "labelFontSize": 11,
        "titleFontSize": 12,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": INK,
        "orient": "top",
        "title": None,
        "labelFontSize": 12,
        "symbolStrokeWidth": 2,
    },
    "title": {"color": INK, "anchor": "start", "fontSize": 12, "fontWeight": "normal", "offset": 8},
    "header": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12},
}


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture. id: its name on a page. title: what it shows; says: the same for who cannot see it, with numbers.

    spec: Vega-Lite. A `width` of "container" stands for what there is; a facet's "columns", its panels, for as many as
    fit.
    dataset, columns: the numbers behind it as a table, as (field, heading).
    """

    id: str
    title: str
    says: str
    spec: dict[str, Any]
    dataset: str
    columns: tuple[tuple[str, str], ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What is drawn, one by one: of what is also drawn as a group, the members."""
        return [row for row in self.spec["datasets"][self.dataset] if row.get("level") != "groups"]


def spec(**fields: Any) -> dict[str, Any]:
    return {"$schema": SCHEMA, "config": CONFIG, **fields}


LARGEST = 1e300
"""A number beyond it is not drawn: neither its four digits nor the sum of a few of them need be finite."""


def cut(value: Any) -> float | None:
    """A number with the four digits that a picture can show; None for what is none."""
    if not isinstance(value, int | float) or not abs(value) <= LARGEST:
        return None
    return float(f"{value:.4g}")


def short(text: str, most: int = 48) -> str:
    """A name as it fits into a picture; tables have the whole."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def distinct(names: Sequence[str]) -> list[str]:
    """What is cut short may have become the same; a number tells it apart."""
    counts = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({count + 1})" if count else name for name, count in zip(names, counts, strict=True)]


def decades(low: float, high: float, least: float = 3.0) -> tuple[float, float]:
    """Whole decades around both, at least so many: what hardly differs shall look alike."""
    bottom, top = math.floor(low), math.ceil(high)
    missing = max(0.0, least - (top - bottom))
    return bottom - math.ceil(missing / 2), top + math.floor(missing / 2)
