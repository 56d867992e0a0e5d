from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from patching import Script
from unstick.patch import express
from unstick.remedies import parse

PLAIN = """\
from torch import nn, optim


def Net():
    return nn.Sequential(nn.Linear(4, 300), nn.{act}(), nn.Linear(300, 300), nn.{act}(), nn.Linear(300, 2))


# the model
model = Net().to("cpu")  # made here
for p in model.parameters():
    nn.init.constant_(p, 0.5)
optimizer = optim.SGD(model.parameters(), lr=0.1)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def patched(tmp_path: Path, text: str, remedy: str, **options: object) -> nn.Module:
    script = Script(tmp_path, text, model="nn.Sequential", **options)  # type: ignore[arg-type]
    script.patched(remedy)
    torch.manual_seed(0)
    model = script.module().model
    assert isinstance(model, nn.Module)
    return model


def close(weight: torch.Tensor, std: float) -> bool:
    """To 2 %: 90,000 numbers have their standard deviation to 0.25 %."""
    return abs(weight.std().item() / std - 1) < 0.02


@pytest.mark.parametrize(
    ("remedy", "std", "bias"),
    [
        ("init(he)", math.sqrt(2 / 300), 0.0),
        ("init(lecun)", math.sqrt(1 / 300), 0.0),
        ("init(xavier)", math.sqrt(2 / 600), 0.0),
        ("init(normal, std=3)", 3.0, 0.5),
        ("init(uniform, a=0.3)", 0.3 / math.sqrt(3), 0.5),
    ],
)
def test_numbers_in_distribution(tmp_path: Path, remedy: str, std: float, bias: float) -> None:
    model = patched(tmp_path, PLAIN.format(act="ReLU"), remedy)
    assert isinstance(model, nn.Sequential)
    assert close(model[2].weight, std)
    assert torch.equal(model[2].bias, torch.full_like(model[2].bias, bias))


def test_scale(tmp_path: Path) -> None:
    model = patched(tmp_path, PLAIN.format(act="ReLU"), "init(scale, factor=4)")
    assert {p.unique().item() for name, p in model.named_parameters() if "weight" in name} == {2.0}


@pytest.mark.parametrize(
    ("act", "remedy", "gain"), [("ReLU", "", math.sqrt(2)), ("Sigmoid", "", 10.149), ("GELU", "tanh+", 1)]
)
def test_orthogonal_has_the_gain_of_what_is_read(tmp_path: Path, act: str, remedy: str, gain: float) -> None:
    script = Script(tmp_path, PLAIN.format(act=act), model="nn.Sequential")
    patch = script.express(remedy + "init(orthogonal)")
    script.apply(patch)
    model = script.module().model
    assert torch.allclose(torch.linalg.svdvals(model[2].weight), torch.tensor(float(gain)), rtol=1e-3)
    assert torch.allclose(torch.linalg.svdvals(model[0].weight), torch.tensor(1.0), rtol=1e-3)


def test_orthogonal_weights_of_what_is_not_known_by_name_stay(tmp_path: Path) -> None:
    patch = Script(tmp_path, PLAIN.format(act="GELU"), model="nn.Sequential").express("init(orthogonal)")
    assert not patch.diff
    assert "orthogonal_" in patch.missing[0]


@pytest.mark.parametrize("scheme", ["lsuv", "data", "critical"])
def test_what_depends_on_data_is_left_to_the_user(tmp_path: Path, scheme: str) -> None:
    patch = Script(tmp_path, PLAIN.format(act="Tanh"), model="nn.Sequential").express(f"init({scheme})")
    assert not patch.diff
    assert "torch.nn.init.orthogonal_" in patch.missing[0]


def test_the_lines_for_unit_variance_do_it() -> None:
    from unstick.patch.initialisation import _by_data

    for per_unit in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        inputs = 5 * torch.randn(64, 4) + 2
        exec("\n".join(_by_data(per_unit)), {"torch": torch, "model": model, "inputs": inputs})
        out = model(inputs)
        assert torch.allclose(out.std(0) if per_unit else out.std(), torch.tensor(1.0), atol=1e-5)
        assert not per_unit or torch.allclose(out.mean(0), torch.tensor(0.0), atol=1e-5)


IN_MAIN = """\
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 64, 3)
        self.last = torch.nn.Linear(64, 2, bias=False)

    def forward(self, x):
        return self.last(torch.relu(self.conv(x)).mean((2, 3)))


def build():
    return Net()


# trains it
def main():
    model = build()
    return model


model = main()
"""


def test_a_class_of_the_user_s_made_inside_a_function(tmp_path: Path) -> None:
    script = Script(tmp_path, IN_MAIN, model="super().__init__()", inputs=(1, 5, 5))
    text = script.patched("init(he)")
    assert "    model = build()\n    model.apply(_init_weights)\n    return model\n" in text
    assert text.index("def _init_weights") < text.index("# trains it\ndef main")
    model = script.module().model
    assert abs(model.conv.weight.std().item() / math.sqrt(2 / 9) - 1) < 0.2
    assert not model.conv.bias.any()


def test_a_model_made_in_the_init_of_something_else(tmp_path: Path) -> None:
    text = """\
import torch


class Trainer:
    def __init__(self):
        self.model = torch.nn.Sequential(
            torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)


def Net():
    return Trainer().model
"""
    script = Script(tmp_path, text, model="torch.nn.Sequential")
    assert "        )\n        self.model.apply(_init_weights)\n        self.optimizer" in script.patched("init(he)")
    assert not any(p.any() for name, p in script.net().named_parameters() if "bias" in name)


def test_a_class_that_another_file_defines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "its_network.py").write_text(IN_MAIN.partition("\n\ndef build")[0] + "\n")
    text = "import torch\n\nfrom its_network import Net\n\nmodel = Net()\n"
    text += "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
    script = Script(tmp_path, text, model="Net()", optimizer="torch.optim.SGD(", inputs=(1, 5, 5))
    seen = script.seen()
    assert seen.loop is not None
    seen = replace(seen, loop=replace(seen.loop, model="its_network.py:6"))
    patch = express(parse("relu+init(he)+lr(x10)"), seen)
    assert patch.files == ("train.py",)
    script.apply(patch)
    assert "import Net\n\n\ndef _init_weights(module):\n" in script.read()
    assert "model = Net()\nmodel.apply(_init_weights)\noptimizer" in script.read()
    assert not script.module().model.conv.bias.any()


def test_recurrent_gates_are_matrices_of_their_own(tmp_path: Path) -> None:
    text = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(100, 100, batch_first=True)
        self.last = nn.Linear(100, 2)

    def forward(self, x):
        return self.last(self.rnn(x)[0][:, -1])


model = Net()
"""
    script = Script(tmp_path, text, model="super().__init__()", inputs=(3, 100))
    script.patched("init(xavier)")
    weight = script.module().model.rnn.weight_hh_l0
    limit = math.sqrt(6 / 200)  # of 100 inputs and 100 outputs, not 400
    assert 0.98 * limit < weight.abs().max().item() <= limit


def test_frozen_layers_stay_frozen(tmp_path: Path) -> None:
    text = (
        PLAIN.format(act="ReLU")
        .replace("    return nn", "    first = nn.Linear(4, 4).requires_grad_(False)\n    return nn")
        .replace("Sequential(nn", "Sequential(first, nn")
    )
    model = patched(tmp_path, text, "init(he)")
    assert isinstance(model, nn.Sequential)
    assert (model[0].weight == 0.5).all()
    assert not (model[1].weight == 0.5).any()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('model = Net().to("cpu")', "models = [Net()]\nmodel = models[0]", "does not give the model a name"),
        ('model = Net().to("cpu")', "model, other = Net(), Net()", "is called in 2 places"),
        ("nn.Linear(300, 2)", "Own()", "multiplies with weights"),
    ],
)
def test_what_is_not_clear_stays(tmp_path: Path, old: str, new: str, reason: str) -> None:
    own = """
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(300, 2))

    def forward(self, x):
        return x @ self.w


"""
    text = "import torch\n" + PLAIN.format(act="ReLU").replace("\ndef Net", own + "def Net", 1).replace(old, new)
    patch = Script(tmp_path, text, model="nn.Sequential").express("init(he)")
    assert not patch.diff
    assert reason in patch.missing[0]
