"""The trainability map as a picture: theory as the shade, really trained networks as marks on it."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError
from ..theory.trainability import GROWN, LOST, Panel
from . import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
SIZE = (18.0, 10.6)  # inches
DOTS = 100  # per inch
LOOKS = {
    "font.size": 13.0,
    "axes.titlesize": 14.0,
    "svg.fonttype": "none",  # words stay words: smaller, and can be searched
    "svg.hashsalt": "unstick",  # the same picture gives the same file
}
COLOURS = "PuOr_r"  # told apart without red and green
FAINTEST, STRONGEST = 0.12, 0.88  # the part of it that black marks can be read on
LEVELS = [LOST * i / 10 for i in range(-20, 0)] + [GROWN * i / 10 for i in range(21)]
KAYLEE = (2**0.5, 40)
TITLES = {
    "sigmoid": "sigmoid: Kaylee's network\n4. larger weights: to the right",
    "tanh": "1. tanh instead of sigmoid",
    "relu": "2. ReLU instead of sigmoid",
    "sigmoid+batchnorm": "3. sigmoid behind\nbatch normalisation",
}
NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU", "sigmoid+batchnorm": "sigmoid, batch normalisation"}


def check(option: str, name: str) -> None:
    """Raises OutputError where the map could not be drawn into a file of that name."""
    if Path(name).suffix.lower() not in FORMATS:
        raise OutputError(f"{option} {name}: the name must end in {' or '.join(FORMATS)}.")
    files.check(option, name)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OutputError(f"{option} draws with matplotlib, which is missing: pip install 'unstick[plots]'.") from None


def draw(option: str, name: str, depths: Sequence[Panel], biases: Sequence[Panel]) -> None:
    """Write the map to `name`, a PNG or an SVG by its ending. Raises OutputError, see `check`.

    depths: a panel each in the upper row. biases: the same in the lower row, which has one place less.
    """
    check(option, name)
    import matplotlib

    with matplotlib.rc_context(LOOKS):
        picture = io.BytesIO()
        kind = Path(name).suffix.lower()[1:]
        metadata = {"Date": None} if kind == "svg" else None
        figure(depths, biases).savefig(picture, format=kind, dpi=DOTS, metadata=metadata)
    files.write(option, name, picture.getvalue())


def figure(depths: Sequence[Panel], biases: Sequence[Panel]) -> Figure:
    """The whole picture, not yet written."""
    from matplotlib.figure import Figure

    made = Figure(figsize=SIZE, layout="constrained")
    made.suptitle("Which networks train, and which should: theory (shade and lines) against training (marks)", size=19)
    grid = made.add_gridspec(2, len(depths))
    upper = [made.add_subplot(grid[0, i]) for i in range(len(depths))]
    lower = [made.add_subplot(grid[1, i]) for i in range(len(biases))]
    for axes, panel in zip([*upper, *lower], [*depths, *biases], strict=True):
        shade = _panel(axes, panel)
    for axes in (upper[0], lower[0]):
        axes.set_ylabel("hidden layers" if axes is upper[0] else "bias scale $\\sigma_b$")
    for axes, panel in zip(upper, depths, strict=True):
        axes.set_title(TITLES[panel.family.name])
        _kaylee(axes)
    for axes, panel in zip(lower, biases, strict=True):
        axes.set_title(f"{NAMES[panel.family.name]}, {panel.fixed:g} hidden layers")
    _explain(made.add_subplot(grid[1, len(biases)]), made, shade, [p for p in depths for p in p.points])
    return made


def _panel(axes: Axes, panel: Panel) -> Any:
    """Shade, predicted boundary and marks of one panel; returns the shade, for the colour bar."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, TwoSlopeNorm

    colours = ListedColormap(colormaps[COLOURS]([FAINTEST + (STRONGEST - FAINTEST) * i / 255 for i in range(256)]))
    shade = axes.contourf(
        panel.across, panel.up, panel.shade, LEVELS, norm=TwoSlopeNorm(0.0, LEVELS[0], LEVELS[-1]), cmap=colours, extend="both"
    )
    lines = {"colors": "black", "linestyles": ["solid", "dashed"], "linewidths": 2.2}
    axes.contour(panel.across, panel.up, panel.shade, [-LOST, GROWN], **lines)
    for (sigma_w, up), outcomes in _outcomes(panel).items():
        axes.plot(sigma_w, up, **_mark(outcomes))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    _ticks(axes, panel)
    axes.set_xlabel("weight scale $\\sigma_w$")
    return shade


def _outcomes(panel: Panel) -> dict[tuple[float, float], list[bool]]:
    """Whether the network learned, for each seed, by its place in the panel."""
    found: dict[tuple[float, float], list[bool]] = defaultdict(list)
    for point in panel.points:
        found[point.sigma_w, point.depth if panel.kind == "depth" else point.sigma_b].append(point.learns)
    return found


def _mark(outcomes: Sequence[bool]) -> dict[str, Any]:
    """A disc where all seeds learn, a cross where none does, half a disc between."""
    if not any(outcomes):
        return {"marker": "x", "color": "black", "markersize": 6, "markeredgewidth": 1.3, "linestyle": "none"}
    fill = "full" if all(outcomes) else "left"
    return {"marker": "o", "color": "black", "markersize": 7.5, "markeredgewidth": 0.9, "markerfacecoloralt": "white",
            "fillstyle": fill, "linestyle": "none"}  # fmt: skip


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


def _kaylee(axes: Axes) -> None:
    """A ring around the place of Kaylee's network: the same in every panel, so that one sees what a change does."""
    axes.plot(*KAYLEE, marker="s", markersize=17, fillstyle="none", color="#0a7d3c", markeredgewidth=2.6)


def _explain(axes: Axes, made: Figure, shade: Any, points: Sequence[Any]) -> None:
    """Legend and colour bar in the place that is left."""
    from matplotlib.lines import Line2D

    axes.set_axis_off()
    marks = ((True, True), (False, True), (False, False))
    words = ("learns, with each seed", "learns with one of two seeds", "does not learn")
    handles = [Line2D([], [], label=word, **_mark(mark)) for mark, word in zip(marks, words, strict=True)]
    handles += [
        Line2D([], [], color="black", linewidth=2, label=f"predicted: {LOST:g} decades are lost"),
        Line2D([], [], color="black", linewidth=2, linestyle="dashed", label=f"predicted: {GROWN:g} decades are gained"),
        Line2D([], [], color="#0a7d3c", marker="s", markersize=13, fillstyle="none", linestyle="none",
               markeredgewidth=2.4, label="scales and depth of Kaylee's network"),
    ]  # fmt: skip
    axes.legend(handles=handles, loc="upper left", frameon=False, borderaxespad=0.0, labelspacing=0.75)
    bar = made.colorbar(shade, ax=axes, orientation="horizontal", location="bottom", extend="both", aspect=25, fraction=0.3)
    bar.set_ticks([-2 * LOST, -LOST, 0, GROWN, 2 * GROWN])
    bar.set_label("change of the gradient from the last hidden layer\nback to the input, in decades (powers of ten)")
