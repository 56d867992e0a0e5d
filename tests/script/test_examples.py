"""Every script in examples/scripts: named if it is sick, left alone if it is well, and the same to the last bit."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "examples" / "scripts"
EXPECTED: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("expected.toml").read_text())["script"]


@dataclass(frozen=True)
class Both:
    """One script run by itself, and observed to its end. plain, observed: the folders of what they wrote."""

    report: dict[str, Any]
    status: int
    said: str
    printed: tuple[str, str]
    plain: Path
    observed: Path


def _run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def _both(entry: dict[str, Any], folder: Path) -> Both:
    cwd = SCRIPTS / entry.get("directory", "")
    target = ["-m", entry["module"]] if "module" in entry else [str(SCRIPTS / entry["file"])]
    plain, observed, report = folder / "plain", folder / "observed", folder / "report.json"
    alone = _run([sys.executable, *target, *entry.get("args", []), "--out", str(plain)], cwd)
    assert alone.returncode == 0, alone.stderr
    unstick = [sys.executable, "-m", "unstick", "diagnose", "--keep-going", "--quiet", f"--json={report}"]
    seen = _run([*unstick, *target, "--", *entry.get("args", []), "--out", str(observed)], cwd)
    assert report.exists(), seen.stderr
    return Both(
        report=json.loads(report.read_text()),
        status=seen.returncode,
        said=seen.stdout + seen.stderr,
        printed=(alone.stdout, seen.stdout),
        plain=plain,
        observed=observed,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Both]]]:
    """All of them at once, two at a time: most of what they take is the import of frameworks."""
    before = {path: path.read_bytes() for path in SCRIPTS.rglob("*.py")}
    with ThreadPoolExecutor(2) as pool:
        yield {e["file"]: pool.submit(_both, e, tmp_path_factory.mktemp("run")) for e in EXPECTED}
    assert {path: path.read_bytes() for path in before} == before


def _of(state: bool) -> list[Any]:
    return [pytest.param(entry, id=entry["file"]) for entry in EXPECTED if entry["healthy"] is state]


def test_every_script_is_expected_to_be_something() -> None:
    named = {entry["file"] for entry in EXPECTED}
    mains = {path.name for path in SCRIPTS.glob("*.py")} - {"series.py"}  # which others import
    assert named == mains | {"package/trainer/__main__.py"}


@pytest.mark.parametrize("entry", _of(False))
def test_a_sick_script_gets_its_cause_and_its_line(entry: dict[str, Any], runs: dict[str, Future[Both]]) -> None:
    run = runs[entry["file"]].result()
    first = run.report["findings"][0]
    assert first["rule"] == entry["rule"], run.said
    source, _, line = first["source"].rpartition(":")
    assert Path(source).name == Path(entry["file"]).name
    assert entry["line"] in (SCRIPTS / entry["file"]).read_text().splitlines()[int(line) - 1]
    assert first["severity"] in ("error", "warning")
    assert run.status == (1 if first["severity"] == "error" else 0)


@pytest.mark.parametrize("entry", _of(True))
def test_a_healthy_script_is_left_alone(entry: dict[str, Any], runs: dict[str, Future[Both]]) -> None:
    run = runs[entry["file"]].result()
    assert [f for f in run.report["findings"] if f["severity"] != "info"] == []
    assert run.status == 0, run.said
    assert run.report["learning"]["learns"] is (None if entry["file"] == "gan.py" else True)


@pytest.mark.parametrize("entry", _of(True) + _of(False))
def test_a_script_does_the_same_with_and_without(entry: dict[str, Any], runs: dict[str, Future[Both]]) -> None:
    run = runs[entry["file"]].result()
    files = sorted(p.relative_to(run.plain) for p in run.plain.rglob("*") if p.is_file())
    assert Path("losses.txt") in files
    assert sorted(p.relative_to(run.observed) for p in run.observed.rglob("*") if p.is_file()) == files
    different = [f for f in files if not filecmp.cmp(run.plain / f, run.observed / f, shallow=False)]
    assert different == []
