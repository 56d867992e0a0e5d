from __future__ import annotations

import json
from dataclasses import replace

import pytest

from trials.handmade import observation, runs
from unstick.errors import QuestionError
from unstick.questions import Question, Statement, check
from unstick.questions.check import judge
from unstick.questions.load import Claim
from unstick.trials.report import Trial, TrialReport
from unstick.trials.verdict import compare

BEFORE = tuple(runs([2.30, 2.31, 2.305], decades=15.0))


def trial(remedy: str, loss: float, decades: float, learns: bool) -> Trial:
    values = [loss, loss + 0.001, loss - 0.001]
    after = tuple(observation(s, x, decades=decades, learns=learns, remedy=remedy) for s, x in enumerate(values))
    seen = compare(BEFORE, after, "vanishing-gradient", 3)
    return Trial(remedy, seen.verdict, f"The verdict on {remedy}.", 1, (), seen, after)


TRIALS = TrialReport(
    "net",
    BEFORE,
    (
        trial("tanh", 2.305, 4.0, learns=False),
        trial("relu", 0.3, 0.2, learns=True),
        trial("elu", 0.4, 5.0, learns=True),
        trial("init(he)", 9.0, -8.0, learns=False),
        Trial("batchnorm", "not-applicable", "There is no place for it."),
    ),
)


def judged(*remedies: str, reason: str | None = "gradient-not-vanishing", **options):
    question = Question("title", (Statement(7, "text", remedies, reason, **options),))
    return judge(question, TRIALS).statements[0]


@pytest.mark.parametrize(
    ("remedies", "helps", "reason_holds", "holds", "verdict"),
    [
        (("tanh",), False, False, False, "no-effect"),
        (("relu",), True, True, True, "fixes"),
        (("elu",), True, False, False, "helps"),  # it helps, but not for the reason given
        (("init(he)",), False, True, False, "harms"),  # the reason is true, but it is no help
        (("tanh", "relu"), True, True, True, "fixes"),
        (("init(he)", "elu"), True, False, False, "helps"),  # only what helps can prove the reason
        (("batchnorm",), False, None, False, "not-applicable"),  # nothing was measured
    ],
)
def test_a_statement_holds_when_it_helps_for_the_reason_given(remedies, helps, reason_holds, holds, verdict):
    seen = judged(*remedies)
    assert (seen.helps, seen.reason_holds, seen.holds, seen.verdict) == (helps, reason_holds, holds, verdict)


def test_without_a_reason_helping_is_enough():
    seen = judged("elu", reason=None)
    assert (seen.helps, seen.reason_holds, seen.holds) == (True, None, True)
    assert "The verdict on elu." in seen.explanation


def test_explanations_have_a_line_for_each_change_with_its_numbers():
    relu, both = judged("relu"), judged("tanh", "init(he)")
    assert "The loss falls from 2.31 to 0.300" in relu.explanation
    assert "loses only 0.2 decades; unchanged, it loses 15.0 decades" in relu.explanation
    assert [line.split(":")[0] for line in both.explanation.splitlines()] == ["tanh", "init(he)"]
    assert judged("batchnorm").explanation == "batchnorm: not applicable. There is no place for it."


@pytest.mark.parametrize(("textbook", "agrees"), [(True, True), (False, False), (None, None)])
def test_the_textbook_is_compared_and_changes_nothing(textbook, agrees):
    seen = judged("relu", textbook=textbook)
    assert (seen.holds, seen.agrees) == (True, agrees)


def test_the_claim_is_judged_by_the_findings():
    question = Question("title", (Statement(1, "text", ("relu",)),), claim=Claim("Gradients explode.", "dead-units"))
    claim = judge(question, TRIALS).claim
    assert not claim.holds
    assert "dead-units is found with 0 of 3 seeds" in claim.explanation


def test_the_document_has_every_promised_field():
    statements = (Statement(2, "ReLU", ("relu",), "gradient-restored", True), Statement(5, "Tanh", ("tanh",)))
    answer = judge(Question("Title", statements, "A story."), TRIALS)
    document = replace(answer, asked=(2, 5)).to_dict()
    json.dumps(document, allow_nan=False)
    assert answer.numbers == (2,)
    assert (document["schema"], document["target"], document["answer"]) == ("unstick/answer/1", "net", [2])
    assert document["question"] == {"title": "Title", "intro": "A story.", "claim": None}
    assert (document["asked"], document["interrupted"]) == ([2, 5], False)
    assert document["trials"]["schema"] == "unstick/trials/1"
    first = document["statements"][0]
    assert {key: first[key] for key in ("id", "text", "remedies", "holds", "helps", "reason", "reason_holds")} == {
        "id": 2,
        "text": "ReLU",
        "remedies": ["relu"],
        "holds": True,
        "helps": True,
        "reason": "gradient-restored",
        "reason_holds": True,
    }
    assert (first["verdict"], first["textbook"]) == ("fixes", True)


TWO_BLOBS = """
import torch
from torch import nn
from unstick import Case

def net():
    hidden = [layer for _ in range(10) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
    return nn.Sequential(nn.Linear(2, 8), *hidden, nn.Linear(8, 2))

def case():
    y = torch.arange(200) % 2
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(1)) + 3.0 * y[:, None] - 1.5
    return Case(net, (x, y), nn.CrossEntropyLoss())
"""

ASKED = """
title = "What would help?"
target = "blobs.py:case"
[[statement]]
id = 1
text = "Tanh with Xavier weights."
remedies = ["tanh+init(xavier)"]
reason = "gradient-restored"
[[statement]]
id = 2
text = "Just tanh."
remedies = ["tanh"]
reason = "gradient-restored"
"""


def test_a_question_of_ones_own_from_file_to_answer(tmp_path):
    (tmp_path / "blobs.py").write_text(TWO_BLOBS)
    (tmp_path / "mine.toml").write_text(ASKED)
    answer = check(tmp_path / "mine.toml", steps=100, seeds=2, workers=1)
    assert answer.numbers == (1,)
    assert answer.statements[1].reason_holds is False


def test_a_question_without_a_target_needs_a_case():
    with pytest.raises(QuestionError, match="names no target of its own"):
        check(Question("title", (Statement(1, "text", ("relu",)),)))
