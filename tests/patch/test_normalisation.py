from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from patching import LOOP, Script, changed_lines, kinds


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def same_numbers(script: Script, remedy: str) -> None:
    """Fresh normalisations have nothing random in them, so both networks are the same function."""
    weights, remedied = script.weights(), script.remedied(remedy)
    x = torch.randn(5, *script.inputs)
    expected = remedied(x)
    script.patched(remedy)
    net = script.net()
    own = [p for name, p in net.named_parameters() if not _is_norm(net, name)]
    assert len(own) == len(weights)
    with torch.no_grad():
        for p, w in zip(own, weights.values(), strict=True):
            p.copy_(w)
    assert torch.allclose(net(x), expected, atol=1e-5)


def _is_norm(net: nn.Module, name: str) -> bool:
    return "Norm" in type(net.get_submodule(name.rpartition(".")[0])).__name__


LIST = """\
from torch import nn


def Net(width=8):
    layers = [nn.Linear(4, width), nn.Tanh()]
    for k in range(2):
        layers += [
            nn.Linear(width + k, width + k + 1),
            nn.Dropout(0.0),
            nn.Sigmoid(),  # hidden
        ]
    layers.append(nn.Linear(width + 2, 6))
    layers.append(nn.Sigmoid())
    return nn.Sequential(*layers, nn.Linear(6, 2))
"""


@pytest.mark.parametrize("remedy", ["batchnorm", "batchnorm(after)", "layernorm", "layernorm(after)"])
def test_lists_that_become_a_sequential(tmp_path: Path, remedy: str) -> None:
    script = Script(tmp_path, LIST)
    same_numbers(script, remedy)
    gone, come = changed_lines(LIST, script.read())
    assert len(gone) == 1  # only the line that has the layer and its activation together
    name = "nn.BatchNorm1d" if remedy.startswith("batch") else "nn.LayerNorm"
    assert f"            {name}(width + k + 1)," in come
    assert f"    layers.append({name}(6))" in come
    assert "            nn.Sigmoid(),  # hidden\n" in script.read()


BUILT = """\
from torch import nn


def Net(sizes=(4, 8, 6, 5, 2), drop=0.0, norm=False):
    layers = []
    for i in range(len(sizes) - 1):
        {linear}
        if norm:
            layers.append(nn.BatchNorm1d(sizes[i + 1]))
        if i < len(sizes) - 2:
            layers.append(nn.Dropout(drop))
            {activation}
    return nn.Sequential(*layers)
"""
LINEARS = ["layers.append(nn.Linear(sizes[i], sizes[i + 1]))", "layers += [nn.Linear(sizes[i], sizes[i + 1])]"]


@pytest.mark.parametrize("linear", LINEARS)
@pytest.mark.parametrize(
    "activation", ["layers.append(nn.Tanh())", "layers.extend([nn.Tanh()])", "layers += [nn.Tanh()]"]
)
@pytest.mark.parametrize("remedy", ["batchnorm", "layernorm(after)"])
def test_the_width_is_that_of_an_earlier_statement(tmp_path: Path, linear: str, activation: str, remedy: str) -> None:
    script = Script(tmp_path, BUILT.format(linear=linear, activation=activation))
    same_numbers(script, remedy)
    assert "Norm(sizes[i + 1])" in script.read().replace("Norm1d", "Norm")


@pytest.mark.parametrize("between", ["layers.append(nn.Linear(sizes[i + 1], sizes[i + 1]))", "print(layers)"])
def test_no_width_is_taken_over_what_may_change_it(tmp_path: Path, between: str) -> None:
    text = BUILT.format(linear=LINEARS[0], activation="layers.append(nn.Tanh())")
    script = Script(tmp_path, text.replace("layers.append(nn.BatchNorm1d(sizes[i + 1]))", between))
    assert "its width differs" in script.express("batchnorm").missing[0]


NAMED = """\
from collections import OrderedDict

from torch import nn


def Net(width=5):
    return nn.Sequential(
        OrderedDict(
            [
                ("first", nn.Linear(4, width)),
                ("act", nn.Sigmoid()),  # hidden
                ("last", nn.Linear(width, 2)),
            ]
        )
    )
"""


@pytest.mark.parametrize("remedy", ["batchnorm", "layernorm(after)"])
def test_named_items(tmp_path: Path, remedy: str) -> None:
    script = Script(tmp_path, NAMED)
    same_numbers(script, remedy)
    assert re.search(r'\n {16}\("norm1", nn\.\w+\(width\)\),\n', script.read())
    assert [name for name, _ in script.net().named_children()][::3] == ["first", "last"]


def test_named_items_of_something_else_stay(tmp_path: Path) -> None:
    text = NAMED.replace("nn.Sequential(", "nn.Sequential(*nn.ModuleDict(").replace("    )\n", "    ).values())\n")
    text = text.replace("        ).values())\n", "        )\n", 1)
    patch = Script(tmp_path, text).express("batchnorm")
    assert "not of an nn.Sequential" in patch.missing[0]


IMAGES = """\
from torch import nn

Net = lambda: nn.Sequential(
    nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True),
    nn.Conv2d(3, out_channels=5, kernel_size=3),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(80, 2))
"""


@pytest.mark.parametrize(("remedy", "expected"), [("batchnorm", "nn.BatchNorm2d(5)"), ("layernorm", "GroupNorm(1, 5)")])
def test_images(tmp_path: Path, remedy: str, expected: str) -> None:
    script = Script(tmp_path, IMAGES, inputs=(1, 8, 8))
    same_numbers(script, remedy)
    assert expected in script.read()


FORWARD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = None
        self.a = nn.Linear(4, 5)
        self.b = nn.Linear(5, 6)
        self.c = nn.Linear(6, 7)
        self.d = nn.Linear(7, 2)
        self.act = nn.Sigmoid()
        # the end of it

    def forward(self, x):
        x = torch.sigmoid(self.a(x))
        x = self.act(self.b(x))
        return self.d(self.c(x).tanh())
"""


@pytest.mark.parametrize("remedy", ["batchnorm", "layernorm(after)", "gelu+batchnorm", "batchnorm(after)+gelu"])
def test_functions_and_modules_called_in_forward(tmp_path: Path, remedy: str) -> None:
    script = Script(tmp_path, FORWARD)
    same_numbers(script, remedy)
    assert "self.norm4" in script.read()  # norm1 was taken


def test_one_module_called_twice(tmp_path: Path) -> None:
    text = FORWARD.replace("torch.sigmoid(self.a(x))", "self.act(self.a(x))").replace(
        "nn.Linear(5, 6)", "nn.Linear(5, 5)"
    )
    same_numbers(Script(tmp_path, text.replace("nn.Linear(6, 7)", "nn.Linear(5, 7)")), "batchnorm")


def test_one_module_called_everywhere(tmp_path: Path) -> None:
    """The calls meet their layers in the order in which they run: the inner of two first."""
    text = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3)
        self.conv2 = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.fc1, self.fc2 = nn.Linear(4, 5), nn.Linear(5, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        x = self.relu(self.conv2(self.relu(self.conv1(x)))).mean((2, 3))
        return self.out(self.relu(self.fc2(self.relu(self.fc1(x)))))
"""
    script = Script(tmp_path, text, inputs=(1, 8, 8))
    same_numbers(script, "batchnorm")
    norms = [m for m in script.net().modules() if "Norm" in type(m).__name__]
    assert sorted((type(m).__name__, m.num_features) for m in norms) == [
        ("BatchNorm1d", 5),
        ("BatchNorm1d", 6),
        ("BatchNorm2d", 3),
        ("BatchNorm2d", 4),
    ]


def test_calls_that_may_not_run_stay(tmp_path: Path) -> None:
    text = FORWARD.replace("torch.sigmoid(self.a(x))", "self.act(self.a(x))")
    text = text.replace("x = self.act(self.b(x))", "if len(x):\n            x = self.act(self.b(x))")
    patch = Script(tmp_path, text).express("batchnorm")
    assert "which of its calls runs where" in patch.missing[0]
    assert "torch.nn.BatchNorm1d(5)" in patch.missing[0]


def test_a_recurrent_cell_shares_one(tmp_path: Path) -> None:
    text = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 5)
        self.b = nn.Linear(5, 5)
        self.c = nn.Linear(5, 2)

    def forward(self, x):
        h = torch.zeros(len(x), 5)
        for t in range(3):
            h = torch.tanh(self.a(x[:, t]) + self.b(h))
        return self.c(h)
"""
    same_numbers(Script(tmp_path, text, inputs=(3, 4)), "layernorm")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("for k in range(2):", "for k in range(2):\n        print(layers[0])", "used by their numbers"),
        ("nn.Sequential(*layers, nn.Linear(6, 2))", "Own(layers)", "not an item of an nn.Sequential"),
        ("width + k + 1)", "next(iter([width + k + 1])))", "width differs"),
    ],
)
def test_lists_that_may_be_something_else_stay(tmp_path: Path, old: str, new: str, reason: str) -> None:
    own = """

class Own(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.last = nn.Linear(6, 2)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.last(x)
"""
    patch = Script(tmp_path, LIST.replace(old, new) + own).express("batchnorm")
    assert any(reason in m for m in patch.missing), patch.missing


def test_a_loop_over_a_module_list_stays(tmp_path: Path) -> None:
    patch = Script(tmp_path, LOOP).express("batchnorm")
    assert not patch.diff
    assert "more than one place" in patch.missing[0]


def test_units_on_the_last_axis_of_a_sequence(tmp_path: Path) -> None:
    text = (
        "from torch import nn\n\n\ndef Net():\n    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))\n"
    )
    script = Script(tmp_path, text, inputs=(6, 4), outputs=12)
    patch = script.express("batchnorm")
    assert not patch.diff
    assert "no batch normalisation for units on axis 2 of 3" in patch.missing[0]
    assert "nn.LayerNorm(3)" in script.patched("layernorm")


def test_places_that_have_one_are_left_alone(tmp_path: Path) -> None:
    text = """\
from torch import nn


def Net():
    return nn.Sequential(
        nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(),
        nn.Linear(3, 3), nn.Sigmoid(),
        nn.Linear(3, 2),
    )
"""
    script = Script(tmp_path, text)
    script.patched("batchnorm")
    assert kinds(script.net()).count("BatchNorm1d") == 2
