"""Trials that are cut off and go on: by an exception at every moment, and by SIGKILL in real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from torch import nn

from trials.test_run import case, document
from unstick.errors import CaseError, OutputError
from unstick.trials import run, try_remedies
from unstick.trials.engines import InProcess

REMEDIES = ["lr(x30)", "relu", "match-shape"]
"""Of a shallow network: one that is settled after three seeds, one that needs more, and one that does not apply."""


def shallow() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2))


class Cut(Exception):
    pass


@pytest.fixture
def here(monkeypatch):
    """All runs in this process, since the processes of an engine take seconds to start."""
    monkeypatch.setattr(run, "LocalEngine", lambda task, workers: InProcess(task))


def cut_after(runs: int):
    def progress(_, done, __):
        if done == runs:
            raise Cut

    return progress


def keys(folder: Path) -> list[tuple[str | None, int]]:
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [(line["remedy"], line["seed"]) for line in lines if "remedy" in line]


def test_cut_off_anywhere_the_report_is_the_same_and_no_run_is_made_twice(here, tmp_path):
    report = try_remedies(case(shallow), REMEDIES, steps=20, workers=1)
    whole, failed = document(report), 3
    total = len(report.baseline) + sum(len(trial.runs) for trial in report) + failed
    assert total > 4 * 3, "some remedy needs a second look"
    folder = tmp_path / "run"
    for runs in range(0, total, 3):
        with pytest.raises(Cut):
            try_remedies(case(shallow), REMEDIES, steps=20, workers=1, resume=folder, progress=cut_after(runs))
        assert len(keys(folder)) == runs
    assert document(try_remedies(case(shallow), REMEDIES, steps=20, workers=1, resume=folder)) == whole
    assert len(set(keys(folder))) == len(keys(folder)) == total
    made = []
    again = try_remedies(case(shallow), REMEDIES, steps=20, resume=folder, progress=lambda *state: made.append(state))
    assert document(again) == whole


def test_what_the_findings_name_is_asked_once(here, tmp_path, monkeypatch):
    whole = document(try_remedies(case(), steps=120, seeds=2, workers=1))
    with pytest.raises(Cut):
        try_remedies(case(), steps=120, seeds=2, workers=1, resume=tmp_path, progress=cut_after(2))
    monkeypatch.setattr(run, "find", None)
    assert document(try_remedies(case(), steps=120, seeds=2, workers=1, resume=tmp_path)) == whole


def test_other_weights_data_or_options_are_refused(here, tmp_path):
    try_remedies(case(), ["relu"], steps=2, seeds=2, resume=tmp_path)
    for other in (case(batch_size=32), case(name="others"), case(optimizer=lambda parameters: None)):
        with pytest.raises(OutputError, match=r"changed|others"):
            try_remedies(other, ["relu"], steps=2, seeds=2, resume=tmp_path)
    with pytest.raises(OutputError, match="steps 2 there, 3 here"):
        try_remedies(case(), ["relu"], steps=3, seeds=2, resume=tmp_path)


def test_a_case_that_fails_leaves_nothing_that_would_hide_it(here, tmp_path):
    def step(model, batch):
        raise RuntimeError("never")

    for _ in range(2):
        with pytest.raises(CaseError, match="never"):
            try_remedies(case(loss=None, step=step), ["relu"], steps=2, resume=tmp_path)


MODEL = """
import torch
from torch import nn
from unstick import Case


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2))


def case():
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    return Case(network, (x, (x[:, 0] > 0).long()), nn.functional.cross_entropy)
"""

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters())
for _ in range(40):
    x = torch.randn(64, 4)
    loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "unstick", "try", *arguments, "--steps", "30", "--seeds", "2", "--quiet"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed_after(lines: int, folder: Path, *arguments: str) -> None:
    """Starts it, and kills it as soon as so many results are kept."""
    with started(folder, *arguments) as process:
        while count(folder / "run" / "results.jsonl") < lines:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.005)
                raise AssertionError(process.stderr.read())
        os.kill(process.pid, signal.SIGKILL)


def count(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def report(folder: Path, *arguments: str) -> dict:
    with started(folder, *arguments, "--json", "report.json") as process:
        assert process.wait() == 0, process.stderr.read()
    read = json.loads((folder / "report.json").read_text())
    return {key: value for key, value in read.items() if key not in ("seconds", "command")}


@pytest.mark.parametrize(
    ("target", "kills"), [("model.py:case", (1, 3)), ("train.py", (2,))], ids=lambda value: str(value).split(".")[0]
)
def test_killed_it_goes_on(tmp_path: Path, target: str, kills: Iterable[int]):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "train.py").write_text(SCRIPT)
    asked = (target, "relu", "--workers", "2")
    for lines in kills:
        killed_after(lines, tmp_path, *asked, "--resume", "run")
        assert count(tmp_path / "run" / "results.jsonl") < 4
    assert report(tmp_path, *asked, "--resume", "run") == report(tmp_path, *asked)
    assert sorted(keys(tmp_path / "run"), key=str) == [("relu", 0), ("relu", 1), (None, 0), (None, 1)]
