"""Charts as PNG and SVG, for papers, slides and notebooks. vl-convert draws the same specifications as a browser."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ..errors import OutputError
from . import files
from .charts import Chart, charts
from .charts.look import AXIS, CONFIG, SCHEMA, WIDTH

VERSION = "6.4"
"""Of Vega-Lite, as on the page."""

CELL = 200
"""Width of a small panel."""

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


def svg(drawn: Sequence[Chart]) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(_below_each_other(drawn), vl_version=VERSION))


def png(drawn: Sequence[Chart]) -> bytes:
    import vl_convert

    whole = _below_each_other(drawn)
    whole["background"] = "white"
    return bytes(vl_convert.vegalite_to_png(whole, vl_version=VERSION, scale=SHARPNESS))


def _below_each_other(drawn: Sequence[Chart]) -> dict[str, Any]:
    """One specification of all: what belongs to the whole is lifted out of the parts, and nobody hovers over paper."""
    parts = [_still(chart) for chart in drawn]
    datasets = {name: rows for part in parts for name, rows in part.pop("datasets").items()}
    params = [{k: v for k, v in param.items() if k != "bind"} for part in parts for param in part.pop("params", ())]
    for part in parts:
        del part["$schema"], part["config"]
    independent = {"scale": {"color": "independent", "shape": "independent", "x": "independent"}}
    return {
        "$schema": SCHEMA,
        "config": CONFIG,
        "params": params,
        "datasets": datasets,
        "vconcat": parts,
        "spacing": 28,
        "padding": 12,
        "resolve": independent,
    }


def _still(chart: Chart) -> dict[str, Any]:
    made: dict[str, Any] = _without_hovering(copy.deepcopy(chart.spec))
    room = WIDTH - AXIS
    if "facet" in made:
        made["columns"] = room // (CELL + made["spacing"])
        made["spec"]["width"] = CELL
    elif "vconcat" in made:
        for panel in made["vconcat"]:
            panel["width"] = room
    else:
        made["width"] = room
    made["title"] = {"text": chart.title, "fontSize": 15, "offset": 12}
    return made


def _without_hovering(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _without_hovering(value) for key, value in part.items()}
    if isinstance(part, list):
        kept = (item for item in part if not (isinstance(item, dict) and str(item.get("name", "")).endswith("hover")))
        return [_without_hovering(item) for item in kept]
    return part
