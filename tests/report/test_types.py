"""What every report can do."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from report import documents
from report.documents import HOSTILE
from unstick.report.types import Report, jsonable, versions


@dataclass(frozen=True, repr=False)
class Sample(Report):
    document: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.document


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(values)
def test_jsonable_survives_strict_json(value: Any) -> None:
    clean = jsonable(value)
    written = json.dumps(clean, allow_nan=False, ensure_ascii=False).encode()  # which half characters would prevent
    assert json.loads(written) == clean


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_finite_numbers_are_not_touched(value: float) -> None:
    assert jsonable({"a": (value,)}) == {"a": [value]}


def test_to_json_turns_what_json_lacks_into_null() -> None:
    report = Sample({"schema": "unstick/rules/1", "loss": math.nan, "interval": (-math.inf, 1.0), "word": "é"})
    text = report.to_json()
    assert json.loads(text) == {"schema": "unstick/rules/1", "loss": None, "interval": [None, 1.0], "word": "é"}
    assert "é" in text


def test_a_report_prints_as_text() -> None:
    assert "answer: 2" in str(Sample(documents.demo()))


LOADS = ("src=", "href=", "@import", "url(http", "url(//")
"""What makes a page load something. The inlined libraries speak of addresses, and may."""


def test_a_page_is_whole_and_loads_nothing() -> None:
    for make in documents.EVERY:
        page = Sample(documents.poisoned(make())).to_html()
        assert page.startswith("<!DOCTYPE html>")
        assert page.rstrip().endswith("</html>")
        own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
        assert not any(word in own for word in LOADS)
        assert "<script>alert(1)</script>" not in page
    assert "<title>unstick: model.py:case</title>" in Sample(documents.demo()).to_html()


def test_a_piece_of_a_notebook_has_no_scripts_and_loads_nothing() -> None:
    for make in documents.EVERY:
        piece = Sample(documents.poisoned(make()))._repr_html_()
        assert "<script" not in piece
        assert "&lt;script&gt;" in piece
        assert not any(word in piece for word in LOADS)


def test_a_metric_has_a_column_of_its_own() -> None:
    tried = documents.trial("relu", "fixes", metric={"before": 0.1, "after": 0.97})
    whole = documents.trials(tried, documents.trial("tanh", "not-applicable", seeds=0))
    whole["baseline"]["metric"] = 0.1
    for document, columns in ((whole, 7), (documents.trials(tried | {"metric": None}), 6)):
        table = Sample(document)._repr_html_().partition("<table")[2].partition("</table>")[0]
        assert {row.count("<td") for row in table.split("<tr")[2:]} == {columns}
        assert (">0.970</td>" in table) == (columns == 7)
    assert "metric is 0.930" in Sample(documents.diagnosis(metric=0.93))._repr_html_()


def test_hostile_target_in_the_title() -> None:
    page = Sample(documents.diagnosis(target=HOSTILE)).to_html()
    assert "{brace}</title>" in page


def test_versions_name_what_was_measured_with() -> None:
    import torch

    assert versions()["torch"] == torch.__version__
    assert set(versions()) == {"unstick", "python", "torch"}
