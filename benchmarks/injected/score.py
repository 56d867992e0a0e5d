"""What the answers come to: recall, the first name, intervals, and who is taken for whom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .hosts import HOSTS
from .plain import Outcome
from .table import INJECTORS, Injector

NOTHING = "(nothing)"
CRASH = "(failed)"
Z95 = 1.959964
RECALL_AIM, FIRST_AIM, FLOOR = 0.95, 0.90, 0.80


@dataclass(frozen=True)
class Answer:
    """What became of one pair. injector: its id, "healthy" for the host as it is. healthy, injected: plain training, of
    what it is compared with and of the network itself. findings: the rules in the tool's order; `severities` beside
    them. error: what the tool said when it refused the case, or failed. code: the state of the package that answered.
    """

    injector: str
    host: str
    healthy: Outcome
    injected: Outcome
    findings: tuple[str, ...]
    severities: tuple[str, ...]
    summaries: tuple[str, ...]
    learns: bool | None
    error: str | None
    numbers: dict[str, Any]
    seconds: float
    code: str

    @property
    def key(self) -> str:
        return key(self.injector, self.host)

    @property
    def source(self) -> Injector:
        return BY_ID[self.injector]

    @property
    def half(self) -> str:
        return HOSTS[self.host].half

    @property
    def counts(self) -> bool:
        """The network that it is compared with learns, and the fault makes it clearly worse."""
        return self.healthy.learns and self.injected.worse_than(self.healthy)

    @property
    def first(self) -> str:
        return self.findings[0] if self.findings else CRASH if self.error else NOTHING

    @property
    def named_first(self) -> bool:
        return self.first in self.source.right

    @property
    def found(self) -> bool:
        return any(rule in self.source.right for rule in self.findings)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(d: dict[str, Any]) -> Answer:
        lists = {name: tuple(d[name]) for name in ("findings", "severities", "summaries")}
        return Answer(**{**d, **lists, "healthy": Outcome(**d["healthy"]), "injected": Outcome(**d["injected"])})


BY_ID = {injector.id: injector for injector in INJECTORS}
RULES = tuple(dict.fromkeys(injector.rule for injector in INJECTORS))


def key(injector: str, host: str) -> str:
    return f"{injector} @ {host}"


@dataclass(frozen=True)
class Share:
    """So many of so many, with Wilson's interval (Wilson 1927) at 95 %."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        p, n, z = self.value, self.of, Z95
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits}/{self.of} ({100 * low:.0f} to {100 * high:.0f} %)" if self.of else "none"


@dataclass(frozen=True)
class Row:
    """One rule. `apart`: pairs that do not count, since the fault did no harm."""

    rule: str
    recall: Share
    first: Share
    apart: int


def rows(answers: Iterable[Answer]) -> list[Row]:
    injected = [a for a in answers if a.injector in BY_ID]
    return [row(rule, [a for a in injected if a.source.rule == rule]) for rule in RULES]


def row(rule: str, answers: Sequence[Answer]) -> Row:
    counted = [a for a in answers if a.counts]
    found, first = sum(a.found for a in counted), sum(a.named_first for a in counted)
    return Row(rule, Share(found, len(counted)), Share(first, len(counted)), len(answers) - len(counted))


def averages(table: Sequence[Row]) -> tuple[float, float]:
    """Recall and first name, each rule with the same weight."""
    some = [r for r in table if r.recall.of]
    if not some:
        return math.nan, math.nan
    return sum(r.recall.value for r in some) / len(some), sum(r.first.value for r in some) / len(some)


def aims_met(table: Sequence[Row]) -> bool:
    """Recall, first name, and no rule under 80 % in either."""
    recall, first = averages(table)
    lowest = min((min(r.recall.value, r.first.value) for r in table if r.recall.of), default=0.0)
    return recall >= RECALL_AIM and first >= FIRST_AIM and lowest >= FLOOR


def confusion(answers: Iterable[Answer]) -> dict[str, Counter[str]]:
    """For each rule that was injected, how often each was found first. Pairs that count."""
    table: dict[str, Counter[str]] = {rule: Counter() for rule in RULES}
    for a in answers:
        if a.injector in BY_ID and a.counts:
            table[a.source.rule][a.first] += 1
    return table
