"""The demo from end to end, too short to learn anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unstick.cli import OK, main


def test_demo_gives_three_reports_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--steps=3", "--seeds=2", "--workers=1", "--json=demo.json"]) == OK
    out, err = capsys.readouterr()
    document = json.loads((tmp_path / "demo.json").read_text())
    assert document["schema"] == "unstick/demo/1"
    assert [document[part]["schema"] for part in ("diagnosis", "trials", "answer")] == [
        "unstick/diagnosis/1",
        "unstick/trials/1",
        "unstick/answer/1",
    ]
    assert {part["target"] for part in (document["diagnosis"], document["trials"], document["answer"])} == {"kaylee"}
    assert out.splitlines()[-1].startswith("answer: ")
    assert "written: unstick-demo.html" in err
    page = (tmp_path / "unstick-demo.html").read_text()
    assert "What is wrong?" in page
    assert "http-equiv" not in page
