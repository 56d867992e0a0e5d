"""Two reports side by side: what differs, what is better, what cannot be said."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from report import documents
from report.documents import answer, diagnosis, statement, trial, trials
from unstick import Comparison, ReportError, compare
from unstick.cli import OK, WRONG, main
from unstick.compare import Row

OPPOSITE = {"gone": "new", "new": "gone", "still": "still"}


def learning(**changes: Any) -> dict[str, Any]:
    return {**diagnosis()["learning"], **changes}


def finding(rule: str, module: str | None = None, severity: str = "error") -> dict[str, Any]:
    return {**diagnosis()["findings"][0], "rule": rule, "module": module, "severity": severity}


def rows(compared: Comparison) -> dict[str, Row]:
    return {row.what: row for row in compared.changed}


def became(before: list[Any], after: list[Any]) -> list[tuple[str, str | None, bool | None]]:
    compared = compare(diagnosis(findings=before), diagnosis(findings=after))
    return [(row.what, row.became, row.better) for row in compared.findings]


def test_a_network_that_learns_now() -> None:
    mended = diagnosis(
        findings=[], learning=learning(learns=True, final_loss=0.3, uses_input=True), attenuation_decades=0.2
    )
    compared = compare(diagnosis(), mended, names=("a.json", "b.json"))
    better = {what: (row.shown, row.better) for what, row in rows(compared).items()}
    assert better == {
        "learns": (("no", "yes"), True),
        "uses its input": (("no", "yes"), True),
        "final loss": (("2.31", "0.300"), True),
        "errors": (("1", "0"), True),
        "decades lost": (("15.7", "0.2"), None),
    }
    assert compared.sentence.startswith(
        "Better in b.json: learns, uses its input, final loss, errors. Findings: 1 gone. A diagnosis is one run, and"
    )


def test_what_cannot_be_told_is_neither_better_nor_worse() -> None:
    compared = compare(diagnosis(), diagnosis(learning=learning(learns=None, uses_input=None)))
    assert [(row.shown, row.better) for row in compared.changed] == [(("no", "not known"), None)] * 2
    assert compared.sentence.startswith("None of the numbers can be called better or worse. Findings: 1 still there.")


@pytest.mark.parametrize(
    ("changes", "better"),
    [
        ({"learning": learning(final_loss=2.0)}, True),
        ({"learning": learning(final_loss=None)}, False),
        ({"learning": learning(final_loss=2.295)}, None),  # less than 1 % of the constant's 2.30
        ({"learning": learning(final_loss=2.0, steps=90)}, None),
        ({"learning": learning(final_loss=2.0, constant_loss=1.1)}, None),  # another loss function, or other data
        ({"learning": learning(final_loss=2.0), "target": "other.py:case"}, None),
        ({"learning": learning(final_loss=2.0), "seed": 3}, None),
    ],
)
def test_losses_are_better_only_on_equal_terms(changes: dict[str, Any], better: bool | None) -> None:
    compared = compare(diagnosis(seed=0), diagnosis(**{"seed": 0, **changes}))
    assert rows(compared)["final loss"].better is better


def test_differing_circumstances_are_said() -> None:
    other = diagnosis(
        target="other.py:case",
        learning=learning(steps=90, learns=True),
        versions={**diagnosis()["versions"], "torch": "2.14.0"},
        interrupted=True,
    )
    compared = compare(diagnosis(), other, names=("a.json", "b.json"))
    assert [row.what for row in compared.changed if row.part == "run"] == ["target", "torch version", "steps"]
    assert "the numbers are not those of one change: target, torch version, steps." in compared.sentence
    assert "Interrupted before its end: b.json." in compared.sentence


def test_findings_are_matched_by_rule_and_module_then_by_rule() -> None:
    assert became([finding("dead-units", "1")], []) == [("dead-units", "gone", True)]
    assert became([], [finding("dead-units", "1")]) == [("dead-units", "new", False)]
    both = [finding("dead-units", "1"), finding("dead-units", "3")]
    assert became(both, [finding("dead-units", "3")]) == [
        ("dead-units", "gone", True),
        ("dead-units", "still", None),
    ]
    moved = compare(diagnosis(findings=[finding("dead-units", "1")]), diagnosis(findings=[finding("dead-units", "2")]))
    assert moved.findings[0].shown == ("error in 1", "error in 2")
    assert moved.findings[0].became == "still"


def test_a_graver_finding_is_worse_and_a_note_is_neither() -> None:
    warning, error, note = (finding("dead-units", "1", severity) for severity in ("warning", "error", "info"))
    assert became([warning], [error]) == [("dead-units", "still", False)]
    assert became([error], [note]) == [("dead-units", "still", True)]
    assert became([note], []) == [("dead-units", "gone", None)]


def test_trials_are_matched_by_remedy() -> None:
    old = trials(trial("relu", "no-effect", learns=False, learned=0), trial("tanh", "harms"))
    loss = {"before": 2.3, "after": 0.5, "difference": -1.8, "interval": [-2.0, -1.6]}
    new = trials(trial("batchnorm", "helps"), trial("relu", "fixes", loss=loss), recommended="batchnorm")
    changed = rows(compare(old, new))
    assert changed["recommended"].shown == ("relu", "batchnorm")
    assert changed["relu verdict"].shown == ("no effect", "fixes it")
    assert changed["relu verdict"].better is None  # it is about the unchanged network of its own report
    assert (changed["relu learns"].shown, changed["relu learns"].better) == (("0 of 3 seeds", "3 of 3 seeds"), True)
    assert (changed["relu loss"].shown, changed["relu loss"].better) == (("0.300", "0.500"), False)
    assert changed["relu difference"].shown == ("-2.00 (-2.50 to -1.50)", "-1.80 (-2.00 to -1.60)")
    assert changed["relu difference"].better is None
    assert changed["tanh verdict"].shown == ("harms", "not tried")
    assert changed["batchnorm verdict"].shown == ("not tried", "helps")


def test_means_over_other_numbers_of_seeds_are_not_ranked() -> None:
    better = {**trials()["baseline"], "loss": 0.5, "learns": True, "learned": 8, "seeds": 8}
    compared = compare(trials(), trials(baseline=better))
    assert rows(compared)["(unchanged) loss"].better is None
    assert rows(compared)["(unchanged) learns"].better is True
    assert "not those of one change: seeds. Trials are counts and means over a few seeds" in compared.sentence


def test_findings_of_the_unchanged_network() -> None:
    compared = compare(trials(), trials(baseline={**trials()["baseline"], "findings": ["dead-units"]}))
    assert [(row.what, row.became) for row in compared.findings] == [
        ("vanishing-gradient", "gone"),
        ("dead-units", "new"),
    ]


def test_answers_are_matched_by_the_number_of_the_statement() -> None:
    old = answer(statement(1), statement(2))
    open_ = statement(2, holds=False, helps=False, verdict="inconclusive", reason_holds=None)
    changed = rows(compare(old, answer(statement(1, text="Another text."), open_, statement(3))))
    assert changed["answer"].shown == ("1, 2", "1, 3")
    assert changed["statement 2 holds"].shown == ("yes", "not settled")
    assert changed["statement 2 reason is true"].shown == ("yes", "not known")
    assert changed["statement 3 holds"].shown == ("not asked", "yes")
    assert changed["text of statement 1"].part == "run"


def test_a_demo_has_all_three_parts() -> None:
    other = documents.demo()
    other["diagnosis"]["learning"]["learns"] = True
    other["trials"]["recommended"] = None
    other["answer"]["answer"] = []
    assert set(rows(compare(documents.demo(), other))) == {"learns", "recommended", "answer"}


def test_what_older_versions_did_not_record_is_left_out() -> None:
    old = diagnosis()
    for name in ("attenuation_decades", "attribution", "versions", "path", "layers", "uncovered"):
        del old[name]
    compared = compare(old, diagnosis())
    assert not compared.changed
    assert compared.sentence == "Nothing that is compared here has changed."


def test_two_of_a_kind_are_asked_for() -> None:
    with pytest.raises(ReportError) as caught:
        compare(documents.demo(), diagnosis(), names=("a.json", "b.json"))
    assert str(caught.value) == (
        "a.json is a demo (unstick demo) and b.json is a diagnosis (unstick diagnose); "
        "only two of a kind can be compared."
    )


def test_python_is_asked_for_documents() -> None:
    compared = compare(diagnosis(), diagnosis())
    with pytest.raises(ReportError, match="before is not a report of unstick"):
        compare(compared, diagnosis())  # type: ignore[arg-type]
    assert "Nothing that is compared here has changed." in str(compared)


@pytest.mark.parametrize("make", documents.COMPARED)
def test_a_document_beside_itself_has_not_changed(make: Any) -> None:
    document = compare(make(), make()).to_dict()
    assert document["changed"] == []
    assert {row["became"] for row in document["findings"]} <= {"still"}
    assert document["sentence"] == "Nothing that is compared here has changed."
    assert json.loads(json.dumps(document, allow_nan=False)) == document


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in the document with each of its keys."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@st.composite
def altered(draw: st.DrawFn, values: st.SearchStrategy[Any], make: Any = None) -> dict[str, Any]:
    """A document of which a few places hold something else, or nothing."""
    document: dict[str, Any] = copy.deepcopy((make or draw(st.sampled_from(documents.COMPARED)))())
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(document))))
        if draw(st.booleans()):
            container[key] = draw(values)
        else:
            del container[key]
    return document


well_typed = st.none() | st.booleans() | st.floats() | st.integers(0, 400) | st.sampled_from(["error", "relu", "fixes"])


@given(altered(json_values), altered(json_values))
@settings(max_examples=200)
def test_documents_of_any_content_are_compared_or_refused(before: dict[str, Any], after: dict[str, Any]) -> None:
    try:
        compared = compare(before, after)
    except ReportError:
        return
    assert str(compared)
    json.loads(compared.to_json())
    assert compared.to_html()


@given(st.data())
def test_swapping_mirrors(data: st.DataObject) -> None:
    make = data.draw(st.sampled_from(documents.COMPARED))
    before, after = data.draw(altered(well_typed, make)), data.draw(altered(well_typed, make))
    try:
        there, back = compare(before, after), compare(after, before)
    except ReportError:
        return
    opposite = {None: None, True: False, False: True}
    mirrored = {row.what: (row.shown[::-1], opposite[row.better]) for row in back.changed}
    assert mirrored == {row.what: (row.shown, row.better) for row in there.changed}
    assert sorted((row.what, OPPOSITE[str(row.became)]) for row in back.findings) == sorted(
        (row.what, str(row.became)) for row in there.findings
    )


@given(content=json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_gives_a_result_or_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    (tmp_path / "b.json").write_text(json.dumps(diagnosis()))
    status = main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    _, complaint = capsys.readouterr()
    assert status in (OK, WRONG)
    assert len(complaint.splitlines()) == (status == WRONG)
    assert "Traceback" not in complaint
