"""The trainability map as a picture: theory as the shade, really trained networks as marks on it."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from ..theory.trainability import GROWN, LOST, Map, Panel
from . import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
SIZE = (17.0, 9.8)  # inches
DOTS = 84  # per inch
LOOKS: dict[Any, Any] = {
    "font.size": 13.0,
    "axes.titlesize": 14.0,
    "svg.fonttype": "none",  # words stay words: smaller, and can be searched
    "svg.hashsalt": "unstick",  # the same picture gives the same file
}
COLOURS = "PuOr_r"  # told apart without red and green
FAINTEST, STRONGEST = 0.12, 0.88  # the part of it that black marks can be read on
LEVELS = [LOST * i / 7 for i in range(-14, 0)] + [GROWN * i / 6 for i in range(13)]
KAYLEE = (2**0.5, 40)
TITLES = {
    "sigmoid": "sigmoid: Kaylee's network\n4. larger weights: to the right",
    "tanh": "1. tanh instead of sigmoid",
    "relu": "2. ReLU instead of sigmoid",
    "sigmoid+batchnorm": "3. sigmoid behind\nbatch normalisation",
}
DISC = {"marker": "o", "color": "black", "markersize": 7.5, "markeredgewidth": 0.9, "linestyle": "none"}
MARKS: dict[str, dict[str, Any]] = {
    "each": DISC,
    "some": {**DISC, "fillstyle": "left", "markerfacecoloralt": "white"},
    "none": {**DISC, "marker": "x", "markersize": 6, "markeredgewidth": 1.3},
}
WORDS = {"each": "learns, with each seed", "some": "learns with some seeds only", "none": "does not learn"}
CAPTION = (
    "Hidden weights N(0, $\\sigma_w^2$ / inputs), biases N(0, $\\sigma_b^2$), with $\\sigma_b$ = 1 in the upper row. "
    "Each mark is a network of width 64 after 300 steps of Adam on scikit-learn's digits."
)
RING: dict[str, Any] = {
    "marker": "s",
    "fillstyle": "none",
    "color": "#0a7d3c",
    "markeredgewidth": 2.5,
    "linestyle": "none",
}
"""Around the place of Kaylee's network, the same in every panel: so one sees what a change does."""


def check(option: str, name: str) -> None:
    """Raises OutputError where the map could not be drawn into a file of that name."""
    if Path(name).suffix.lower() not in FORMATS:
        raise OutputError(f"{option} {name}: the name must end in {' or '.join(FORMATS)}.")
    files.check(option, name)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OutputError(f"{option} draws with matplotlib, which is missing: pip install 'unstick[plots]'.") from None


def draw(option: str, name: str, drawn: Map) -> None:
    """Write the map to `name`, a PNG or an SVG by its ending. Raises OutputError, see `check`."""
    check(option, name)
    import matplotlib

    kind = Path(name).suffix.lower()[1:]
    picture = io.BytesIO()
    with matplotlib.rc_context(LOOKS):
        figure(drawn).savefig(picture, format=kind, dpi=DOTS, metadata={"Date": None} if kind == "svg" else None)
    files.write(option, name, picture.getvalue())


def figure(drawn: Map) -> Figure:
    """The whole picture, not yet written: depths in the upper row, bias scales below, where a place is left."""
    from matplotlib.figure import Figure

    made = Figure(figsize=SIZE, layout="constrained")
    made.suptitle("Which networks train, and which should: theory (shade and lines) against training (marks)", size=19)
    grid = made.add_gridspec(2, len(drawn.depths))
    for row, panels in enumerate((drawn.depths, drawn.biases)):
        for column, panel in enumerate(panels):
            axes = made.add_subplot(grid[row, column])
            shade = _panel(axes, panel)
            if column == 0:
                axes.set_ylabel("hidden layers" if panel.kind == "depth" else r"bias scale $\sigma_b$")
    made.supxlabel(CAPTION, size=12, x=0.01, horizontalalignment="left")
    _explain(made.add_subplot(grid[1, -1]), made, shade)
    return made


def _panel(axes: Axes, panel: Panel) -> Any:
    """Shade, predicted boundary and marks of one panel; returns the shade, for the colour bar."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, TwoSlopeNorm

    colours = ListedColormap(colormaps[COLOURS]([FAINTEST + (STRONGEST - FAINTEST) * i / 255 for i in range(256)]))
    shade = axes.contourf(
        panel.across,
        panel.up,
        panel.shade,
        LEVELS,
        norm=TwoSlopeNorm(0.0, LEVELS[0], LEVELS[-1]),
        cmap=colours,
        extend="both",
    )
    shade.set_rasterized(True)
    lines: dict[str, Any] = {"colors": "black", "linestyles": ["solid", "dashed"], "linewidths": 2.2}
    axes.contour(panel.across, panel.up, panel.shade, [-LOST, GROWN], **lines)
    for look, places in _marks(panel).items():
        axes.plot(*zip(*places, strict=True), **MARKS[look])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    _ticks(axes, panel)
    axes.set_xlabel(r"weight scale $\sigma_w$")
    if panel.kind == "depth":
        axes.set_title(TITLES[panel.family.name])
        axes.plot(*KAYLEE, **RING, markersize=17)
    else:
        axes.set_title(f"{panel.family.name.replace('relu', 'ReLU')}, {panel.fixed:g} hidden layers")
    return shade


def _marks(panel: Panel) -> dict[str, list[tuple[float, float]]]:
    """Places in the panel by the look of their mark, which says with how many of the seeds the network learned."""
    outcomes: dict[tuple[float, float], list[bool]] = defaultdict(list)
    for point in panel.points:
        outcomes[point.sigma_w, point.depth if panel.kind == "depth" else point.sigma_b].append(point.learns)
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for place, learned in outcomes.items():
        found["each" if all(learned) else "some" if any(learned) else "none"].append(place)
    return found


def _ticks(axes: Axes, panel: Panel) -> None:
    axes.set_xticks([2.0**k for k in range(-1, 7)], ["½", *(str(2**k) for k in range(7))])
    axes.set_xlim(panel.across[0], panel.across[-1])
    if panel.kind == "depth":
        rows = sorted({p.depth for p in panel.points})
        axes.set_yticks(rows, [str(row) for row in rows])
        axes.set_ylim(rows[0] / 2**0.25, rows[-1] * 2**0.25)
    else:
        scales = sorted({p.sigma_b for p in panel.points})
        axes.set_yticks(scales, [f"{s:g}" if s >= 1 else f"1/{1 / s:g}" for s in scales])
    axes.minorticks_off()


def _explain(axes: Axes, made: Figure, shade: Any) -> None:
    """Legend and colour bar in the place that is left."""
    from matplotlib.lines import Line2D

    axes.set_axis_off()
    handles = [Line2D([], [], label=WORDS[look], **MARKS[look]) for look in MARKS]
    handles += [
        Line2D([], [], color="black", lw=2, label=f"predicted: {LOST:g} decades lost (vanishing)"),
        Line2D([], [], color="black", lw=2, ls="dashed", label=f"predicted: {GROWN:g} decades gained (exploding)"),
        Line2D([], [], **RING, markersize=13, label="scales and depth of Kaylee's network"),
    ]  # fmt: skip
    axes.legend(handles=handles, loc="upper left", frameon=False, borderaxespad=0.0, labelspacing=0.75)
    bar = made.colorbar(shade, cax=axes.inset_axes((0.0, 0.2, 1.0, 0.07)), orientation="horizontal")
    bar.set_ticks([-2 * LOST, -LOST, 0, GROWN, 2 * GROWN])
    bar.set_label("gradient at the input against\nthe last hidden layer's, in decades")
