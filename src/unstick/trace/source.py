"""Which line of the user's source made a module or called a function."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

ATTRIBUTE = "_unstick_source"


def _folder(path: str | Path) -> str:
    """With a separator at the end, so that no folder whose name merely begins alike is taken for it."""
    return os.path.join(path, "")


_PACKAGE = _folder(Path(__file__).parents[1])
_CASES = _folder(Path(_PACKAGE) / "cases")  # the cases that come with the package are written as users write theirs
_LISTENING = tuple(_folder(Path(_PACKAGE) / room) for room in ("trace", "remedies", "script"))
"""These stand between the user's call and torch."""
_LIBRARIES = tuple(
    {_folder(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {_folder(Path(torch.__file__).parent)}
)
_INSTALLED = ("site-packages", "dist-packages")


@functools.cache
def is_users(filename: str) -> bool:
    """Whether a file is the user's own, neither this package's nor an installed one's."""
    if filename.startswith("<") and not filename.startswith("<ipython"):
        return False
    if filename.startswith(_PACKAGE):
        return filename.startswith(_CASES)
    return not filename.startswith(_LIBRARIES) and not any(name in filename for name in _INSTALLED)


@functools.cache
def _calls_users(filename: str) -> bool:
    """Whether this is the part of the package that calls the user's code, rather than the part that listens to it."""
    return filename.startswith(_PACKAGE) and not filename.startswith(_LISTENING) and not is_users(filename)


@functools.cache
def _short(filename: str) -> str:
    """Relative to the working directory where that is shorter, as editors and people write it."""
    try:
        relative = os.path.relpath(filename)
    except ValueError:  # another drive
        return filename
    return filename if relative.startswith("..") else relative


def caller() -> str | None:
    """ "file.py:12" of the innermost frame that is the user's own code.

    None where the user's code was not called at all: the line that started the diagnosis made nothing.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if _calls_users(filename):
            return None
        if is_users(filename):
            return f"{_short(filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return None


_apart: WeakKeyDictionary[nn.Module, str | None] = WeakKeyDictionary()


@contextmanager
def constructing(apart: bool = False) -> Iterator[None]:
    """While this is open, the line that made it is known of each module that is made; of copies of it, too, unless it
    is kept apart from the module, which then stays as it is and can be saved by the user."""
    original = nn.Module.__init__

    @functools.wraps(original)
    def remember(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if apart:
            _apart[self] = caller()
        else:
            self.__dict__[ATTRIBUTE] = caller()

    nn.Module.__init__ = remember  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__init__ = original  # type: ignore[method-assign]


def made_at(module: nn.Module) -> str | None:
    """The line that made `module`, if it was made under `constructing`."""
    return module.__dict__.get(ATTRIBUTE) or _apart.get(module)


def of_module(module: nn.Module) -> str | None:
    """The same for torch's own classes only.

    For a class of the user's the line of the call inside its `forward` says more than the line that made it.
    """
    return made_at(module) if type(module).__module__.startswith("torch.") else None


def of_traceback(traceback: Any) -> str | None:
    """The innermost line of the user's own source that an exception passed through."""
    found = None
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if is_users(filename):
            found = f"{_short(filename)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found


def describe(error: BaseException) -> str:
    """An exception in one line, with the last line of the user's own source that it passed through."""
    message = " ".join(str(error).split()) or "no message"
    where = of_traceback(error.__traceback__)
    return f"{type(error).__name__}: {message[:300]}" + (f" ({where})" if where else "")
