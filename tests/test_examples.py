"""Each example does what it says."""

from __future__ import annotations

from pathlib import Path

from unstick import check, diagnose
from unstick.target import load

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_own_network_is_diagnosed_with_the_line_to_change() -> None:
    finding = diagnose(load(f"{EXAMPLES}/own_network.py:case"), steps=120).findings[0]
    assert finding.rule == "weights-too-small"
    assert finding.source is not None
    assert "own_network.py:" in finding.source
    assert finding.remedies[0] == "init(he)"


def test_own_question_is_answered() -> None:
    assert check(EXAMPLES / "own_question.toml", steps=300, seeds=3).numbers == (2,)


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {"own_network.py", "own_question.toml"}
