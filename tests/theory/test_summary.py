"""The document of `unstick theory`."""

from __future__ import annotations

import json
import math

import pytest

from unstick.theory import FUNCTIONS, Uniform, initialisation, mean_field
from unstick.theory.summary import summary


def test_numbers_are_those_of_the_library() -> None:
    document = summary("Tanh", init="he", depth=40, width=64)
    weights = initialisation("he", 64)
    field = mean_field("tanh", 2.0)
    layers = Uniform("tanh", weights).layer_decades(40)
    assert document["activation"] == "tanh"
    assert document["rest"]["chi"] == field.chi
    assert document["gradient"]["layers"] == list(layers)
    assert document["gradient"]["decades"] == pytest.approx(sum(layers))
    assert document["gradient"]["gain"] == pytest.approx(10 ** (sum(layers) / 39))
    assert document["reach"] == {"layers": pytest.approx(6.0 * field.xi_c), "reason": "chaotic"}
    assert document["weights"]["weight_std"] == pytest.approx(math.sqrt(2.0 / 64))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("norm", [None, "batchnorm"])
def test_every_activation_gives_strict_json(name: str, norm: str | None) -> None:
    for init in ("default", "he"):
        json.dumps(summary(name, init=init, depth=6, width=64, norm=norm), allow_nan=False)  # type: ignore[arg-type]


def test_infinite_is_null() -> None:
    document = summary("exp", depth=9)
    assert document["gradient"]["gain"] is None
    assert document["forward"]["q"] is None
    assert document["rest"]["q"] is None
    assert summary("relu", init="he")["reach"] == {"layers": None, "reason": None}
    assert summary("relu", depth=1)["gradient"] == {"gain": None, "decades": 0, "layers": []}


@pytest.mark.parametrize(
    ("options", "words"),
    [({"activation": "gelu", "init": "he"}, "amplified"),
     ({"activation": "silu", "norm": "batchnorm"}, "unlike all others"),
     ({"activation": "relu", "init": "he", "depth": 40, "width": 64}, "narrow")],
)  # fmt: skip
def test_known_limits_are_said(options: dict[str, object], words: str) -> None:
    assert words in " ".join(summary(**options)["notes"])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "selu"])
def test_where_there_are_none_nothing_is_said(name: str) -> None:
    for init in ("default", "xavier", "he", "critical"):
        assert summary(name, init=init, depth=30, width=512)["notes"] == []
