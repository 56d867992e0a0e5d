"""What a script's process raised: whose fault it is, and how it looks without what stands between script and torch."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from types import CodeType, TracebackType

from ..trace.source import is_users

PACKAGE = os.path.join(Path(__file__).parents[1], "")
PASSED_ON = {"func", "original"}
"""In this package, what is called in the place of the script bears one of these names."""


@dataclass(frozen=True)
class Bug:
    """A failure of this package's own: in one line, and as Python prints it."""

    summary: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Bug:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        summary = f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
        return cls(summary, "".join(traceback.format_exception(error)))


def is_bug(error: BaseException) -> bool:
    """Whether it came up in this package, or in what that called for itself, rather than for the script."""
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    since_start = dropwhile(_ours, codes)
    inner = [code for code in since_start if _ours(code) or is_users(code.co_filename)]
    return bool(inner) and _ours(inner[-1]) and PASSED_ON.isdisjoint((*inner[-1].co_varnames, *inner[-1].co_freevars))


def without_ours(error: BaseException) -> None:
    """Take the frames of this package, and of what has started the script, out of the tracebacks that an exception
    has, and those that led to it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = _without_ours(each.__traceback__)
        waiting += [each.__cause__, each.__context__]
        waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else []


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    kept = None
    for each in reversed(frames):
        if not _ours(each.tb_frame.f_code):
            kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kept


def _ours(code: CodeType) -> bool:
    return code.co_filename.startswith(PACKAGE)
