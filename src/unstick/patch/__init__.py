"""A remedy as a change to the user's own source: a unified diff that `git apply` accepts, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnstickError
from ..observation import Observation
from ..remedies.base import Remedy


@dataclass(frozen=True)
class Patch:
    """diff: unified, "" where nothing could be expressed; bytes that are no UTF-8 stand in it as surrogates. files:
    those that it changes, as it names them. contents: what these hold afterwards, by path. missing: what could not be
    expressed safely, each a sentence and the lines that would do it. complete: nothing is missing.
    """

    diff: str
    files: tuple[str, ...]
    contents: Mapping[Path, bytes]
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def content(self) -> bytes:
        """What a file has to hold that is given to `git apply`: line ends and encodings are those of the source."""
        return self.diff.encode("utf-8", "surrogateescape")


def express(remedy: Remedy, seen: Observation, folder: Path | None = None) -> Patch:
    """`remedy` as a diff of the source that `seen`, a run of the unchanged script, names. Writes nothing.

    folder: where `git apply` will be run, and where the script was; None for the working directory. Raises
    UnstickError where LibCST is not installed.
    """
    try:
        import libcst  # noqa: F401
    except ImportError:
        raise UnstickError('writing a patch needs LibCST: pip install "unstick[patch]"') from None
    from .parts import expressed

    return expressed(remedy, seen, Path.cwd() if folder is None else folder)


__all__ = ["Patch", "express"]
