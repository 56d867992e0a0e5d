"""A report as one HTML page that loads nothing from elsewhere, and as a piece of a notebook's page.

Jinja escapes every name and sentence. The charts are drawn in the browser by Vega-Lite, which is inlined with the page;
in a notebook, where scripts may not run, they are drawn beforehand if vl-convert is installed.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Undefined
from markupsafe import Markup

from .. import pictures, style, words
from ..charts import Chart, charts
from ..charts.look import AXIS
from ..summary import command, sentence, title
from ..terminal import plain

Document = Mapping[str, Any]

HERE = Path(__file__).parent
LIBRARIES = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js", "sortable.min.js", "sortable.a11y.min.js")
"""In the order in which they need each other. 835 kB; see docs/architecture.md for why these."""

LONGEST = 200
"""Characters of a name that a page shows."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A chart as a page needs it. data: for the script that draws it; picture: drawn already."""

    id: str
    title: str
    says: str
    data: Markup | None = None
    picture: Markup | None = None


def page(document: Document) -> str:
    """A whole page. Raises KeyError for a document without the fields of its schema."""
    scripts = [*(_library(name) for name in LIBRARIES), (HERE / "page.js").read_text()]
    return (
        _environment()
        .get_template("page.html")
        .render(
            document=document,
            title=title(document),
            charts=_all(document, _interactive),
            style=Markup(_style()),
            scripts=[Markup(script) for script in scripts],
        )
    )


def fragment(document: Document) -> str:
    """A piece to be shown inside of another page, such as a notebook: no scripts."""
    parts = _environment().get_template("parts.html").module
    shown = parts.report(document, _all(document, _still))  # type: ignore[attr-defined]
    return f'<div class="unstick"><style>{_style()}</style>{shown}</div>'


def _all(document: Document, show: Any) -> list[Any]:
    """The charts of a document; of a comparison, those of both."""
    if document.get("schema") == "unstick/comparison/1":
        return [_all(document[side], show) for side in ("before", "after")]
    return [shown for chart in charts(document) if (shown := show(chart)) is not None]


def _interactive(chart: Chart) -> Shown:
    data = {"spec": chart.spec, "axis": AXIS, "dataset": chart.dataset, "columns": chart.columns}
    return Shown(chart.id, chart.title, chart.says, data=Markup(_script_safe(json.dumps(data, ensure_ascii=False))))


def _still(chart: Chart) -> Shown | None:
    drawn = pictures.svg([chart], titled=False) if pictures.possible() else None
    return None if drawn is None else Shown(chart.id, chart.title, chart.says, picture=Markup(drawn))


def _script_safe(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@functools.cache
def _library(name: str) -> str:
    """Without the address of its source map, which is not there."""
    return re.sub(r"//# sourceMappingURL=\S+", "", (HERE / "vendor" / name).read_text())


@functools.cache
def _style() -> str:
    return (HERE / "style.css").read_text()


def _cut(text: Any, most: int = LONGEST) -> str:
    said = str(text)
    return said if len(said) <= most else f"{said[:most]}…"


def _css(look: style.Style) -> str:
    """The class that gives a style its colour."""
    return look.word.replace(" ", "-")


def _exact(value: float | None) -> str:
    """For sorting: what has no value comes last."""
    return "" if value is None else repr(value)


def _share(run: Document) -> float:
    return run["learned"] / run["seeds"] if run.get("seeds") and "learned" in run else float(bool(run.get("learns")))


def _known(shown: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A field that older versions did not write is as good as null."""
    return lambda value: shown(None if isinstance(value, Undefined) else value)


@functools.cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(
        cut=_cut,
        css=_css,
        exact=_known(_exact),
        share=_share,
        capitalized=lambda text: text[:1].upper() + text[1:],
        number=_known(style.number),
        yes_no=_known(style.answer),
        plain=plain,
        title_of=title,
        sentence=sentence,
        command=command,
        where=words.where,
        details=words.details,
        losses=words.losses,
        metric=words.metric,
        has_metric=words.has_metric,
        footer=words.footer,
        recommendation=words.recommendation,
        learned=words.learned,
        difference=words.difference,
        decades=_known(words.decades),
        listed=words.listed,
    )
    made.globals.update(
        severities=style.SEVERITIES,
        verdict_styles=style.VERDICTS,
        order={verdict: place for place, verdict in enumerate(style.VERDICTS)},
        styles={"yes": style.YES, "no": style.NO, "unknown": style.UNKNOWN},
        interrupted=style.INTERRUPTED,
        nothing=words.NOTHING,
        explain_loss=words.LOSS,
        explain_metric=words.METRIC,
        explain_decades=words.DECADES,
    )
    return made
