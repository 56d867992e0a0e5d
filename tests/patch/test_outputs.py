from __future__ import annotations

from pathlib import Path

import pytest
import torch

from patching import Script

MODULE = """\
from torch import nn


def Net():
    return nn.Sequential(
        nn.Linear(4, 3),
        nn.Sigmoid(),
        nn.Linear(3, 2),
        nn.Softmax(dim=1),  # the output
    )
"""

FUNCTION = """\
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        x = torch.sigmoid(self.a(x))
        return {output}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def same_numbers(script: Script, remedy: str) -> None:
    weights, remedied = script.weights(), script.remedied(remedy)
    x = torch.randn(5, 4)
    expected = remedied(x)
    script.patched(remedy)
    net = script.net()
    net.load_state_dict(weights)
    assert torch.allclose(net(x), expected, atol=1e-6)


@pytest.mark.parametrize("function", ["linear", "sigmoid", "log-softmax"])
def test_modules(tmp_path: Path, function: str) -> None:
    script = Script(tmp_path, MODULE)
    same_numbers(script, f"output({function})")
    assert "),  # the output\n" in script.read()


@pytest.mark.parametrize("output", ["F.softmax(self.b(x), dim=1)", "self.b(x).softmax(1)", "F.sigmoid(self.b(x) + 1)"])
def test_functions(tmp_path: Path, output: str) -> None:
    same_numbers(Script(tmp_path, FUNCTION.format(output=output)), "output(linear)")


def test_another_function_in_the_place_of_one_stays(tmp_path: Path) -> None:
    script = Script(tmp_path, FUNCTION.format(output="F.softmax(self.b(x), dim=1)"))
    (missing,) = script.express("output(sigmoid)").missing
    assert "return torch.sigmoid(out)" in missing


def test_a_line_that_makes_hidden_ones_too_stays(tmp_path: Path) -> None:
    text = "from torch import nn\n\n\ndef Net():\n    act = nn.Sigmoid()\n"
    text += "    return nn.Sequential(nn.Linear(4, 3), act, nn.Linear(3, 2), act)\n"
    patch = Script(tmp_path, text).express("output(linear)")
    assert not patch.diff
    assert "has to stay" in patch.missing[0]


def test_nothing_at_the_output(tmp_path: Path) -> None:
    patch = Script(tmp_path, FUNCTION.format(output="self.b(x)")).express("output(linear)")
    assert "no activation stands at the output" in patch.missing[0]
