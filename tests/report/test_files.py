"""Files are checked before the work and written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unstick.errors import OutputError
from unstick.report import files


def test_writes_one_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    files.check("--json", str(path))
    assert list(tmp_path.iterdir()) == []
    files.write("--json", str(path), "new")
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text() == "new\n"


def test_check_leaves_an_earlier_report_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    files.check("--json", str(path))
    assert path.read_text() == "old"
    files.write("--json", str(path), "new")
    assert path.read_text() == "new\n"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    files.write("--json", str(tmp_path / "link.json"), "new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new\n"


def test_a_device_is_written_to_and_not_replaced() -> None:
    files.check("--json", os.devnull)
    files.write("--json", os.devnull, "text")
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize(
    ("name", "message"),
    [(".", "that is a directory"), ("missing/report.json", "there is no directory"), ("x" * 300, "cannot be written")],
)
def test_what_cannot_be_written_is_said_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=message):
        files.check("--html", name)


def test_a_file_in_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="there is no directory"):
        files.check("--json", str(tmp_path / "file" / "report.json"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written there"):
        files.check("--json", str(tmp_path / "report.json"))


def test_standard_output_is_kept_free_also_from_child_processes() -> None:
    code = """
import os, subprocess, sys
from unstick.report import files
real = sys.stdout
with files.reserved_output():
    print("python")
    real.write("kept reference ")
    os.write(1, b"descriptor ")
    subprocess.run(["echo", "child"])
files.write("--json", "-", "{}")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "{}\n"
    assert all(word in ran.stderr for word in ("python", "kept reference", "descriptor", "child"))
