"""The trainability map as a picture."""

from __future__ import annotations

import struct
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from unstick.cli import OK, WRONG, main
from unstick.errors import OutputError
from unstick.report.map import MARKS, check, draw, figure
from unstick.theory.trainability import FAMILIES, Map, bias_panel, depth_panel
from unstick.theory.trained import trained


@pytest.fixture(scope="module")
def coarse() -> Map:
    """All marks on a coarse shade."""
    points = trained().points
    return Map(
        tuple(depth_panel(family, points, 1.0, columns=5) for family in FAMILIES),
        tuple(bias_panel(family, points, 20, columns=4, rows=3) for family in FAMILIES if not family.normalised),
    )


def test_seven_panels_with_one_mark_for_each_network(coarse: Map) -> None:
    panels = [axes for axes in figure(coarse).axes if axes.get_xlabel().startswith("weight scale")]
    drawn = [*coarse.depths, *coarse.biases]
    assert len(panels) == len(drawn) == 7
    for axes, panel in zip(panels, drawn, strict=True):
        outcomes: dict[tuple[float, ...], list[bool]] = defaultdict(list)
        for point in panel.points:
            outcomes[point.sigma_w, point.depth, point.sigma_b].append(point.learns)
        marks = {(line.get_marker(), line.get_fillstyle()): len(line.get_xdata()) for line in axes.lines}
        assert marks.pop(("s", "none"), 0) == (panel.kind == "depth")  # the ring
        assert sum(marks.values()) == len(outcomes)
        assert marks.get(("o", "full"), 0) == sum(map(all, outcomes.values()))
        assert marks.get(("x", "full"), 0) == sum(not any(learned) for learned in outcomes.values())


def test_marks_differ_by_shape_and_not_by_colour_alone() -> None:
    shapes = {(look["marker"], look.get("fillstyle")) for look in MARKS.values()}
    assert len(shapes) == len(MARKS) == 3


def test_the_png_has_the_size_of_a_slide(coarse: Map, tmp_path: Path) -> None:
    file = tmp_path / "map.png"
    draw("--map", str(file), coarse)
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width > 1400
    assert height > 800


def test_the_svg_keeps_its_words_and_is_the_same_again(coarse: Map, tmp_path: Path) -> None:
    file = tmp_path / "map.SVG"
    draw("--map", str(file), coarse)
    first = file.read_bytes()
    words = "".join(ElementTree.fromstring(first).itertext())
    for expected in ("tanh instead of sigmoid", "ReLU", "batch normalisation", "does not learn", "decades"):
        assert expected in words
    draw("--map", str(file), coarse)
    assert file.read_bytes() == first


@pytest.mark.parametrize("name", ["map.gif", "map", "-", "nowhere/map.png"])
def test_a_name_that_will_not_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="--map"):
        check("--map", name)


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    file = tmp_path / "map.png"
    assert main(["theory", "--map", str(file)]) == WRONG
    error = capsys.readouterr().err
    assert "pip install 'unstick[plots]'" in error
    assert error.count("\n") == 1
    assert not file.exists()


def test_the_command_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "map.png"
    assert main(["theory", "--map", str(file)]) == OK
    assert file.read_bytes().startswith(b"\x89PNG")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"written: {file}\n"


@pytest.mark.parametrize(
    ("arguments", "word"), [(["tanh"], "ACTIVATION"), (["--depth", "9"], "--depth"), (["--json", "-"], "--json")]
)
def test_it_says_what_it_would_not_use(
    arguments: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["theory", "--map", str(tmp_path / "map.png"), *arguments]) == WRONG
    assert word in capsys.readouterr().err
