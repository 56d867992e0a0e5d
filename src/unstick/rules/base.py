"""What a rule is, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from ..observation import Observation


class Severity(StrEnum):
    """error: this keeps the network from learning. warning: this may. info: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    rule: the rule's id. module, source: where ("net.3", "model.py:12"). summary: a colleague's sentence or two: what,
    where, how much, why. cause: the rule that causes this one, or a mechanism ("activation", "weights"), or None.
    evidence: the measured numbers behind the sentence. remedies: what to try, best guess first. since: the step at
    which it was first seen. reading: what to read next.
    """

    rule: str
    severity: Severity
    summary: str
    module: str | None = None
    source: str | None = None
    cause: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    remedies: tuple[str, ...] = ()
    since: int | None = None
    reading: str = ""


class Rule(ABC):
    """Looks at an observation and says at most a few things. Stateless; one small class a rule.

    id: as in the documentation. title: one line for `unstick rules`. reading: paper, year, identifier.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    reading: ClassVar[str]

    @abstractmethod
    def check(self, seen: Observation, earlier: Sequence[Finding]) -> Iterable[Finding]:
        """Findings of this rule. `earlier` holds what rules before it in `RULES` found, causes before symptoms."""


def blamed(earlier: Sequence[Finding], *rules: str) -> str | None:
    """The first of these rules among earlier errors."""
    return next((f.rule for f in earlier if f.rule in rules and f.severity is Severity.ERROR), None)


def first_error(earlier: Sequence[Finding]) -> str | None:
    """The rule of the first error among earlier findings: what a symptom points at."""
    return next((f.rule for f in earlier if f.severity is Severity.ERROR), None)
