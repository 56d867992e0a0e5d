"""An answer: which statements hold on this network, why, and the trials that show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..report.types import Report, jsonable
from ..trials import TrialReport
from ..trials.verdict import Verdict
from .load import Claim, Question, Statement


@dataclass(frozen=True, slots=True)
class ClaimJudged:
    """What was said to be wrong with the unchanged network, and whether it is; None where nothing was measured."""

    claim: Claim
    holds: bool | None
    explanation: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "text": self.claim.text,
            "rule": self.claim.rule,
            "holds": self.holds,
            "explanation": self.explanation,
        }


@dataclass(frozen=True, slots=True)
class StatementJudged:
    """A statement and what was measured of it.

    helps: one of its changes has the verdict fixes or helps. reason_holds: the reason given is true as measured, of a
    change that helps if there is one; None where no reason is given or none could be measured. holds: it helps, and
    not for a false reason. verdict: of its best change.
    """

    statement: Statement
    holds: bool
    helps: bool
    reason_holds: bool | None
    verdict: Verdict
    explanation: str

    @property
    def agrees(self) -> bool | None:
        """Whether the textbook says the same; None where it says nothing."""
        return None if self.statement.textbook is None else self.statement.textbook == self.holds

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.statement.id,
            "text": self.statement.text,
            "remedies": self.statement.remedies,
            "holds": self.holds,
            "helps": self.helps,
            "reason": self.statement.reason,
            "reason_holds": self.reason_holds,
            "verdict": self.verdict,
            "explanation": self.explanation,
            "textbook": self.statement.textbook,
            "reading": self.statement.reading,
        }


@dataclass(frozen=True, repr=False)
class Answer(Report):
    """The statements of a question, judged on one case. asked: what the reader answered beforehand, if asked."""

    question: Question
    statements: tuple[StatementJudged, ...]
    claim: ClaimJudged | None
    trials: TrialReport
    asked: tuple[int, ...] | None = None

    @property
    def target(self) -> str:
        return self.trials.target

    @property
    def interrupted(self) -> bool:
        return self.trials.interrupted

    @property
    def numbers(self) -> tuple[int, ...]:
        """The ids of the statements that hold."""
        return tuple(judged.statement.id for judged in self.statements if judged.holds)

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = jsonable(
            {
                "schema": "unstick/answer/1",
                "target": self.target,
                "question": {
                    "title": self.question.title,
                    "intro": self.question.intro,
                    "claim": None if self.claim is None else self.claim.to_dict(),
                },
                "answer": self.numbers,
                "asked": self.asked,
                "statements": [judged.to_dict() for judged in self.statements],
                "trials": self.trials.to_dict(),
                "interrupted": self.interrupted,
            }
        )
        return document
