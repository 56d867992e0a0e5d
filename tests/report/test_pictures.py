"""Charts as files: drawn for real."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from report.documents import demo, rules, trial, trials
from unstick.cli import main
from unstick.errors import OutputError
from unstick.report import pictures
from unstick.report.charts import charts

CURVE = {"steps": [0.0, 1.0], "middle": [2.3, 1.0], "low": [2.2, 0.5], "high": [2.4, 1.5]}


def document() -> dict[str, object]:
    made = trials(trial("relu", "fixes", curve=CURVE), trial("<b>&'\"", "harms", curve=CURVE))
    return {**made, "baseline": {**made["baseline"], "curve": CURVE}}


def test_all_charts_stand_below_each_other(tmp_path: Path) -> None:
    pictures.write("--svg", str(tmp_path / "a.svg"), document())
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    parts = root.findall("{http://www.w3.org/2000/svg}svg")
    assert len(parts) == len(charts(document())) == 2
    tops = [float(part.attrib["y"]) for part in parts]
    assert tops[1] > tops[0] + float(parts[0].attrib["height"])
    assert float(root.attrib["height"]) > tops[1] + float(parts[1].attrib["height"])
    words = [text.strip() for text in root.itertext()]
    assert "The gradient before and after each change" in words
    assert "<b>&'\"" in words


def test_long_names_do_not_push_a_chart_out_of_the_picture(tmp_path: Path) -> None:
    made = document()
    tried = [{**trial("relu", "fixes", curve=CURVE), "remedy": "init(he)+" * 20}]
    pictures.write("--svg", str(tmp_path / "a.svg"), {**made, "trials": tried})
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    for part in root.findall("{http://www.w3.org/2000/svg}svg"):
        assert float(part.attrib["x"]) + float(part.attrib["width"]) <= pictures.WIDE


def test_a_png_is_one_and_sharp(tmp_path: Path) -> None:
    pictures.write("--png", str(tmp_path / "a.png"), document())
    head = (tmp_path / "a.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, _ = struct.unpack(">II", head[16:24])
    assert width == pictures.SHARPNESS * pictures.WIDE


def test_what_has_no_charts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="has no charts"):
        pictures.write("--png", str(tmp_path / "a.png"), rules())
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    assert main(["demo", "--png", "a.png"]) == 2
    assert "pip install 'unstick[plots]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_demo_has_all_of_its_charts_in_one_picture() -> None:
    assert pictures.svg(charts(demo())).count("<svg ") == 1 + len(charts(demo()))
