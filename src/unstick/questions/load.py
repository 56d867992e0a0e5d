"""Question files: statements about what would help a network, and why. The format is in `docs/questions.md`."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import QuestionError, RemedyError
from ..remedies import parse
from ..rules import RULES
from .reasons import REASONS


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that somebody says would help.

    id: the number by which the answer names it. remedies: the changes that it stands for, in canonical form; it helps
    if one of them does. reason: a name from `reasons.REASONS`, or None where no reason is given. textbook: what a
    textbook would say, None where it says nothing. reading: what to read next.
    """

    id: int
    text: str
    remedies: tuple[str, ...]
    reason: str | None = None
    textbook: bool | None = None
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says is wrong with the unchanged network; rule: the id of the rule that would find it."""

    text: str
    rule: str


@dataclass(frozen=True, slots=True)
class Question:
    """A set of statements about one network. target: the case it is about, None where it is named by the caller."""

    title: str
    statements: tuple[Statement, ...]
    intro: str = ""
    target: str | None = None
    claim: Claim | None = None


def load(source: str | Path) -> Question:
    """A question from a file, or by the name of one that comes with the package ("kaylee").

    Raises QuestionError, which names file, line and field.
    """
    path = Path(source)
    packaged = resources.files(__package__) / f"{source}.toml"
    try:
        if not path.suffix and not path.exists() and packaged.is_file():
            return _Reader(packaged.read_text("utf-8"), packaged.name, Path()).question()
        return _Reader(path.read_text("utf-8"), str(source), path.parent).question()
    except FileNotFoundError:
        raise QuestionError(
            f"there is no question file {source}; give a path, or one that is in the package: {_packaged()}"
        ) from None
    except OSError as error:
        raise QuestionError(f"the question file {source} cannot be read: {error.strerror}; name a TOML file") from None
    except UnicodeDecodeError:
        raise QuestionError(f"the question file {source} is not text in UTF-8, as TOML has to be") from None


def _packaged() -> str:
    files = resources.files(__package__).iterdir()
    return ", ".join(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


class _Reader:
    """Reads one file; every complaint knows its line."""

    def __init__(self, text: str, name: str, folder: Path) -> None:
        self._lines = text.splitlines()
        self._name = name
        self._folder = folder
        try:
            self._data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise QuestionError(f"{name}: this is not valid TOML: {error}") from None

    def question(self) -> Question:
        data = dict(self._data)
        statements = data.pop("statement", None)
        if not isinstance(statements, list) or not statements or not all(isinstance(s, dict) for s in statements):
            raise self._error("it has no statements: add at least one [[statement]]", "", "statement")
        claim = self._claim(data.pop("claim", None))
        values = self._fields(data, "", _QUESTION)
        return Question(
            title=values["title"],
            intro=values.get("intro", "").strip(),
            target=self._target(values.get("target")),
            claim=claim,
            statements=self._statements(statements),
        )

    def _claim(self, table: Any) -> Claim | None:
        if table is None:
            return None
        if not isinstance(table, dict):
            raise self._error("claim must be a table: [claim] with text and rule", "", "claim")
        claim = Claim(**self._fields(table, "claim", _CLAIM))
        rules = [rule.id for rule in RULES]
        if claim.rule not in rules:
            raise self._error(f"rule {claim.rule!r} is not known{_nearest(claim.rule, rules)}", "claim", "rule")
        return claim

    def _statements(self, tables: Sequence[dict[str, Any]]) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for index, table in enumerate(tables):
            statement = self._statement(table, f"statement {index + 1}")
            if any(statement.id == earlier.id for earlier in found):
                raise self._error(f"id {statement.id} is used twice", f"statement {index + 1}", "id")
            found.append(statement)
        return tuple(found)

    def _statement(self, table: dict[str, Any], where: str) -> Statement:
        values = self._fields(table, where, _STATEMENT)
        if not values["remedies"]:
            raise self._error("remedies is empty: name at least one change", where, "remedies")
        try:
            remedies = tuple(str(parse(text)) for text in values["remedies"])
        except RemedyError as error:
            raise self._error(f"remedies: {error}", where, "remedies") from None
        reason = values.get("reason")
        if reason is not None and reason not in REASONS:
            raise self._error(f"reason {reason!r} is not known{_nearest(reason, REASONS)}", where, "reason")
        return Statement(**{**values, "remedies": remedies})

    def _fields(self, table: dict[str, Any], where: str, schema: dict[str, _Field]) -> dict[str, Any]:
        """The table itself, once every name in it is known, of the right type, and none that is needed is missing."""
        for name, value in table.items():
            if name not in schema:
                raise self._error(f"unknown field {name!r}{_nearest(name, schema)}", where, name)
            if not schema[name].fits(value):
                raise self._error(f"{name} must be {schema[name].words}, not {value!r}", where, name)
        for name, field in schema.items():
            if field.needed and name not in table:
                raise self._error(f"the field {name!r} is missing", where, None)
        return table

    def _target(self, target: str | None) -> str | None:
        """A file is looked for beside the question."""
        if target is None or ".py:" not in target:
            return target
        file, _, name = target.rpartition(":")
        return f"{self._folder / file}:{name}"

    def _error(self, message: str, where: str, key: str | None) -> QuestionError:
        prefix = f"{where}: " if where else ""
        return QuestionError(f"{self._name}, line {self._line(where, key)}: {prefix}{message}")

    def _line(self, where: str, key: str | None) -> int:
        """Where a field stands, or, for a field that is missing, where its table begins."""
        start = 0
        if where:
            name, _, number = where.partition(" ")
            pattern = rf"\s*\[\[\s*{name}\s*\]\]" if number else rf"\s*\[\s*{name}\s*\]"
            heads = [i for i, line in enumerate(self._lines) if re.match(pattern, line)]
            start = heads[int(number or 1) - 1] if len(heads) >= int(number or 1) else 0
        if key is not None:
            for i in range(start, len(self._lines)):
                if re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", self._lines[i]):
                    return i + 1
                if i > start and where and self._lines[i].lstrip().startswith("["):
                    break
        return start + 1


@dataclass(frozen=True, slots=True)
class _Field:
    """What a field may hold, how to say so, and whether it may be left out."""

    words: str
    kind: type
    items: type | None = None
    needed: bool = True

    def fits(self, value: Any) -> bool:
        # In Python True is a whole number; in a question file it is not.
        right = isinstance(value, self.kind) and isinstance(value, bool) == (self.kind is bool)
        return right and (self.items is None or all(isinstance(item, self.items) for item in value))


_TEXT = _Field("a text in quotes", str)
_OPTIONAL_TEXT = replace(_TEXT, needed=False)
_QUESTION = {"title": _TEXT, "intro": _OPTIONAL_TEXT, "target": _OPTIONAL_TEXT}
_CLAIM = {"text": _TEXT, "rule": _TEXT}
_STATEMENT = {
    "id": _Field("a whole number", int),
    "text": _TEXT,
    "remedies": _Field('a list of texts, such as ["relu"]', list, str),
    "reason": _OPTIONAL_TEXT,
    "textbook": _Field("true or false", bool, needed=False),
    "reading": _OPTIONAL_TEXT,
}


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
