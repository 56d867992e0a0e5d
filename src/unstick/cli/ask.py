"""Putting the question to the reader before it is measured."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import QuestionError
from .output import Output

if TYPE_CHECKING:
    from ..questions.load import Question


def ask(question: Question, output: Output) -> tuple[int, ...]:
    """Show the question and read the numbers of the statements that the reader believes.

    A person at a terminal may try again; from a pipe, one line is read. Raises QuestionError where no answer comes.
    """
    numbers = [statement.id for statement in question.statements]
    output.note(f"{question.title}\n\n{question.intro}\n")
    for statement in question.statements:
        output.note(f"{statement.id}. {statement.text}")
    while True:
        output.note("\nWhich of these hold? Numbers such as 2,3, or none:")
        line = sys.stdin.readline()
        if not line:
            raise QuestionError(
                "--ask needs an answer, but standard input has none; type it in a terminal or pipe it in."
            )
        try:
            return read(line, numbers)
        except QuestionError as error:
            if not sys.stdin.isatty():
                raise
            output.note(str(error))


def read(line: str, numbers: Collection[int]) -> tuple[int, ...]:
    """ "2, 3" as (2, 3), "none" as (). Raises QuestionError for anything that is not among `numbers`."""
    words = re.split(r"[\s,;]+|\band\b", line.strip().strip("{}()[]").lower())
    words = [word for word in words if word]
    if words == ["none"]:
        return ()
    known = {str(number): number for number in numbers}
    wrong = [word for word in words if word not in known]
    if wrong or not words:
        named = f"{wrong[0]!r} is not" if wrong else "An empty line is not"
        raise QuestionError(f"{named} the number of a statement; choose from {', '.join(known)}, or none.")
    return tuple(sorted({known[word] for word in words}))
