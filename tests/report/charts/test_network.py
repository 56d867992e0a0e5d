"""The strip of operations, as the numbers that are drawn."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cases import kaylee_like, transformer
from unstick.network import described
from unstick.observe import observe
from unstick.report.charts.look import KINDS
from unstick.report.charts.network import MANY, network
from unstick.report.types import jsonable


@pytest.fixture(scope="module")
def chain() -> dict[str, Any]:
    return jsonable(described(observe(kaylee_like(10), steps=1).traces))


def rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    chart = network(document)
    assert chart is not None
    return chart.rows


def test_each_operation_is_a_row_with_its_own_numbers(chain: dict[str, Any]) -> None:
    made = rows(chain)
    assert len(made) == len(chain["layers"])
    for row, layer in zip(made, chain["layers"], strict=True):
        if layer["forward"]["rms"] is None:  # the loss is one number, and has no samples
            assert "forward" not in row
        else:
            assert row["forward"] == pytest.approx(layer["forward"]["rms"], rel=1e-3)
        assert row["gradient"] == pytest.approx(layer["backward"]["norm"], rel=1e-3)
        assert row["kind"] == layer["kind"]


def test_the_stacked_parts_lead_from_nothing_to_the_whole_attribution(chain: dict[str, Any]) -> None:
    stacked = [row for row in rows(chain) if "activation" in row]
    assert [row["place"] for row in stacked] == [place["index"] for place in chain["path"]]
    assert {kind: stacked[0][kind] for kind in KINDS} == pytest.approx(chain["attribution"], rel=1e-3, abs=1e-3)
    assert {kind: stacked[-1][kind] for kind in KINDS} == dict.fromkeys(KINDS, 0.0)


def test_at_each_place_the_parts_sum_to_what_the_gradient_lost_by_then(chain: dict[str, Any]) -> None:
    stacked = [row for row in rows(chain) if "activation" in row]
    for row in stacked:
        lost = math.log10(stacked[-1]["gradient"] / row["gradient"])
        assert sum(row[kind] for kind in KINDS) == pytest.approx(lost, abs=2e-3)


def test_theory_is_drawn_where_there_is_one(chain: dict[str, Any]) -> None:
    assert all("expected" in row for row in rows(chain) if "activation" in row)
    chart = network(jsonable(described(observe(transformer(), steps=1).traces)))
    assert chart is not None
    assert not any("expected" in row for row in chart.rows)
    assert "theory-line" not in str(chart.spec)


def test_a_branching_network_has_a_line_through_its_trunk_only() -> None:
    document = jsonable(described(observe(transformer(), steps=1).traces))
    ends = [place["index"] for place in document["path"]]
    for row in rows(document):
        inside = ends[0] < row["place"] < ends[-1]
        assert row["trunk"] == (not inside or row["place"] in ends)


def many() -> dict[str, Any]:
    layers = [
        {
            "module": f"blocks.{i // 4}.{i % 4}",
            "op": "linear",
            "kind": "weights",
            "source": None,
            "shape": [8, 8],
            "forward": {"rms": 1.0 + i, "between": 0.5},
            "backward": {"norm": 10.0 ** -(i % 7)},
        }
        for i in range(4 * MANY)
    ]
    path = [
        {"index": i, "decades": -float(i % 7), "expected": None, "lost": 0.25 if i else None, "lost_in": "weights"}
        for i in range(4 * MANY)
    ]
    return {"layers": layers, "path": path, "attenuation_decades": 1.0, "attribution": {}, "theory": None}


def test_many_operations_are_gathered_and_can_be_looked_into() -> None:
    chart = network(many())
    assert chart is not None
    groups = [row for row in chart.spec["datasets"]["network"] if row["level"] == "groups"]
    assert len(chart.rows) == 4 * MANY
    assert len(groups) < MANY
    first = groups[0]
    members = chart.rows[first["start"] : first["end"]]
    assert first["forward"] == members[-1]["forward"]
    assert first["gradient"] == members[0]["gradient"]
    assert first["lost"] == pytest.approx(sum(row.get("lost", 0.0) for row in members))
    choice = next(param for param in chart.spec["params"] if param["name"] == "part")["bind"]
    assert choice["labels"][:2] == ["the whole network, by module", "every operation"]
    assert len(choice["labels"]) == 2 + len(groups)


def test_a_gradient_of_zero_has_a_mark_of_its_own(chain: dict[str, Any]) -> None:
    layers = [{**layer, "backward": {"norm": 0.0, "zeros": 1.0}} for layer in chain["layers"]]
    assert "gradient-gone" in str(network({**chain, "layers": layers}))
    assert "gradient-gone" not in str(network(chain))


def test_a_signal_of_zero_has_one_too(chain: dict[str, Any]) -> None:
    first, *others = chain["layers"]
    made = network({**chain, "layers": [{**first, "forward": {"rms": 0.0}}, *others]})
    assert "forward-gone" in str(made)
    assert "signal going forward, rms (▽: exactly zero)" in str(made)


def test_what_is_outside_of_the_range_is_said(chain: dict[str, Any]) -> None:
    first, second, *others = chain["layers"]
    layers = [{**first, "backward": {"norm": 0.0}}, {**second, "backward": {"norm": None}}, *others]
    chart = network({**chain, "layers": layers, "attenuation_decades": 2.0, "attenuation_truncated": "underflow"})
    assert chart is not None
    assert "At 1 of them the gradient is zero. At 1 of them the gradient is not a finite number." in chart.says
    assert "it loses at least 2.0 decades" in chart.says
    nothing = network({**chain, "layers": [{**first, "backward": None}], "path": [], "attenuation_decades": None})
    assert nothing is not None
    assert "No gradient was measured." in nothing.says


def test_nothing_seen_is_no_chart() -> None:
    assert network({"layers": [], "path": []}) is None
