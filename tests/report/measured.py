"""Documents of any size with every field that a run fills in, made by arithmetic: nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from report.documents import answer, diagnosis, statement, trial, trials

BLOCK = 12
"""Operations of one module."""

CYCLE = (("linear", "weights"), ("batch_norm", "normalisation"), ("sigmoid", "activation"), ("add", "other"))
SIDE = 7
"""One of so many operations is beside the trunk."""

LATER = ("command", "curve", "expected", "index", "interrupted", "layers", "lost", "lost_in", "patch", "seed", "theory")
"""Fields that the first version of unstick did not write."""


def layers(count: int) -> list[dict[str, Any]]:
    """Operations in forward order; the last is the loss."""
    inner = [_layer(i, *CYCLE[i % len(CYCLE)]) for i in range(count - 1)]
    return [*inner, {**_layer(count - 1, "cross_entropy", "other"), "module": None, "shape": []}]


def _layer(index: int, op: str, kind: str) -> dict[str, Any]:
    return {
        "module": module(index),
        "op": op,
        "kind": kind,
        "source": f"model.py:{index + 1}",
        "shape": [64, 32],
        "forward": {"rms": 1.5 * 0.98 ** (index % 50), "between": 0.25, "mean": 0.0, "peak": 4.0},
        "backward": {"norm": 10.0 ** (-0.1 * (index % 80) - 1), "zeros": 0.0},
    }


def module(index: int) -> str:
    return f"block{index // BLOCK}.{index % BLOCK}"


def path(count: int, theory: bool = True) -> list[dict[str, Any]]:
    """The trunk of `layers(count)`, without the loss. Weights give back what activations lose."""
    places = [index for index in range(count - 1) if index % SIDE != SIDE - 2]
    return [
        {
            "index": index,
            "module": module(index),
            "op": CYCLE[index % len(CYCLE)][0],
            "kind": CYCLE[index % len(CYCLE)][1],
            "source": f"model.py:{index + 1}",
            "decades": -0.1 * (count - index),
            **({"expected": -0.09 * (count - index)} if theory else {}),
            "lost": None if place == 0 else {"activation": 0.25, "weights": -0.125}.get(CYCLE[index % 4][1], 0.0625),
            "lost_in": None if place == 0 else CYCLE[index % len(CYCLE)][1],
        }
        for place, index in enumerate(places)
    ]


def curve(points: int = 40, least: float = 0.25, **changes: Any) -> dict[str, Any]:
    middle = [least + 2.0 * 0.9**i for i in range(points)]
    made = {
        "steps": [7.5 * i + 3.0 for i in range(points)],
        **{
            name: [float(f"{scale * value:.4g}") for value in middle]
            for name, scale in (("middle", 1.0), ("low", 0.9), ("high", 1.1))
        },
    }
    return {**made, **changes}


def network(count: int, theory: bool = True) -> dict[str, Any]:
    """What a diagnosis, and trials of the unchanged network, say of its operations."""
    told = {"decades": 9.0, "measured": 10.0, "sentence": "Theory expects 9.0 decades."}
    return {
        "layers": layers(count),
        "path": path(count, theory),
        "theory": told if theory else None,
        "attenuation_decades": 10.0,
        "attribution": {"activation": 12.0, "weights": -2.0, "normalisation": 0.0, "other": 0.0},
    }


def diagnosed(count: int, theory: bool = True, **changes: Any) -> dict[str, Any]:
    seen = {**network(count, theory), "curve": curve(), "seed": 0, "command": "unstick diagnose model.py:case"}
    return diagnosis(**{**seen, **changes})


def tried(count: int, points: int = 40, operations: int = 24, **changes: Any) -> dict[str, Any]:
    """Trials of so many changes. Every fifth does not apply, so it was not trained."""
    baseline = {**trials()["baseline"], **network(operations), "curve": curve(points, least=1.0), "seeds": 8}
    made = [_absent(i) if i % 5 == 4 else _trained(i, points) for i in range(count)]
    seen = {"baseline": baseline, "recommended": "change-000", "seed": 0, "command": "unstick try model.py:case"}
    return trials(*made, **{**seen, **changes})


VERDICTS = ("fixes", "helps", "no-effect", "harms", "inconclusive")


def _trained(index: int, points: int) -> dict[str, Any]:
    after = 0.01 * (index * 37 % 101) + 0.25
    return trial(
        f"change-{index:03}",
        VERDICTS[index % 7 % 5],
        loss={"before": 2.3, "after": after, "difference": after - 2.3, "interval": [after - 2.4, after - 2.2]},
        gradient={"before": 10.0, "after": 9.5 - index % 10, "restored": index % 2 == 0},
        learned=index * 5 % 9,
        seeds=8,
        curve=curve(points, least=after),
    )


def _absent(index: int) -> dict[str, Any]:
    nothing = {"before": None, "after": None, "difference": None, "interval": [None, None]}
    return trial(
        f"change-{index:03}",
        "not-applicable",
        loss=nothing,
        gradient={"before": None, "after": None, "restored": False},
        seeds=0,
        learned=0,
        curve=curve(0),
    )


def answered(count: int = 4) -> dict[str, Any]:
    return answer(*(statement(i, holds=i % 2 == 0, textbook=True) for i in range(1, count + 1)), trials=tried(count))


def told(operations: int = 82, changes: int = 5) -> dict[str, Any]:
    """A demo."""
    whole = answered()
    return {
        "schema": "unstick/demo/1",
        "interrupted": False,
        "diagnosis": diagnosed(operations),
        "trials": tried(changes),
        "answer": whole,
    }


def older(value: Any, fields: Sequence[str] = LATER) -> Any:
    """The document as a version wrote it that did not have these fields yet."""
    if isinstance(value, dict):
        return {key: older(item, fields) for key, item in value.items() if key not in fields}
    return [older(item, fields) for item in value] if isinstance(value, list) else value
