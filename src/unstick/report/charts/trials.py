"""What trials measured: the losses of each change beside the unchanged network, and the gradient before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..style import VERDICTS, plural
from .look import AXIS, BLUE, GREEN, GREY, INK, ONCE, PURPLE, VERMILION, Chart, cut, distinct, short, spec

Document = Mapping[str, Any]
Row = dict[str, Any]

WIDE_RANGE = 20.0
"""Losses that span more than this are drawn on a logarithmic scale, or the small ones could not be told apart."""


ROW = 24
"""Pixels of height that one change takes beside the others."""

IN_ORDER = {"field": "order", "op": "min"}
"""As the document has them. A list of names would be made into an expression, which some names would break."""


def losses(document: Document) -> Chart | None:
    """One small panel for each change; the unchanged network is in all of them. None where no change was trained."""
    unchanged = _curve(document["baseline"].get("curve"))
    trained = [(trial, rows) for trial in document["trials"] if (rows := _curve(trial.get("curve")))]
    if not trained or not unchanged:
        return None
    beside = {row["step"]: row["loss"] for row in unchanged if "loss" in row}
    titles = distinct([_title(trial) for trial, _ in trained])
    rows = [
        {"change": title, "order": i, **row, **({"unchanged": beside[row["step"]]} if row["step"] in beside else {})}
        for i, (title, (_, curve)) in enumerate(zip(titles, trained, strict=True))
        for row in curve
    ]
    axes = _axes([*unchanged, *rows])
    return Chart(
        id="losses",
        title="The loss while training: each change beside the unchanged network",
        says=f"{plural(len(trained), 'change')}, each against the unchanged network (dashed), as losses of the batches "
        "that are trained on; lines are medians over the seeds, bands reach from the least to the greatest. "
        + _ends(trained, unchanged),
        spec=spec(
            datasets={"losses": rows, "unchanged": unchanged},
            data={"name": "losses"},
            facet={
                "field": "change",
                "type": "nominal",
                "sort": IN_ORDER,
                "header": {"title": None, "labelLimit": 180, "labelPadding": 4, "labelAnchor": "start"},
            },
            columns=len(titles),
            spacing=16,
            spec={
                "width": "container",
                "height": 110,
                "layer": [
                    *_band("unchanged", GREY, axes, [4, 3]),
                    *_band(None, BLUE, axes, [1, 0]),
                    _hover(),
                ],
            },
        ),
        dataset="losses",
        columns=(("change", "change"), ("step", "step"), ("loss", "loss"), ("low", "least"), ("high", "greatest"),
                 ("unchanged", "unchanged")),
    )  # fmt: skip


def loss(document: Document) -> Chart | None:
    """The losses of the run that a diagnosis looked at, and what the best constant answer would have."""
    rows = _curve(document.get("curve"))
    if not rows:
        return None
    judged = document["learning"]["learns"] is not None  # of a GAN, say, the answer is told by something else
    constant = cut(document["learning"].get("constant_loss")) if judged else None
    known = [*rows, *([{"loss": constant}] if constant is not None else [])]
    axes = _axes(known)
    layers = _band(None, BLUE, axes, [1, 0])
    if constant is not None:
        layers.append(
            {
                "name": "constant",
                "data": ONCE,
                "mark": {"type": "rule", "color": PURPLE, "strokeDash": [6, 4], "strokeWidth": 2},
                "encoding": {"y": {"datum": constant, **axes["y"]}},
            }
        )
    ends = [row["loss"] for row in rows if "loss" in row]
    beside = f" The best constant answer has {constant:.3g} (dashed)." if constant is not None else ""
    return Chart(
        id="loss",
        title="The loss while training",
        says=(
            f"From {ends[0]:.3g} to {ends[-1]:.3g}, averaged over windows of steps.{beside}" if ends else "Not finite."
        ),
        spec=spec(
            width="container",
            height=150,
            datasets={"loss": rows},
            data={"name": "loss"},
            layer=[*layers, _hover()],
        ),
        dataset="loss",
        columns=(("step", "step"), ("loss", "loss")),
    )


def gradients(document: Document) -> Chart | None:
    """How many decades the gradient loses, before and after each change. None where it was not measured."""
    rows = [row for trial in document["trials"] if (row := _gradient(trial))]
    if not rows:
        return None
    titles = distinct([row["change"] for row in rows])
    rows = [{**row, "change": title, "order": i} for i, (row, title) in enumerate(zip(rows, titles, strict=True))]
    up = {
        "field": "change",
        "type": "nominal",
        "sort": IN_ORDER,
        "axis": {"title": None, "labelLimit": {"expr": "width < 420 ? 120 : 240"}, "domain": False, "ticks": False},
    }
    across = {"type": "quantitative", "axis": {"title": "decades lost on the way back", "tickCount": 8}}
    tooltip = [
        {"field": "change"},
        {"field": "before", "title": "decades lost before", "format": ".3g"},
        {"field": "after", "title": "and after", "format": ".3g"},
        {"field": "gradient", "title": "gradient"},
    ]
    restored = sum(row["gradient"] == "restored" for row in rows)
    return Chart(
        id="gradients",
        title="The gradient before and after each change",
        says=f"With {restored} of {plural(len(rows), 'change')} the gradient neither vanishes nor explodes. "
        + "; ".join(f"{row['change']}: {row['before']:.1f} to {row['after']:.1f}" for row in rows[:12])
        + (" …" if len(rows) > 12 else "."),
        spec=spec(
            width="container",
            height=ROW * len(rows),
            datasets={"gradients": rows},
            data={"name": "gradients"},
            encoding={"y": up, "tooltip": tooltip},
            layer=[
                {
                    "name": "nothing-lost",
                    "data": ONCE,
                    "mark": {"type": "rule", "opacity": 0.5},
                    "encoding": {"x": {"datum": 0}, "y": None, "tooltip": None},
                },
                {
                    "name": "shift",
                    "mark": {"type": "rule", "opacity": 0.35, "strokeWidth": 3},
                    "encoding": {"x": {"field": "before", **across}, "x2": {"field": "after"}},
                },
                {
                    "name": "before",
                    "mark": {"type": "tick", "color": GREY, "thickness": 3, "size": 14},
                    "encoding": {"x": {"field": "before", **across}},
                },
                {
                    "name": "after",
                    "mark": {"type": "point", "filled": True, "opacity": 1, "size": 90},
                    "encoding": {
                        "x": {"field": "after", **across},
                        "shape": {
                            "field": "gradient",
                            "type": "nominal",
                            "scale": {"domain": ["restored", "not restored"], "range": ["circle", "triangle-up"]},
                        },
                        "color": {
                            "field": "gradient",
                            "type": "nominal",
                            "scale": {"domain": ["restored", "not restored"], "range": [GREEN, VERMILION]},
                        },
                    },
                },
            ],
        ),
        dataset="gradients",
        columns=(("change", "change"), ("before", "decades lost before"), ("after", "after"), ("gradient", "gradient")),
    )


def _title(trial: Document) -> str:
    style = VERDICTS.get(trial["verdict"])
    name = short(str(trial["remedy"]), 36)
    return f"{name}: {style.word}" if style else name


def _gradient(trial: Document) -> Row | None:
    seen = trial.get("gradient") or {}
    before, after = cut(seen.get("before")), cut(seen.get("after"))
    if before is None or after is None:
        return None
    restored = "restored" if seen.get("restored") else "not restored"
    return {"change": short(str(trial["remedy"]), 60), "before": before, "after": after, "gradient": restored}


def _curve(curve: Document | None) -> list[Row]:
    """One row for each window of steps. half: of its width in steps. alone: it has no neighbour to draw a line to."""
    if not curve:
        return []
    steps = curve["steps"]
    half = (steps[1] - steps[0]) / 2 if len(steps) > 1 else 0.5
    columns = zip(steps, curve["middle"], curve["low"], curve["high"], strict=False)
    rows = [
        {
            "step": cut(step),
            "from": cut(step - half),
            "to": cut(step + half),
            "loss": cut(mid),
            "low": cut(low),
            "high": cut(high),
        }
        for step, mid, low, high in columns
    ]
    rows = [row for row in rows if None not in (row["step"], row["from"], row["to"])]
    known = [row["loss"] is not None for row in rows]
    for i, row in enumerate(rows):
        row["alone"] = True if known[i] and not any(known[max(i - 1, 0) : i] + known[i + 1 : i + 2]) else None
    return [{key: value for key, value in row.items() if value is not None} for row in rows]


def _axes(rows: Sequence[Row]) -> dict[str, Any]:
    """Both axes, as long as these rows need them, so that a panel in which nothing is finite has some, too."""
    values = [row[key] for row in rows for key in ("loss", "low", "high") if key in row]
    least, most = min(values, default=0.0), max(values, default=1.0)
    wide = least > 0 and most / least > WIDE_RANGE
    kind = {"type": "log", "nice": False} if wide else {"zero": False, "nice": True}
    ends = [min(row["from"] for row in rows if "from" in row), max(row["to"] for row in rows if "to" in row)]
    return {
        "x": {
            "type": "quantitative",
            "axis": {"title": "step", "tickCount": 4, "grid": False},
            "scale": {"nice": False, "zero": False, "domain": ends},
        },
        "y": {
            "type": "quantitative",
            "axis": {"title": None, "tickCount": 4, "grid": False, "minExtent": AXIS, "maxExtent": AXIS},
            "scale": {**kind, "domain": [least, most]},
        },
    }


def _band(dataset: str | None, colour: str, axes: Row, dash: list[int]) -> list[dict[str, Any]]:
    """The spread over the seeds, and their median as a line. dataset: None for that of the panel."""
    data = {"data": {"name": dataset}} if dataset else {}
    name = dataset or "changed"
    x = {"field": "step", **axes["x"]}
    return [
        {
            **data,
            "name": f"{name}-spread",
            "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
            "mark": {"type": "area", "color": colour, "opacity": 0.25},
            "encoding": {"x": x, "y": {"field": "low", **axes["y"]}, "y2": {"field": "high"}},
        },
        {
            **data,
            "name": f"{name}-median",
            "mark": {"type": "line", "color": colour, "strokeWidth": 2, "strokeDash": dash, "strokeJoin": "round"},
            "encoding": {"x": x, "y": {"field": "loss", **axes["y"]}},
        },
        {
            **data,
            "name": f"{name}-alone",
            "transform": [{"filter": "datum.alone"}],
            "mark": {"type": "point", "filled": True, "opacity": 1, "color": colour, "size": 30},
            "encoding": {"x": x, "y": {"field": "loss", **axes["y"]}},
        },
    ]


def _hover() -> dict[str, Any]:
    return {
        "name": "hover",
        "params": [{"name": "at", "select": {"type": "point", "on": "pointerover", "clear": "pointerout"}}],
        "mark": {"type": "rect", "color": INK},
        "encoding": {
            "x": {"field": "from", "type": "quantitative"},
            "x2": {"field": "to"},
            "opacity": {"condition": {"param": "at", "empty": False, "value": 0.1}, "value": 0},
            "tooltip": [
                {"field": field, "title": title, "format": ".4~g"}
                for field, title in (
                    ("step", "step"),
                    ("loss", "loss, median"),
                    ("low", "least"),
                    ("high", "greatest"),
                    ("unchanged", "unchanged, median"),
                )
            ],
        },
    }


def _ends(trained: Sequence[tuple[Document, list[Row]]], unchanged: Sequence[Row]) -> str:
    """Where the curves end."""
    said = [f"unchanged {_last(unchanged)}", *(f"{short(t['remedy'], 36)} {_last(rows)}" for t, rows in trained[:12])]
    return f"At the end: {', '.join(said)}" + (" …" if len(trained) > 12 else ".")


def _last(rows: Sequence[Row]) -> str:
    return f"{rows[-1]['loss']:.3g}" if "loss" in rows[-1] else "not finite"
