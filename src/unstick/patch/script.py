"""What the expressing of one remedy works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..observation import Observation
from ..remedies.base import Remedy
from ..trace.types import Trace
from .source import Sources


@dataclass(frozen=True)
class Script:
    """seen: the run of the unchanged script. sources: its files, with the edits so far. earlier: the parts of the
    remedy that came before."""

    seen: Observation
    sources: Sources
    earlier: tuple[Remedy, ...] = ()

    @property
    def trace(self) -> Trace:
        return self.seen.traces[0]

    @staticmethod
    def missing(remedy: Remedy, reason: str, lines: Sequence[str]) -> str:
        """One sentence, and below it the lines that would do it."""
        end = ":" if lines else "."
        return "\n".join([f"{remedy} is not all in the patch: {reason}{end}", *(f"    {line}" for line in lines)])
