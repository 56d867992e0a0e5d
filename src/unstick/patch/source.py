"""A file of the user's, read exactly: its syntax tree, where each node stands, and the edits that are planned to it.

Edits replace spans of the text, so whatever they do not touch stays as it is, byte for byte.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider, QualifiedNameProvider
from libcst.metadata import QualifiedNameSource as Kind

_NEWLINE = re.compile(r"\r\n?|\n")


class Cannot(Exception):
    """Something that cannot be expressed safely, and why: the end of a sentence."""


@dataclass(frozen=True)
class Edit:
    """Puts `text` in the place of the characters from `start` to `end`. Of several insertions at one place, those of
    lower order come first, then those that were planned first."""

    start: int
    end: int
    text: str
    order: int = 0


def inside(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """It and all that is in it, in the order in which they stand in the text."""
    todo = [node]
    while todo:
        yield (found := todo.pop())
        todo += reversed(found.children)


class File:
    """Raises Cannot where it cannot be read as Python."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        try:
            self.before = path.read_bytes()
            self.encoding = tokenize.detect_encoding(io.BytesIO(self.before).readline)[0]
            self.text = self.before.decode(self.encoding)
            wrapper = MetadataWrapper(cst.parse_module(self.text))
        except (OSError, SyntaxError, UnicodeError, cst.ParserSyntaxError) as error:
            raise Cannot(f"{name} cannot be read: {_first_line(error)}") from None
        self.module = wrapper.module
        self.newline = self.module.default_newline
        self.notes: set[str] = set()  # names that edits have added
        self._positions = wrapper.resolve(PositionProvider)
        self._parents = wrapper.resolve(ParentNodeProvider)
        self._names = wrapper.resolve(QualifiedNameProvider)
        self._starts = [0, *(match.end() for match in _NEWLINE.finditer(self.text))]
        self.edits: list[Edit] = []

    # -- reading -------------------------------------------------------------------------------------------------------

    @cached_property
    def nodes(self) -> list[cst.CSTNode]:
        return list(inside(self.module))

    def lines(self, node: cst.CSTNode) -> range:
        """The numbers of the lines that it stands on."""
        where = self._positions[node]
        return range(where.start.line, where.end.line + 1)

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """Offsets into the text, without the parentheses that are around it."""
        where = self._positions[node]
        return (
            self._starts[where.start.line - 1] + where.start.column,
            self._starts[where.end.line - 1] + where.end.column,
        )

    def code(self, node: cst.CSTNode) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def line(self, number: int) -> str:
        """Without its end."""
        end = self._starts[number] if number < len(self._starts) else len(self.text)
        return self.text[self._starts[number - 1] : end].rstrip("\r\n")

    def margin(self, node: cst.CSTNode) -> str | None:
        """The space before it, where nothing else is before it on its line."""
        before = self.line(self.lines(node).start)[: self._positions[node].start.column]
        return None if before.strip() else before

    def calls(self, line: int) -> list[cst.Call]:
        """The calls that Python reports at this line: where the call begins, or where the name of its method stands."""
        return [node for node in self.nodes if isinstance(node, cst.Call) and line in self._reported(node)]

    def _reported(self, call: cst.Call) -> set[int]:
        named = call.func.attr if isinstance(call.func, cst.Attribute) else call
        return {self.lines(call).start, self.lines(named).start}

    def qualified(self, node: cst.CSTNode) -> str | None:
        """ "torch.nn.Sigmoid", however it was imported; None for what is no name, or none of one import."""
        if not isinstance(node, cst.Name | cst.Attribute):
            return None
        names = self._names.get(node, ())
        found = {name.name for name in (names() if callable(names) else names) if name.source == Kind.IMPORT}
        return found.pop() if len(found) == 1 else None

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        return self._parents[node]

    def around(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """What it stands in, from the inside out."""
        while node is not self.module:
            node = self._parents[node]
            yield node

    def statement(self, node: cst.CSTNode) -> cst.SimpleStatementLine:
        """The statement that it is in, which has its line to itself. Raises Cannot."""
        for outer in self.around(node):
            if isinstance(outer, cst.SimpleStatementLine) and len(outer.body) == 1:
                return outer
            if isinstance(outer, cst.BaseCompoundStatement | cst.SimpleStatementLine | cst.SimpleStatementSuite):
                break
        raise Cannot(f"line {self.lines(node).start} of {self.name} holds more than one statement")

    # -- changing ------------------------------------------------------------------------------------------------------

    def change(self, edits: Sequence[Edit]) -> None:
        """All of them, or none. Raises Cannot where one meets another edit of the same text."""
        for edit in edits:
            for other in self.edits:
                if edit.start < other.end and other.start < edit.end:
                    raise Cannot(f"another part of the remedy changes the same text of {self.name}")
        self.edits += edits

    def before_line(self, number: int, lines: Sequence[str], order: int = 0) -> Edit:
        """An edit that puts whole lines in front of this one; behind the last where the file has no such line."""
        text = "".join(line + self.newline for line in lines)
        if number <= len(self._starts) and (number < len(self._starts) or self.line(number)):
            return Edit(self._starts[number - 1], self._starts[number - 1], text, order)
        end = len(self.text)
        unfinished = bool(self.text) and not self.text.endswith(("\n", "\r"))
        return Edit(end, end, self.newline + text.removesuffix(self.newline) if unfinished else text, order)

    @property
    def after(self) -> bytes:
        parts: list[str] = []
        done = 0
        for edit in sorted(self.edits, key=lambda e: (e.start, e.end > e.start, e.order)):
            parts += [self.text[done : edit.start], edit.text]
            done = max(done, edit.end)
        return "".join([*parts, self.text[done:]]).encode(self.encoding)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


class Sources:
    """The files below one folder, each read once. root: where paths in the diff begin."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root
        self._files: dict[Path, File] = {}

    def place(self, source: str | None) -> tuple[File, int]:
        """The file and the line of "file.py:12". Raises Cannot."""
        if source is None:
            raise Cannot("no line of your source is known for it")
        path, _, line = source.rpartition(":")
        resolved = (self._folder / path).resolve()
        if not resolved.is_relative_to(self._folder.resolve()):
            raise Cannot(f"{path} lies outside of the folder that the patch is for")
        if resolved not in self._files:
            name = resolved.relative_to(self._root.resolve()).as_posix()
            self._files[resolved] = File(resolved, name)
        return self._files[resolved], int(line)

    @contextmanager
    def together(self) -> Iterator[None]:
        """All edits that are planned inside, or none where it raises Cannot."""
        kept = {path: (list(file.edits), set(file.notes)) for path, file in self._files.items()}
        try:
            yield
        except Cannot:
            for path, file in self._files.items():
                file.edits, file.notes = kept.get(path, ([], set()))
            raise

    @property
    def changed(self) -> list[File]:
        return [file for file in self._files.values() if file.after != file.before]
