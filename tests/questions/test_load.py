from __future__ import annotations

import pytest

from unstick.errors import QuestionError
from unstick.questions import Question, load

GOOD = """\
title = "Which of these?"
intro = "  A story.  "
target = "net.py:case"

[claim]
text = "It is the gradient."
rule = "vanishing-gradient"

[[statement]]
id = 1
text = "Tanh."
remedies = ["tanh"]
reason = "gradient-restored"
textbook = true

[[statement]]
id = 3
text = "Large weights."
remedies = ["init(normal, std=3)", "ReLU"]
"""


def written(tmp_path, text: str):
    file = tmp_path / "mine.toml"
    file.write_text(text, "utf-8")
    return file


def test_a_good_file(tmp_path):
    question = load(written(tmp_path, GOOD))
    first, second = question.statements
    assert (question.title, question.intro) == ("Which of these?", "A story.")
    assert question.target == f"{tmp_path / 'net.py'}:case"
    assert question.claim.rule == "vanishing-gradient"
    assert (first.id, first.remedies, first.reason, first.textbook) == (1, ("tanh",), "gradient-restored", True)
    assert (second.id, second.reason, second.textbook, second.reading) == (3, None, None, "")
    assert second.remedies[1] == "relu"


def test_the_packaged_question():
    question = load("kaylee")
    assert isinstance(question, Question)
    assert [statement.id for statement in question.statements] == [1, 2, 3, 4]
    assert all(statement.reason and statement.reading for statement in question.statements)
    assert question.target == "unstick.cases.kaylee:kaylee"
    assert "https://www.deeplearning.ai/ai-notes/initialization/" in question.statements[3].reading


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('title = "Which of these?"', "", 1, "the field 'title' is missing"),
        ('title = "Which of these?"', 'titel = "x"', 1, "unknown field 'titel'; did you mean 'title'?"),
        ('target = "net.py:case"', "target = 4", 3, "target must be a text in quotes, not 4"),
        ('rule = "vanishing-gradient"', 'rule = "vanishing"', 7, "did you mean 'vanishing-gradient'?"),
        ('rule = "vanishing-gradient"', "", 5, "claim: the field 'rule' is missing"),
        ("id = 1", 'id = "1"', 10, "statement 1: id must be a whole number, not '1'"),
        ("id = 1", "id = true", 10, "id must be a whole number, not True"),
        ("id = 3", "id = 1", 17, "statement 2: id 1 is used twice"),
        ("id = 3\n", "", 16, "statement 2: the field 'id' is missing"),
        ('text = "Large weights."', "", 16, "statement 2: the field 'text' is missing"),
        ('remedies = ["tanh"]', 'remedies = "tanh"', 12, "a list of texts, such as [\"relu\"], not 'tanh'"),
        ('remedies = ["tanh"]', 'remedies = ["tahn"]', 12, "'tanh'"),
        ('remedies = ["tanh"]', "remedies = []", 12, "remedies is empty"),
        ('remedies = ["tanh"]', 'remedy = ["tanh"]', 12, "unknown field 'remedy'; did you mean 'remedies'?"),
        ('"gradient-restored"', '"gradient-restord"', 13, "did you mean 'gradient-restored'?"),
        ("textbook = true", 'textbook = "yes"', 14, "textbook must be true or false, not 'yes'"),
    ],
)
def test_every_mistake_names_file_line_and_field(tmp_path, old, new, line, says):
    file = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(QuestionError) as caught:
        load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}, line {line}: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ['title = "x"', 'title = "x"\nstatement = 3', 'title = "x"\nstatement = []'])
def test_no_statements(tmp_path, text):
    with pytest.raises(QuestionError, match=r"no statements: add at least one \[\[statement\]\]"):
        load(written(tmp_path, text))


def test_a_claim_that_is_no_table(tmp_path):
    with pytest.raises(QuestionError, match="line 2: claim must be a table"):
        load(
            written(tmp_path, 'title = "x"\nclaim = "gradients"\n[[statement]]\nid = 1\ntext = ""\nremedies = ["relu"]')
        )


def test_a_mistake_in_the_syntax_names_its_line(tmp_path):
    with pytest.raises(QuestionError, match=r"mine.toml: .*line 2"):
        load(written(tmp_path, 'title = "x"\nintro = \n'))


def test_a_file_that_is_not_there_or_cannot_be_read(tmp_path):
    with pytest.raises(QuestionError, match="in the package: kaylee"):
        load("kayle")
    with pytest.raises(QuestionError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(QuestionError, match="not text in UTF-8"):
        load(tmp_path / "binary.toml")
