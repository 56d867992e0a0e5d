"""Trials of scripts as people start them: real processes, a real repository, and the patch applied by git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "scripts"

SIGMOIDS = """
import torch
from torch import nn

import batches

torch.manual_seed(0)
layers = []
for width in [8] + [16] * 14:
    layers += [nn.Linear(width, 16), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for x, y in batches.draw(170):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
open("losses.txt", "w").write("\\n".join(map(repr, losses)))
torch.save(model, "model.pt")
"""

BATCHES = """
import torch


def draw(count):
    for _ in range(count):
        x = torch.randn(64, 8)
        yield x, (x[:, 0] > 0).long()
"""

TWO = """
import torch
from torch import nn

a, b = nn.Linear(4, 4), nn.Linear(4, 1)
one, two = torch.optim.SGD(a.parameters(), lr=0.1), torch.optim.SGD(b.parameters(), lr=0.1)
for _ in range(20):
    loss = b(a(torch.randn(8, 4))).square().mean()
    one.zero_grad(), two.zero_grad()
    loss.backward()
    one.step(), two.step()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SIGMOIDS)
    (tmp_path / "batches.py").write_text(BATCHES)
    (tmp_path / "two.py").write_text(TWO)
    subprocess.run(["git", "init", "--quiet", "."], cwd=tmp_path, check=True)
    return tmp_path


def _try(folder: Path, *arguments: str) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    command = [sys.executable, "-m", "unstick", "try", *arguments]
    split = command.index("--") if "--" in command else len(command)
    command[split:split] = ["--json", "report.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    report = folder / "report.json"
    return (json.loads(report.read_text()) if report.exists() else {}), done


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".git"}


def _losses(folder: Path) -> list[float]:
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return [float(line) for line in (folder / "losses.txt").read_text().splitlines()]


def test_the_remedy_is_found_and_the_patched_script_learns(folder: Path) -> None:
    before = _names(folder)
    report, done = _try(
        folder, "train.py", "relu+init(he)", "lr(x3)", "--seeds", "2", "--steps", "120", "--write", "p.patch"
    )
    assert done.returncode == 0, done.stderr
    # What the script writes in a trial is nobody's: neither its losses nor half-trained, changed networks.
    assert _names(folder) == before | {"report.json", "p.patch"}
    assert (folder / "train.py").read_text() == SIGMOIDS
    verdicts = {trial["remedy"]: trial["verdict"] for trial in report["trials"]}
    assert verdicts["relu+init(he)"] == "fixes"
    assert verdicts["lr(x3)"] in ("no-effect", "inconclusive")
    assert report["recommended"] == "relu+init(he)"
    lines = SIGMOIDS.splitlines()
    named = {trial["remedy"]: trial["lines"] for trial in report["trials"]}
    assert [lines[int(at.partition(":")[2]) - 1] for at in named["lr(x3)"]] == [
        "optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)"
    ]
    assert f"train.py:{lines.index('    layers += [nn.Linear(width, 16), nn.Sigmoid()]') + 1}" in named["relu+init(he)"]
    assert report["patch"]["verified"]
    assert report["patch"]["verdict"] == "fixes"
    assert min(_losses(folder)[-20:]) > 0.6
    subprocess.run(["git", "apply", "p.patch"], cwd=folder, check=True)
    assert (folder / "train.py").read_text() != SIGMOIDS
    assert max(_losses(folder)[-20:]) < 0.45


def test_the_report_does_not_depend_on_the_number_of_workers(folder: Path) -> None:
    reports = []
    for workers in ("1", "2"):
        report, done = _try(folder, "train.py", "batchnorm", "--seeds", "2", "--steps", "40", "--workers", workers)
        assert done.returncode == 0, done.stderr
        del report["seconds"], report["command"]
        reports.append(report)
    assert reports[0] == reports[1]


def test_a_patch_that_does_not_do_what_the_remedy_does_is_not_written(folder: Path) -> None:
    shutil.copy(EXAMPLES / "left_out.py", folder)
    report, done = _try(folder, "left_out.py", "adam", "--seeds", "2", "--steps", "300", "--write", "p.patch")
    assert report["trials"][0]["verdict"] == "fixes"
    assert report["patch"]["file"] is None
    assert report["patch"]["verdict"] == "no-effect"
    assert not (folder / "p.patch").exists()
    assert "No patch was written: the patched script did not do what adam does." in done.stdout


def test_what_cannot_be_expressed_is_shown_as_lines(folder: Path) -> None:
    report, done = _try(folder, "train.py", "init(critical)", "--seeds", "2", "--steps", "120", "--write", "p.patch")
    assert report["recommended"] == "init(critical)"
    assert not (folder / "p.patch").exists()
    assert "No patch was written" in done.stdout
    assert "torch.nn.init.orthogonal_" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["two.py", "relu"], "two.py cannot be tried: it has 2 optimizers"),
        (["train.py", "rellu"], "did you mean 'relu'?"),
        (["nothing.py", "relu"], "nothing.py does not exist"),
        (["train.py", "relu", "--device", "cpu"], "a script decides itself where it trains"),
        (["batches.py", "relu"], "it made no torch.optim optimizer"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: list[str], message: str) -> None:
    _, done = _try(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
