"""The answer in one sentence."""

from __future__ import annotations

from report.documents import answer, demo, diagnosis, statement, trial, trials
from unstick.report.style import NO, UNKNOWN, YES
from unstick.report.summary import command, sentence, title

LEARNS = {**diagnosis()["learning"], "learns": True}
UNTOLD = {**diagnosis()["learning"], "learns": None}


def test_a_sick_network_with_its_cause_and_what_to_try() -> None:
    style, said = sentence(diagnosis())
    assert style is NO
    assert said == (
        "model.py:case does not learn, because of vanishing-gradient in net.0 (model.py:12). "
        "What to try first: relu+init(he)."
    )


def test_a_network_that_learns_in_spite_of_an_error() -> None:
    assert sentence(diagnosis(learning=LEARNS))[1].startswith(
        "model.py:case learns, but there is vanishing-gradient in"
    )
    assert "cannot be judged by its losses, but there is" in sentence(diagnosis(learning=UNTOLD))[1]


def test_a_healthy_network_and_its_warnings() -> None:
    assert sentence(diagnosis(learning=LEARNS, findings=[])) == (YES, "model.py:case learns; nothing wrong was found.")
    warning = {**diagnosis()["findings"][0], "severity": "warning"}
    assert sentence(diagnosis(learning=LEARNS, findings=[warning]))[1] == "model.py:case learns; 1 warning."
    assert sentence(diagnosis(learning=UNTOLD, findings=[]))[0] is UNKNOWN


def test_a_failure_that_no_rule_explains() -> None:
    assert sentence(diagnosis(findings=[])) == (NO, "model.py:case does not learn, and none of the rules says why.")


def test_trials_with_and_without_a_recommendation() -> None:
    assert sentence(trials(trial("relu", "fixes")))[1] == (
        "Recommended: relu. It fixes it: the loss after training is 0.300 instead of 2.30."
    )
    nothing = sentence(trials(trial("relu", "no-effect"), recommended=None))
    assert nothing == (UNKNOWN, "None of these changes can be recommended.")


def test_statements() -> None:
    assert sentence(answer(statement(1, holds=False), statement(2))) == (YES, "Of 2 statements, these hold: 2.")
    assert sentence(answer(statement(1, holds=False))) == (NO, "Of 1 statement, these hold: none.")
    assert sentence(demo())[1].endswith("Of 2 statements, these hold: 2. Recommended: relu.")


def test_what_is_not_settled_is_not_false() -> None:
    open_ = statement(2, holds=False, verdict="inconclusive")
    assert sentence(answer(open_)) == (UNKNOWN, "Of 1 statement, these hold: none; not settled: 2.")
    assert sentence(answer(statement(1), open_)) == (YES, "Of 2 statements, these hold: 1; not settled: 2.")


def test_how_to_get_it_again() -> None:
    assert command(diagnosis(command="unstick diagnose 'a b.py'")) == "unstick diagnose 'a b.py'"
    assert command(diagnosis(seed=3)) == "unstick.diagnose(case, steps=100, seed=3)"
    assert command(trials(trial("relu", "fixes"), seed=1)) == "unstick.try_remedies(case, ['relu'], steps=300, seed=1)"
    assert command(answer(statement(1))) == "unstick.check(question, case, steps=300, seed=0)"


def test_titles() -> None:
    assert title(demo()) == "unstick: model.py:case"
    assert title({"names": ["a.json", "b.json"]}) == "unstick: a.json and b.json"
