"""Files that are no reports: one sentence that names the file, what is wrong and how to mend it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from report import documents
from unstick.errors import ReportError
from unstick.report.read import read
from unstick.report.shapes import KINDS, SHAPES, check, misfit
from unstick.report.terminal import RENDERERS

WHOLE = json.dumps(documents.diagnosis())


def test_reads_what_was_written(tmp_path: Path) -> None:
    for text in (WHOLE, "\ufeff" + WHOLE):
        (tmp_path / "report.json").write_text(text, encoding="utf-8")
        assert read(str(tmp_path / "report.json")) == documents.diagnosis()


def test_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(WHOLE.encode()), encoding="ascii"))
    assert read("-") == documents.diagnosis()
    with pytest.raises(ReportError, match=r"^standard input is empty; write it anew with --json\.$"):
        read("-")
    monkeypatch.setattr(sys, "stdin", None)  # as in a process that was started without one
    with pytest.raises(ReportError, match="standard input is empty"):
        read("-")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (WHOLE[:200].encode(), "it ends too early"),
        (WHOLE[: WHOLE.index("model.py") + 3].encode(), "it ends too early"),
        (b'{"a": 1,\n nonsense}', "in line 2"),
        (b"unstick: interrupted\n", "is not JSON"),
        (WHOLE.encode("utf-16"), "is not text in UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "holds what no report does"),
        (b"[" * 100_000, "holds what no report does"),
        (b"[" * 60 + b"]" * 60, "nested too deep"),
        (b'{"a": "\\ud800"}', "half characters"),
    ],
)
def test_refuses_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ReportError, match=message) as caught:
        read(str(tmp_path / "r.json"))
    assert str(caught.value).startswith(f"{tmp_path / 'r.json'} is ")
    assert "\n" not in str(caught.value)


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="there is no file"):
        read(str(tmp_path / "nothing.json"))
    with pytest.raises(ReportError, match="is a directory; name the JSON file"):
        read(str(tmp_path))
    with pytest.raises(ReportError, match="cannot be read"):
        read(str(tmp_path / ("n" * 300)))


def test_refuses_what_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unstick.report.read.LARGEST", 100)
    (tmp_path / "r.json").write_text(WHOLE)
    with pytest.raises(ReportError, match="is no report: it is larger than"):
        read(str(tmp_path / "r.json"))


def test_numbers_that_json_does_not_have_are_null(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"a": NaN, "b": [Infinity, 1e999]}')
    assert read(str(tmp_path / "r.json")) == {"a": None, "b": [None, None]}


@pytest.mark.parametrize("make", documents.COMPARED)
def test_documents_of_today_are_accepted(make: Any) -> None:
    assert check(make(), "a.json") == make()["schema"]


def test_every_schema_is_called_something() -> None:
    assert set(KINDS) == set(RENDERERS)
    assert set(SHAPES) == {make()["schema"] for make in documents.COMPARED}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([1], "a.json is not a report of unstick: it has no schema"),
        (None, "a.json is not a report of unstick: it has no schema"),
        ({"schema": 3}, "a.json is not a report of unstick: it has no schema"),
        ({"schema": "coco"}, "a.json is not a report of unstick: its schema is 'coco'"),
        ({"schema": "unstick/diagnosis/2"}, "which this version of unstick does not know; update unstick"),
        (
            documents.comparison(),
            r"a.json is a comparison \(unstick compare\); only what diagnose, try",
        ),
        (documents.theory(), r"a.json is theory \(unstick theory\); only"),
        (documents.rules(), "a.json is the list of rules"),
        ({"schema": "unstick/diagnosis/1"}, "target is missing; write it anew"),
        (documents.diagnosis(learning=3), "learning should be an object"),
        (documents.diagnosis(findings={}), "findings should be a list"),
        (documents.diagnosis(findings=[{"rule": None, "severity": "error"}]), r"findings\[0\].rule should be a text"),
        (documents.diagnosis(attenuation_decades="many"), "attenuation_decades should be a number"),
        (documents.diagnosis(seed=True), "seed should be a whole number"),
        (documents.diagnosis(attribution={"weights": "some"}), r"attribution\.\* should be a number"),
        (documents.diagnosis(metric=10**400), "metric should be a number"),
        ({**documents.demo(), "answer": None}, "answer should be an object"),
    ],
)
def test_other_documents_are_refused(document: Any, message: str) -> None:
    with pytest.raises(ReportError, match=message) as caught:
        check(document, "a.json")
    assert str(caught.value).startswith("a.json ")
    assert "\n" not in str(caught.value)


def test_the_first_misfit_is_named() -> None:
    shape = {"a": [("a number", "null")], "b?": {"*": "a text"}}
    assert misfit({"a": [1, None, 2.5]}, shape) is None
    assert misfit({"a": [1, "x"]}, shape) == "a[1] should be a number"
    assert misfit({"a": [], "b": {"c": 1}}, shape) == "b.* should be a text"
    assert misfit({}, shape) == "a is missing"
