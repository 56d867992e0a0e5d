"""The network as a strip of operations from input to loss: the signal on its way forward, the gradient on its way back,
what theory expects of it, and which kinds of operation it is lost in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..style import plural
from .groups import grouped
from .look import AXIS, INK, KINDS, LOOKS, MODULE, ONCE, PURPLE, Chart, decades, short, spec
from .places import gathered, operations

Document = Mapping[str, Any]
Row = dict[str, Any]

TOOLTIP = (
    ("name", "module"),
    ("op", "operation"),
    ("source", "line"),
    ("shape", "shape"),
    ("forward", "signal, rms"),
    ("between", "of it, between samples"),
    ("gradient", "gradient norm"),
    ("expected", "theory expects"),
    ("lost", "decades lost here"),
)
COLUMNS = (("place", "#"), TOOLTIP[0], ("op", "operation"), ("kind", "kind"), *TOOLTIP[2:])

MANY = 120
"""More operations than this are first shown module by module."""

SEEN = "datum.level == level && datum.end > from && datum.start < to"
ACROSS: dict[str, Any] = {
    "type": "quantitative",
    "scale": {"domain": [{"expr": "from"}, {"expr": "to"}], "nice": False, "zero": False},
    "axis": None,
}


def network(document: Document) -> Chart | None:
    """None where no operation was seen. `document`: a diagnosis, or what trials say of the unchanged network."""
    layers, path = document.get("layers") or (), document.get("path") or ()
    if not layers:
        return None
    single = operations(layers, path)
    groups = grouped(layers)
    many = len(layers) > MANY
    rows = [*single, *(gathered(name, single[start:end]) for name, start, end in groups)] if many else single
    parts = _parts(groups, len(layers)) if many else [("every operation", 0, len(layers), "operations")]
    return Chart(
        id="network",
        title="The signal on its way forward, the gradient on its way back",
        says=_says(document, layers),
        spec=spec(
            params=_params(parts),
            datasets={"network": rows},
            data={"name": "network"},
            transform=[{"filter": SEEN}],
            vconcat=_panels(rows),
            spacing=10,
            resolve={"scale": {"x": "shared", "color": "independent", "shape": "independent"}},
        ),
        dataset="network",
        columns=COLUMNS,
    )


def _parts(groups: Sequence[tuple[str, int, int]], count: int) -> list[tuple[str, int, int, str]]:
    """What can be looked at: (name, start, end, level)."""
    whole = [("the whole network, by module", 0, count, "groups"), ("every operation", 0, count, "operations")]
    return [*whole, *((short(name), start, end, "operations") for name, start, end in groups if end - start > 1)]


def _params(parts: Sequence[tuple[str, int, int, str]]) -> list[dict[str, Any]]:
    """The part that is shown can be chosen where there is a choice, with the mouse or the keyboard."""
    labels = [name for name, *_ in parts]
    choice = {"input": "select", "options": list(range(len(parts))), "labels": labels, "name": "Show "}
    return [
        {"name": "parts", "value": [list(part[1:]) for part in parts]},
        {"name": "part", "value": 0, **({"bind": choice} if len(parts) > 1 else {})},
        {"name": "from", "expr": "parts[part][0]"},
        {"name": "to", "expr": "parts[part][1]"},
        {"name": "level", "expr": "parts[part][2]"},
    ]


def _panels(rows: Sequence[Row]) -> list[dict[str, Any]]:
    panels = [_signal(rows, "forward", "signal going forward, rms", 120, []), _lane(rows), _gradient(rows)]
    return [*panels, _lost(rows)] if any(row.get(kind) for row in rows for kind in KINDS) else panels


def _look(rows: Sequence[Row], part: int, field: str = "kind", **legend: Any) -> dict[str, Any]:
    """Colour (part 0) or shape (part 1) by the kind of operation. With no `legend`, there is none."""
    kinds = [*KINDS, MODULE] if any(row["kind"] == MODULE for row in rows) else [*KINDS]
    scale = {"domain": kinds, "range": [LOOKS[kind][part] for kind in kinds]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend or None}


def _signal(rows: Sequence[Row], field: str, title: str, height: int, more: list[dict[str, Any]]) -> dict[str, Any]:
    """Decades of one number along the network: a line, a mark for each operation, and its numbers on hovering."""
    known = [math.log10(row[name]) for row in rows for name in (field, "expected") if row.get(name, 0) > 0]
    own = [math.log10(row[field]) for row in rows if row.get(field, 0) > 0]
    shown = known if field == "gradient" else own
    low, high = decades(min(shown, default=0.0), max(shown, default=0.0))
    axis = {
        "title": None,
        "labelExpr": "'1e' + format(datum.value, '+d')",
        "tickMinStep": 1,
        "tickCount": 6,
        "minExtent": AXIS,
        "maxExtent": AXIS,
    }
    up = {"field": "value", "type": "quantitative", "axis": axis, "scale": {"domain": [low, high], "zero": False}}
    x = {"field": "middle", **ACROSS}
    values = [
        {"calculate": "(datum.start + datum.end) / 2", "as": "middle"},
        {"calculate": f"datum.{field} > 0 ? log(datum.{field}) / LN10 : null", "as": "value"},
    ]
    legend: dict[str, Any] = {"columns": {"expr": "width < 420 ? 3 : 5"}} if field == "forward" else {}
    gone = _gone(rows, field)
    return {
        "title": title + (" (▽: exactly zero)" if gone else ""),
        "width": "container",
        "height": height,
        "transform": values,
        "layer": [
            {
                "name": f"{field}-line",
                "transform": [{"filter": "datum.trunk"}],
                "mark": {"type": "line", "color": INK, "opacity": 0.5, "strokeWidth": 1.5, "strokeJoin": "round"},
                "encoding": {"x": x, "y": up, "order": {"field": "place"}},
            },
            {
                "name": f"{field}-points",
                "transform": [{"filter": "isValid(datum.value)"}],
                "mark": {
                    "type": "point",
                    "filled": True,
                    "opacity": 1,
                    "size": {"expr": SIZE},
                },
                "encoding": {"x": x, "y": up, "color": _look(rows, 0, **legend), "shape": _look(rows, 1, **legend)},
            },
            *more,
            *gone,
            _hover(field),
        ],
    }


def _hover(name: str) -> dict[str, Any]:
    """Over the whole height, so that the numbers are found without aiming."""
    return {
        "name": f"{name}-hover",
        "params": [{"name": f"{name}_at", "select": {"type": "point", "on": "pointerover", "clear": "pointerout"}}],
        "mark": {"type": "rect", "color": INK},
        "encoding": {
            "x": {"field": "start", **ACROSS},
            "x2": {"field": "end"},
            "opacity": {"condition": {"param": f"{name}_at", "empty": False, "value": 0.1}, "value": 0},
            "tooltip": [
                {"field": field, "title": title, **({"format": ".3g"} if field in NUMBERS else {})}
                for field, title in TOOLTIP
            ],
        },
    }


SIZE = "level == 'operations' && to - from > 120 ? 14 : 36"
NUMBERS = ("forward", "between", "gradient", "expected", "lost")


def _gradient(rows: Sequence[Row]) -> dict[str, Any]:
    """As measured, and as theory expects it."""
    theory: dict[str, Any] = {
        "name": "theory-line",
        "transform": [
            {"calculate": "datum.expected > 0 ? log(datum.expected) / LN10 : null", "as": "theory"},
            {"filter": "isValid(datum.theory)"},
        ],
        "mark": {"type": "line", "strokeDash": [6, 4], "strokeWidth": 2.5, "strokeJoin": "round", "color": PURPLE},
        "encoding": {
            "x": {"field": "middle", **ACROSS},
            "y": {"field": "theory", "type": "quantitative"},
            "order": {"field": "place"},
        },
    }
    more = [theory] if any("expected" in row for row in rows) else []
    title = "gradient coming back, norm" + (" (dashed: theory)" if more else "")
    return _signal(rows, "gradient", title, 180, more)


def _gone(rows: Sequence[Row], field: str) -> list[dict[str, Any]]:
    """What is exactly zero has no place on a scale of decades, but a mark at the bottom."""
    if not any(row.get(field) == 0 for row in rows):
        return []
    layer: dict[str, Any] = {
        "name": f"{field}-gone",
        "transform": [{"filter": f"datum.{field} === 0"}],
        "mark": {"type": "point", "shape": "triangle-down", "color": INK, "size": 30, "y": "height"},
        "encoding": {"x": {"field": "middle", **ACROSS}},
    }
    return [layer]


def _lane(rows: Sequence[Row]) -> dict[str, Any]:
    """The operations themselves, named where there is room."""
    return {
        "width": "container",
        "height": 22,
        "layer": [
            {
                "name": "lane-operations",
                "mark": {"type": "rect", "stroke": INK, "strokeOpacity": 0.25, "opacity": 0.85},
                "encoding": {
                    "x": {"field": "start", **ACROSS},
                    "x2": {"field": "end"},
                    "color": _look(rows, 0),
                    "tooltip": [{"field": field, "title": title} for field, title in TOOLTIP[:4]],
                },
            },
            {
                "name": "lane-names",
                "transform": [
                    {"calculate": "(datum.start + datum.end) / 2", "as": "middle"},
                    {"calculate": "datum.level == 'groups' ? datum.name : datum.op", "as": "label"},
                ],
                "mark": {
                    "type": "text",
                    "fontSize": 10,
                    "color": "white",
                    "limit": {"expr": "max(1, width * (datum.end - datum.start) / (to - from) - 4)"},
                    "opacity": {"expr": "width * (datum.end - datum.start) / (to - from) < 26 ? 0 : 1"},
                },
                "encoding": {"x": {"field": "middle", **ACROSS}, "text": {"field": "label"}},
            },
        ],
    }


def _lost(rows: Sequence[Row]) -> dict[str, Any]:
    """Decades lost on the way back to each place, stacked by the kind of operation they are lost in; what a kind gives
    back goes below zero."""
    stack = {"stack": "decades", "groupby": ["start"], "sort": [{"field": "of"}], "as": ["bottom", "top"]}
    axis = {"title": None, "tickCount": 5, "minExtent": AXIS, "maxExtent": AXIS}
    sums = [sum(v for k in KINDS if (v := row.get(k, 0.0)) * sign > 0) for row in rows for sign in (1, -1)]
    domain = list(decades(min(sums, default=0.0), max(sums, default=0.0)))
    return {
        "title": "decades lost on the way back, by kind",
        "width": "container",
        "height": 140,
        "layer": [
            {
                "name": "lost-parts",
                "transform": [
                    {"filter": "datum.until > datum.start"},
                    {"fold": list(KINDS), "as": ["of", "decades"]},
                    {"filter": "isValid(datum.decades) && datum.decades != 0"},
                    stack,
                ],
                "mark": {"type": "rect"},
                "encoding": {
                    "x": {"field": "start", **ACROSS},
                    "x2": {"field": "until"},
                    "y": {"field": "bottom", "type": "quantitative", "axis": axis, "scale": {"domain": domain}},
                    "y2": {"field": "top"},
                    "color": _look(rows, 0, "of"),
                    "tooltip": [
                        {"field": "name", "title": "back to"},
                        {"field": "of", "title": "lost in"},
                        {"field": "decades", "title": "decades", "format": ".3g"},
                    ],
                },
            },
            {
                "name": "lost-zero",
                "data": ONCE,
                "mark": {"type": "rule", "opacity": 0.5},
                "encoding": {"y": {"datum": 0}},
            },
        ],
    }


def _says(document: Document, layers: Sequence[Document]) -> str:
    """The picture in words."""
    said = [f"{plural(len(layers), 'operation')} from input to loss.", *_norms(layers)]
    lost = document.get("attenuation_decades")
    if lost is not None:
        parts = ", ".join(
            f"{abs(value):.1f} {'lost' if value > 0 else 'gained'} in {kind}"
            for kind, value in (document.get("attribution") or {}).items()
            if value and abs(value) >= 0.05
        )
        verb = "loses" if lost >= 0 else "gains"
        bound = "at least " if document.get("attenuation_truncated") else ""
        said.append(
            f"From the last hidden operation to the first it {verb} {bound}{abs(lost):.1f} decades"
            + (f": {parts}." if parts else ".")
        )
    theory = document.get("theory")
    return " ".join([*said, theory["sentence"]] if theory else said)


def _norms(layers: Sequence[Document]) -> Iterator[str]:
    """The range of the gradient, and at how many operations it is outside of any."""
    measured = [layer["backward"].get("norm") for layer in layers if layer.get("backward")]
    norms = [norm for norm in measured if norm]
    if norms:
        yield f"The gradient's norm lies between {min(norms):.1e} and {max(norms):.1e}."
    elif not measured:
        yield "No gradient was measured."
    for count, what in ((measured.count(0.0), "zero"), (measured.count(None), "not a finite number")):
        if count:
            yield f"At {count} of them the gradient is {what}."
