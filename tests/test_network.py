"""What a document says of a traced network."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cases import kaylee_like, transformer
from trials.handmade import trace
from unstick.network import described
from unstick.observe import observe
from unstick.report.types import jsonable


def test_terms_of_the_path_sum_to_the_attribution() -> None:
    seen = described(observe(kaylee_like(10), steps=1).traces)
    for kind, lost in seen["attribution"].items():
        assert sum(place["lost"] or 0.0 for place in seen["path"] if place["lost_in"] == kind) == pytest.approx(lost)
    assert sum(place["lost"] or 0.0 for place in seen["path"]) == pytest.approx(seen["attenuation_decades"])
    assert seen["path"][0]["lost"] is None
    json.dumps(jsonable(seen), allow_nan=False)


def test_places_on_the_path_are_found_among_the_layers() -> None:
    seen = described(observe(transformer(), steps=1).traces)
    for place in seen["path"]:
        layer = seen["layers"][place["index"]]
        assert [layer[key] for key in ("module", "op", "source")] == [place[key] for key in ("module", "op", "source")]


def test_the_first_trace_that_can_tell_is_described() -> None:
    blind = replace(trace(0.0, 0.0, 0.0), path=())
    assert described([blind])["attenuation_decades"] is None
    assert described([blind, trace(5.0, 4.0, 0.0)])["attenuation_decades"] == pytest.approx(5.0)


def test_nothing_traced_has_the_same_fields() -> None:
    nothing = described([])
    assert set(nothing) == set(described([trace(1.0, 1.0, 0.0)]))
    assert (nothing["path"], nothing["layers"], nothing["theory"]) == ([], [], None)
