"""Two versions of a file as a unified diff that `git apply` accepts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path


def unified(name: str, before: bytes, after: bytes) -> str:
    """`name`: path from where the diff is applied, with slashes. Lines end where git ends them, at line feeds alone.

    The `diff --git` line makes git count paths from the root of a repository, in whichever of its folders it is run.
    """
    old, new = _quoted(f"a/{name}"), _quoted(f"b/{name}")
    lines = difflib.unified_diff(_lines(before), _lines(after), old + _end(name), new + _end(name))
    return f"diff --git {old} {new}\n" + "".join(_terminated(lines))


def root_of(folder: Path) -> Path:
    """Where paths in a diff begin that is applied in this folder: the root of its repository, or the folder itself."""
    for parent in (folder, *folder.parents):
        if (parent / ".git" / "HEAD").is_file() or (parent / ".git").is_file():  # a file: a worktree or submodule
            return parent
    return folder


def _lines(content: bytes) -> list[str]:
    return re.findall("[^\n]*\n|[^\n]+", content.decode("utf-8", "surrogateescape"))


def _terminated(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _quoted(path: str) -> str:
    """As git writes names that hold what would end them."""
    if not re.search('["\\\\\t\n]', path):
        return path
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\t", "\\t"), ("\n", "\\n")):
        path = path.replace(character, escape)
    return f'"{path}"'


def _end(name: str) -> str:
    """A name with a space in it ends at a tab."""
    return "\t" if " " in name else ""
