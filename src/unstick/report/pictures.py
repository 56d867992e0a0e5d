"""Charts as PNG and SVG, for papers, slides and notebooks. vl-convert draws the same specifications as a browser."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ..errors import OutputError
from . import files
from .charts import Chart, charts
from .charts.look import AXIS, WIDTH

VERSION = "6.4"
"""Of Vega-Lite, as on the page."""

CELL = 200
"""Width of a small panel."""

WIDE, GAP = WIDTH + 160, 24
"""Of the whole picture: names beside a chart take room, too."""

SHARPNESS = 2
"""Pixels of a PNG for each of the picture's own."""


def possible() -> bool:
    return find_spec("vl_convert") is not None


def check(option: str, name: str) -> None:
    """Raises OutputError where a picture could not be written into a file of that name."""
    files.check(option, name)
    if not possible():
        raise OutputError(f"{option} draws with vl-convert, which is missing: pip install 'unstick[plots]'.")


def write(option: str, name: str, document: Mapping[str, Any]) -> None:
    """The main charts of a report, one below the other. Raises OutputError where there are none, see `check`, too."""
    drawn = charts(document)
    if not drawn:
        raise OutputError(f"{option} {name}: this report has no charts; --html writes what it has.")
    files.write(option, name, png(drawn) if option == "--png" else svg(drawn))


def svg(drawn: Sequence[Chart], titled: bool = True) -> str:
    """All charts in one picture, each as an SVG of its own inside of it. titled: with a title over each."""
    import vl_convert

    parts, top = [], float(GAP)
    for chart in drawn:
        one = str(vl_convert.vegalite_to_svg(_still(chart, titled), vl_version=VERSION))
        parts.append(one.replace("<svg ", f'<svg x="{GAP}" y="{top:g}" ', 1))
        top += _height(one) + GAP
    room = f'width="{WIDE}" height="{top:g}" viewBox="0 0 {WIDE} {top:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {room}>{"".join(parts)}</svg>'


def png(drawn: Sequence[Chart]) -> bytes:
    import vl_convert

    paper = svg(drawn).replace(">", '><rect width="100%" height="100%" fill="white"/>', 1)
    return bytes(vl_convert.svg_to_png(paper, scale=SHARPNESS))


def _height(picture: str) -> float:
    found = re.search(r'<svg[^>]*? height="([\d.]+)"', picture)
    assert found is not None, picture[:200]
    return float(found[1])


def _still(chart: Chart, titled: bool) -> dict[str, Any]:
    """The specification for a place as wide as the picture; nobody hovers over paper, or chooses on it."""
    made: dict[str, Any] = _without_hovering(copy.deepcopy(chart.spec))
    room = WIDTH - AXIS
    if "facet" in made:
        made["columns"] = room // (CELL + made["spacing"])
        made["spec"]["width"] = CELL
    elif "vconcat" in made:
        for panel in made["vconcat"]:
            panel["width"] = room
    else:
        made.update(width=WIDTH, autosize={"type": "fit-x", "contains": "padding"})  # long names take from the drawing
    if titled:
        made["title"] = {"text": chart.title, "fontSize": 15, "offset": 12}
    return made


def _without_hovering(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _without_hovering(value) for key, value in part.items()}
    if isinstance(part, list):
        kept = (item for item in part if not (isinstance(item, dict) and str(item.get("name", "")).endswith("hover")))
        return [_without_hovering(item) for item in kept]
    return part
