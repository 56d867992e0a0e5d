from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from patching import Script, changed_lines

SCRIPT = """\
import torch
from torch import nn, optim

config = {{"rate": 0.3, "eps": 1e-4}}
rate = 0.3


def Net():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


model = Net()
optimizer = {call}


def train():
    model(100 * torch.ones(1, 4)).sum().backward()
    optimizer.step()  # the step
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def script(folder: Path, call: str, rate: float = 0.3) -> Script:
    return Script(folder, SCRIPT.format(call=call), optimizer=f"{call.partition('(')[0]}(", rate=rate)


def group(s: Script) -> dict[str, Any]:
    optimizer = s.module().optimizer
    assert isinstance(optimizer, torch.optim.Optimizer)
    return {"class": type(optimizer).__name__, **optimizer.param_groups[0]}


@pytest.mark.parametrize(
    ("call", "remedy", "rate", "text"),
    [
        ("optim.SGD(model.parameters(), lr=0.3)", "lr(x10)", 3.0, "lr=3)"),
        ("optim.SGD(model.parameters(), 0.3, 0.9)", "lr(x0.1)", 0.03, "(), 0.03, 0.9)"),
        ("torch.optim.Adam(model.parameters())", "lr(x10)", 0.01, "lr=0.01)"),
        ("torch.optim.Adam(model.parameters())", "lr(1e-5)", 1e-5, "lr=1e-05)"),
        ('optim.SGD(model.parameters(), lr=config["rate"])', "lr(x10)", 3.0, 'lr=10 * config["rate"])'),
        ("optim.SGD(model.parameters(), lr=rate + 0.1)", "lr(x10)", 4.0, "lr=10 * (rate + 0.1))"),
        ("optim.SGD(model.parameters(), lr=rate)", "lr(0.2)", 0.2, "lr=0.2)"),
    ],
)
def test_rates(tmp_path: Path, call: str, remedy: str, rate: float, text: str) -> None:
    s = script(tmp_path, call, rate=0.001 if "Adam" in call else 0.3)
    assert text in s.patched(remedy)
    assert group(s)["lr"] == pytest.approx(rate)


@pytest.mark.parametrize(
    ("remedy", "expected"),
    [
        ("adam", {"class": "Adam", "lr": 1e-3, "eps": 1e-8, "weight_decay": 0}),
        ("adam(lr=0.02, eps=1e-12)", {"class": "Adam", "lr": 0.02, "eps": 1e-12}),
        ("adam+lr(x10)", {"class": "Adam", "lr": 0.01}),
        ("sgd(lr=0.2, momentum=0.5)", {"class": "SGD", "lr": 0.2, "momentum": 0.5}),
        ("sgd+lr(1e-3)", {"class": "SGD", "lr": 1e-3, "momentum": 0}),
    ],
)
def test_other_optimizers(tmp_path: Path, remedy: str, expected: dict[str, Any]) -> None:
    s = script(tmp_path, "optim.AdamW(model.parameters(), lr=0.3,\n    weight_decay=1,\n)")
    s.patched(remedy)
    found = group(s)
    assert {key: found[key] for key in expected} == expected


def test_an_optimizer_imported_by_name(tmp_path: Path) -> None:
    text = SCRIPT.format(call="RMSprop(model.parameters())").replace(
        "import torch\n", "import torch\nfrom torch.optim import RMSprop\n"
    )
    s = Script(tmp_path, text, optimizer="RMSprop(")
    s.patched("adam")
    assert group(s)["class"] == "Adam"


def test_clip(tmp_path: Path) -> None:
    s = script(tmp_path, "optim.SGD(model.parameters(), lr=1.0)")
    text = s.patched("clip(0.5)")
    assert changed_lines(s.text, text) == (
        [],
        ['    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 0.5)'],
    )
    module = s.module()
    before = [p.detach().clone() for p in module.model.parameters()]
    module.train()
    moved = torch.stack([(a - b).norm() for a, b in zip(before, module.model.parameters(), strict=True)]).norm()
    assert moved.item() == pytest.approx(0.5, rel=1e-3)


def test_clip_in_the_same_function(tmp_path: Path) -> None:
    text = SCRIPT.format(call="optim.SGD(model.parameters(), lr=1.0)").replace("def train():", "if True:")
    s = Script(tmp_path, text, optimizer="optim.SGD(")
    assert "    nn.utils.clip_grad_norm_(model.parameters(), 2)\n    optimizer.step()  # the step\n" in s.patched(
        "clip(2)"
    )


@pytest.mark.parametrize(
    ("call", "remedy", "reason"),
    [
        ('optim.SGD([{"params": model.parameters(), "lr": 0.3}])', "lr(x10)", "rates of their own"),
        ('optim.SGD([{"params": model.parameters(), "lr": 0.3}])', "adam", "rates of their own"),
        ("optim.SGD(model.parameters(), **{'lr': 0.3})", "lr(x10)", "unpacked"),
        ("getattr(optim, 'SGD')(model.parameters(), lr=0.3)", "lr(x10)", "by its name"),
        ("optim.LBFGS(model.parameters())", "adam", "closure"),
        ("optim.SGD(model.parameters(), lr=0.3)", "lr(depth)", "measured"),
    ],
)
def test_what_is_not_clear_stays(tmp_path: Path, call: str, remedy: str, reason: str) -> None:
    s = script(tmp_path, call)
    patch = s.express(remedy)
    assert not patch.diff
    assert reason in patch.missing[0]
    assert "optimizer" in patch.missing[0].partition("\n")[2]


@pytest.mark.parametrize(
    "step", ["optimizer.step(lambda: 0)", "optimizer.step(); optimizer.step()", "scaler.step(optimizer)"]
)
def test_steps_that_are_not_plain_are_not_clipped(tmp_path: Path, step: str) -> None:
    text = SCRIPT.format(call="optim.SGD(model.parameters(), lr=1.0)").replace("optimizer.step()", step)
    patch = Script(tmp_path, text, optimizer="optim.SGD(").express("clip(1)")
    assert not patch.diff
    assert not patch.complete


def test_no_optimizer_was_seen(tmp_path: Path) -> None:
    s = script(tmp_path, "optim.SGD(model.parameters(), lr=1.0)")
    s.optimizer = None
    assert "no optimizer" in s.express("adam").missing[0]
    assert isinstance(s.net(), nn.Module)
