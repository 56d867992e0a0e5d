"""The exchanged network computes what the remedied one does, from the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from patching import LOOP, Script, changed_lines, kinds

SEQUENTIAL = """\
import torch
from torch import nn


def Net():
    layers = [nn.Linear(4, 8), nn.{first}]  # the first
    for _ in range(2):
        layers += [
            nn.Linear(8, 8),
            nn.{second},  # hidden
        ]
    return nn.Sequential(*layers, nn.Linear(8, 2))
"""

FUNCTIONS = """\
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        x = torch.sigmoid(self.a(x))  # one
        x = F.leaky_relu(self.b(x), 0.3)  # two
        x = (self.c(x) + x).sigmoid()  # three
        x = torch.nn.functional.elu(
            self.d(x),  # four
        )
        return torch.sigmoid(self.last(x))
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def same_numbers(script: Script, remedy: str) -> None:
    """The patched file's network against the remedied one, with equal weights."""
    weights, remedied = script.weights(), script.remedied(remedy)
    x = torch.randn(5, *script.inputs)
    expected = remedied(x)
    script.patched(remedy)
    net = script.net()
    net.load_state_dict(weights)
    assert torch.allclose(net(x), expected, atol=1e-6)


@pytest.mark.parametrize("remedy", ["relu", "tanh", "gelu", "silu", "leaky-relu", "elu"])
def test_modules(tmp_path: Path, remedy: str) -> None:
    script = Script(tmp_path, SEQUENTIAL.format(first="Sigmoid()", second="Softplus(beta=2)"))
    same_numbers(script, remedy)
    gone, come = changed_lines(script.text, script.read())
    assert len(gone) == len(come) == 2
    assert come[0].endswith("  # the first")
    assert come[1].endswith("  # hidden")


@pytest.mark.parametrize("remedy", ["relu", "tanh", "gelu", "silu", "leaky-relu"])
def test_functions(tmp_path: Path, remedy: str) -> None:
    script = Script(tmp_path, FUNCTIONS)
    same_numbers(script, remedy)
    assert "return torch.sigmoid(self.last(x))" in script.read()
    assert "self.d(x),  # four" in script.read()


def test_selu_brings_its_weights(tmp_path: Path) -> None:
    text = SEQUENTIAL.format(first="Sigmoid()", second="Sigmoid()") + "\n\nmodel = Net()\n"
    script = Script(tmp_path, text, model="return nn.Sequential")
    script.patched("selu")
    assert kinds(script.net()).count("SELU") == 3
    biases = [p for name, p in script.module().model.named_parameters() if name.endswith("bias")]
    assert all(not b.any() for b in biases)


@pytest.mark.parametrize(
    ("written", "remedy", "expected"),
    [
        ("ReLU(inplace=True)", "leaky-relu", "nn.LeakyReLU(inplace=True)"),
        ("ReLU(True)", "elu", "nn.ELU(inplace=True)"),
        ("LeakyReLU(0.2, True)", "relu", "nn.ReLU(inplace=True)"),
        ("ReLU(inplace=True)", "tanh", "nn.Tanh()"),
        ("Softplus(2.0)", "relu", "nn.ReLU()"),
        ("PReLU(8)", "gelu", "nn.GELU()"),
    ],
)
def test_arguments_that_fit_are_kept(tmp_path: Path, written: str, remedy: str, expected: str) -> None:
    script = Script(tmp_path, SEQUENTIAL.format(first=written, second=written))
    assert script.patched(remedy).count(expected) == 2


@pytest.mark.parametrize("remedy", ["relu", "silu"])
def test_in_place(tmp_path: Path, remedy: str) -> None:
    text = FUNCTIONS.replace("x = torch.sigmoid(self.a(x))", "x = self.a(x); x.sigmoid_()")
    same_numbers(Script(tmp_path, text), remedy)


def test_what_overwrites_its_input_is_left_to_what_can(tmp_path: Path) -> None:
    text = FUNCTIONS.replace("x = torch.sigmoid(self.a(x))", "x = self.a(x); x.sigmoid_()")
    patch = Script(tmp_path, text).express("gelu")
    assert len(patch.missing) == 1
    assert "overwrites its input" in patch.missing[0]
    assert "torch.nn.functional.gelu(x)" in patch.missing[0]


def test_a_module_that_is_called_for_what_it_overwrites(tmp_path: Path) -> None:
    text = FUNCTIONS.replace("self.last =", "self.act = nn.ReLU(inplace=True)\n        self.last =")
    text = text.replace("x = torch.sigmoid(self.a(x))", "x = self.a(x)\n        self.act(x)")
    patch = Script(tmp_path, text).express("gelu")
    assert "relu at train.py:10 stays" in patch.missing[0]
    assert "self.act = nn.ELU(inplace=True)" in Script(tmp_path, text).patched("elu")


@pytest.mark.parametrize(
    ("imports", "call", "remedy", "expected"),
    [
        ("from torch.nn import Linear, Sequential, Sigmoid", "Sigmoid()", "relu", "from torch.nn import ReLU\n"),
        ("from torch.nn import Linear, ReLU, Sequential, Sigmoid", "Sigmoid()", "relu", ", ReLU(), "),
        ("from torch.nn import Linear, Sequential, Sigmoid as S", "S()", "gelu", ", GELU(), "),
        ("import torch.nn as N\nfrom torch.nn import Linear, Sequential", "N.Sigmoid()", "gelu", ", N.GELU(), "),
        ("import torch\nfrom torch.nn import Linear, Sequential", "torch.nn.Sigmoid()", "elu", ", torch.nn.ELU(), "),
    ],
)
def test_imports(tmp_path: Path, imports: str, call: str, remedy: str, expected: str) -> None:
    text = f"{imports}\n\n\ndef Net():\n    return Sequential(Linear(4, 3), {call}, Linear(3, 2))\n"
    script = Script(tmp_path, text)
    assert expected in script.patched(remedy)
    assert len(kinds(script.net())) == 3


def test_a_function_that_was_imported_by_name(tmp_path: Path) -> None:
    text = FUNCTIONS.replace("from torch import nn", "from torch import nn, sigmoid as s")
    script = Script(tmp_path, text.replace("torch.sigmoid(self.a(x))", "s(self.a(x))"))
    same_numbers(script, "gelu")


BY_VARIABLE = """\
from torch import nn


class Block(nn.Module):
    def __init__(self, width, act=nn.Sigmoid):
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.act = act()

    def forward(self, x):
        return self.act(self.layer(x))


def Net():
    return nn.Sequential(Block(4), Block(4{argument}), nn.Linear(4, 2))
"""


def test_a_class_in_a_variable(tmp_path: Path) -> None:
    script = Script(tmp_path, BY_VARIABLE.format(argument=""))
    same_numbers(script, "relu")
    assert "act=nn.ReLU):" in script.read()


@pytest.mark.parametrize("argument", [", nn.Tanh", ", act=nn.Tanh"])
def test_a_variable_with_two_values_stays(tmp_path: Path, argument: str) -> None:
    patch = Script(tmp_path, BY_VARIABLE.format(argument=argument)).express("relu")
    assert not patch.diff
    assert any("gives act more than one value" in m for m in patch.missing)


def test_a_class_passed_by_position(tmp_path: Path) -> None:
    text = BY_VARIABLE.replace("act=nn.Sigmoid", "act").replace("Block(4)", "Block(4, nn.Sigmoid)")
    script = Script(tmp_path, text.replace("Block(4{argument}), ", ""))
    assert "Block(4, nn.ReLU)" in script.patched("relu")


def test_a_function_in_an_attribute(tmp_path: Path) -> None:
    text = FUNCTIONS.replace("self.last =", "self.act = torch.tanh\n        self.last =")
    script = Script(tmp_path, text.replace("torch.sigmoid(self.a(x))", "self.act(self.a(x))"))
    same_numbers(script, "relu")
    assert "self.act = torch.relu" in script.read()


def test_a_variable_that_makes_the_output_too_stays(tmp_path: Path) -> None:
    text = """\
from torch import nn


def Net(act=nn.Sigmoid):
    layers = [nn.Linear(4, 3), act()]
    layers += [nn.Linear(3, 2)]
    layers += [act()]
    return nn.Sequential(*layers)
"""
    patch = Script(tmp_path, text).express("relu")
    assert not patch.diff
    assert "has to stay as it is" in patch.missing[0]


@pytest.mark.parametrize(
    "body",
    [
        # hidden and output on one line
        "    return nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2), nn.Sigmoid())\n",
        # one function called for both
        "    def part(a, b):\n        return [nn.Linear(a, b), nn.Sigmoid()]\n"
        "    return nn.Sequential(*part(4, 3), *part(3, 2))\n",
        # not spelled out
        "    return nn.Sequential(nn.Linear(4, 3), ACTS['s'](), nn.Linear(3, 2))\n",
        # one that is never run
        "    spare, used = nn.Sigmoid(), nn.Sigmoid()\n"
        "    return nn.Sequential(nn.Linear(4, 3), used, nn.Linear(3, 2))\n",
    ],
)
def test_what_is_not_clear_stays(tmp_path: Path, body: str) -> None:
    text = f"from torch import nn\n\nACTS = {{'s': nn.Sigmoid}}\n\n\ndef Net():\n{body}"
    patch = Script(tmp_path, text).express("relu")
    assert patch.diff == ""
    assert patch.files == ()
    assert not patch.complete
    assert len(patch.missing) == 1
    assert "torch.nn.ReLU()" in patch.missing[0]


def test_several_hidden_ones_on_one_line(tmp_path: Path) -> None:
    line = "nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 2))"
    script = Script(tmp_path, f"from torch import nn\n\n\ndef Net():\n    return {line}\n")
    assert script.patched("relu").count("nn.ReLU()") == 2


def test_a_loop_over_layers(tmp_path: Path) -> None:
    same_numbers(Script(tmp_path, LOOP), "relu")


def test_a_library_s_own_activations_stay(tmp_path: Path) -> None:
    text = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="relu", dropout=0.0)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.inner(x).relu()).mean(1)
"""
    script = Script(tmp_path, text, inputs=(3, 4))
    patch = script.express("gelu")
    assert "relu at train.py:7 stays" in patch.missing[0]
    script.apply(patch)
    assert changed_lines(text, script.read())[1] == [
        "        return self.last(nn.functional.gelu(self.inner(x))).mean(1)"
    ]


def test_trelu_names_its_slope(tmp_path: Path) -> None:
    (first, _) = Script(tmp_path, SEQUENTIAL.format(first="Tanh()", second="Tanh()")).express("trelu").missing
    assert "leaky_relu(x, " in first


def test_no_hidden_activation(tmp_path: Path) -> None:
    text = "from torch import nn\n\n\ndef Net():\n    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))\n"
    assert "no hidden activation" in Script(tmp_path, text).express("relu").missing[0]


@pytest.mark.parametrize("other", ["def ReLU():\n    return None", "ReLU = None", "for ReLU in (): pass"])
def test_a_name_that_the_file_uses_otherwise_is_not_imported(tmp_path: Path, other: str) -> None:
    text = f"from torch.nn import Linear, Sequential, Sigmoid\n\n{other}\n\n\n"
    text += "def Net():\n    return Sequential(Linear(4, 3), Sigmoid(), Linear(3, 2))\n"
    patch = Script(tmp_path, text).express("relu")
    assert not patch.diff
    assert "ReLU has another meaning in train.py" in patch.missing[0]
    assert "GELU()" in Script(tmp_path, text).patched("gelu")
