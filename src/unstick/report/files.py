"""Writing a report where it was asked for: checked before the work, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError

STANDARD_OUTPUT = "-"


def check(option: str, name: str) -> None:
    """Raises OutputError, with the `option` it was given for, if a file of that name could not be written."""
    if name == STANDARD_OUTPUT:
        return
    path = Path(name)
    try:
        if path.is_dir():
            raise OutputError(f"{option} {name}: that is a directory; name a file in it.")
        if not path.parent.is_dir():
            raise OutputError(f"{option} {name}: there is no directory {path.parent}; create it first.")
        if path.exists() and not os.access(path, os.W_OK):
            raise OutputError(f"{option} {name}: that file may not be overwritten; name another.")
        if not path.exists() or path.is_file():
            _try(path.resolve())
    except OSError as error:
        raise OutputError(
            f"{option} {name}: cannot be written there ({error.strerror}); name another place."
        ) from error


def write(option: str, name: str, content: str | bytes) -> None:
    """Write text, ending in a newline, to the file or to standard output; or a picture to a file.

    Raises OutputError where that fails.

    A regular file is replaced in one step, so that whoever reads it sees the old content or the new. A pipe or a
    device is written to directly.
    """
    if isinstance(content, str):
        content = content.removesuffix("\n") + "\n"
        if name == STANDARD_OUTPUT:
            sys.stdout.write(content)
            return
        content = content.encode()
    path = Path(name).resolve()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _replace(path, content)
    except OSError as error:
        raise OutputError(f"{option} {name}: cannot be written ({error.strerror}).") from error


@contextlib.contextmanager
def reserved_output() -> Iterator[None]:
    """While this is active, whatever prints to standard output prints to standard error instead.

    The user's own code may print, also from worker processes, which inherit the file descriptor.
    """
    printed = sys.stdout
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        printed.flush()
        os.dup2(saved, 1)
        os.close(saved)


def _try(path: Path) -> None:
    """Permissions, read-only disks and over-long names: the system knows best, so ask it."""
    beside = _beside(path)
    beside.touch(exist_ok=False)
    beside.unlink()


def _replace(path: Path, content: bytes) -> None:
    beside = _beside(path)
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name in the same directory, since only within one file system a file can be replaced in one step."""
    return path.with_name(f".{path.name}.{os.getpid()}")
