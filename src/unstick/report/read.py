"""A report, read back from the JSON file that a command wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..errors import ReportError
from .types import jsonable

STANDARD_INPUT = "-"
LARGEST = 2**28
"""Bytes: a hundred times what the report of a large network takes, and no more than fits into memory."""
DEEPEST = 50
"""Levels of nesting; reports have a dozen."""

MEND = "write it anew with --json"


def read(name: str) -> Any:
    """What the JSON file `name` holds, or standard input for -. Raises ReportError."""
    shown = title(name)
    content = _bytes(name, shown)
    if len(content) > LARGEST:
        raise ReportError(f"{shown} is no report: it is larger than {LARGEST >> 20} MB; name the JSON file of one.")
    if not content.strip():
        raise ReportError(f"{shown} is empty; {MEND}.")
    try:
        return _document(content.decode("utf-8-sig"), shown)  # some editors put a mark before the text
    except UnicodeDecodeError as error:
        raise ReportError(f"{shown} is not text in UTF-8, which JSON is written in; {MEND}.") from error


def title(name: str) -> str:
    """The same for people."""
    return "standard input" if name == STANDARD_INPUT else name.encode(errors="replace").decode()


def _bytes(name: str, shown: str) -> bytes:
    try:
        if name == STANDARD_INPUT:
            return b"" if sys.stdin is None else sys.stdin.buffer.read(LARGEST + 1)
        with Path(name).open("rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise ReportError(f"there is no file {shown}; name the JSON file of a report.") from error
    except IsADirectoryError as error:
        raise ReportError(f"{shown} is a directory; name the JSON file of a report in it.") from error
    except OSError as error:
        raise ReportError(f"{shown} cannot be read ({error.strerror}); name another file.") from error


def _document(text: str, shown: str) -> Any:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        cut = not text[error.pos :].strip() or error.msg.startswith("Unterminated")
        why = "it ends too early, so it was not written to its end" if cut else f"{error.msg} in line {error.lineno}"
        raise ReportError(f"{shown} is not JSON: {why}; {MEND}.") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets within brackets
        raise ReportError(f"{shown} is no report: its JSON holds what no report does; {MEND}.") from error
    if not _shallow(document, DEEPEST):
        raise ReportError(f"{shown} is no report: its JSON is nested too deep; {MEND}.")
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ReportError(f"{shown} is no report: it holds half characters (such as \\ud800); {MEND}.") from error
    return jsonable(document)


def _shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_shallow(each, levels - 1) for each in inner)
