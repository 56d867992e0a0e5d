"""Pages of every kind and size open without an error, a warning or a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import unstick
from report import documents
from report.measured import answered, curve, diagnosed, network, older, told, tried
from report.page.conftest import Show
from unstick.compare import compare


def _interrupted() -> dict[str, Any]:
    nothing = {**documents.trials()["baseline"], "loss": None, "seeds": 0, "attenuation_decades": None}
    return documents.trials(baseline=nothing, recommended=None, interrupted=True)


def _unmeasured() -> dict[str, Any]:
    """Gradients that are zero, that are not known, and signals that are zero or not finite."""
    seen = network(40)
    for index, layer in enumerate(seen["layers"]):
        layer["backward"] = [{"norm": 0.0}, {"norm": None}, None, layer["backward"]][index % 4]
        layer["forward"] = [{"rms": 0.0}, {"rms": None}, None, layer["forward"]][index // 4 % 4]
    for place in seen["path"]:
        place.update(decades=None, expected=None, lost=None)
    gaps = {"steps": [1.0, 2.0, 3.0], "middle": [2.0, None, None], "low": [1.0, 1.0, None], "high": [None, None, None]}
    return diagnosed(40, **{**seen, "attenuation_decades": None, "attribution": None, "curve": gaps})


def _silent() -> dict[str, Any]:
    """No gradient came back at all."""
    seen = network(40)
    for layer in seen["layers"]:
        layer["backward"] = {"norm": 0.0}
    return diagnosed(40, **{**seen, "path": []})


def _compared(make: Any) -> dict[str, Any]:
    return compare(make(), make()).to_dict()


KINDS: dict[str, Any] = {
    "demo": told,
    **{f"{count} operations": lambda count=count: diagnosed(count) for count in (1, 10, 100, 300, 1000)},
    "trials": lambda: tried(60),
    "one trial": lambda: tried(1),
    "answer": answered,
    "two diagnoses": lambda: _compared(lambda: diagnosed(100)),
    "two trials": lambda: _compared(lambda: tried(5)),
    "theory": documents.theory,
    "rules": documents.rules,
    "remedies": documents.remedies,
    "losses of many sizes": lambda: tried(3, baseline={**tried(3)["baseline"], "curve": curve(least=1e6)}),
    "interrupted": _interrupted,
    "unmeasured": _unmeasured,
    "silent": _silent,
    "older diagnosis": lambda: older(diagnosed(20)),
    "older path": lambda: older(diagnosed(20), ["index", "lost", "lost_in", "expected", "theory", "curve", "seed"]),
    "older trials": lambda: older(tried(5)),
    "older answer": lambda: older(answered()),
    "older demo": lambda: older(told()),
    "older comparison": lambda: _compared(lambda: older(tried(5))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_opens_without_a_sound(kind: str, show: Show) -> None:
    opened = show(KINDS[kind]())
    assert opened.page.title().startswith("unstick")
    assert opened.page.locator("h1").first.inner_text()
    assert opened.noise == []


def test_a_request_would_be_noticed(show: Show, tmp_path: Path) -> None:
    """What the other tests rely on."""
    opened = show(documents.rules())
    opened.page.evaluate("fetch('http://127.0.0.1:9/').catch(() => console.warn('refused'))")
    assert any(line.startswith("request: http://127.0.0.1:9/") for line in opened.noise)
    assert any(line.startswith("console warning: refused") for line in opened.noise)
    opened.noise.clear()


def _network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def test_a_real_diagnosis_becomes_a_page(show: Show) -> None:
    data = (torch.randn(256, 6), torch.randint(3, (256,)))
    case = unstick.Case(_network, data, loss=torch.nn.functional.cross_entropy)
    document = unstick.diagnose(case, steps=20).to_dict()
    opened = show(document)
    assert len(opened.marks("lane-operations")) == len(document["layers"])
    assert opened.count("#loss svg") == 1
