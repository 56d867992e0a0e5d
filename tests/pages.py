"""The blocks of code that a page of the documentation shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]

INDENTED = ""
"""The language of an indented block, which on these pages is always for a shell."""


@dataclass(frozen=True)
class Block:
    """language: as the fence says. line: of the page, where the block begins. file: the name under which a reader is
    told to save it, if so. output: the block that follows at once, where that shows what comes of this one."""

    language: str
    text: str
    line: int
    file: str | None
    output: str | None = None

    @property
    def commands(self) -> list[str]:
        """What a reader would type into a shell, without comments."""
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]
        elif self.language in (INDENTED, "sh"):
            lines = self.text.splitlines()
        else:
            lines = []
        return [line.split("  #")[0].strip() for line in lines if line.strip()]


def blocks(page: Path) -> list[Block]:
    """In order. Directives of Sphinx are none."""
    found: list[Block] = []
    before = ""  # what the last paragraph says; empty right behind a block
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "inline":
            before = token.content
        elif token.type in ("fence", "code_block") and not token.info.startswith("{"):
            assert token.map is not None
            if token.info == "text" and not before and found:
                found[-1] = replace(found[-1], output=token.content)
            named = re.search(r"`([\w./-]+\.\w+)`:$", before)
            shell = token.info in (INDENTED, "console", "sh")
            file = named[1] if named and not shell else None
            found.append(Block(token.info, token.content, token.map[0] + 1, file))
            before = ""
    return found


def block(page: str, file: str) -> str:
    """The text of a file that a page shows."""
    return next(b.text for b in blocks(DOCS / page) if b.file == file)
