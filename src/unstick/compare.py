"""Two reports side by side: before a change and after it, or one run and another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ReportError
from .report.facts import RUN, Fact, Found, facts, findings
from .report.shapes import KINDS, check
from .report.types import Report, jsonable, versions

GONE, NEW, STILL = "gone", "new", "still"


def compare(
    before: Mapping[str, Any], after: Mapping[str, Any], *, names: tuple[str, str] = ("before", "after")
) -> Comparison:
    """Hold two documents side by side: what `to_dict` of two diagnoses, trial reports, answers or demos gives, or what
    was read from their JSON files.

    names: of the two, for people. Raises ReportError for documents that are of different kinds, or no reports.
    """
    before, after = jsonable(before), jsonable(after)
    kinds = [check(document, name) for document, name in zip((before, after), names, strict=True)]
    if kinds[0] != kinds[1]:
        each = " and ".join(f"{name} is {KINDS[kind]}" for kind, name in zip(kinds, names, strict=True))
        raise ReportError(f"{each}; only two of a kind can be compared.")
    pairs = _paired(facts(before), facts(after))
    return Comparison(
        before=before,
        after=after,
        names=names,
        changed=tuple(row for row in pairs if row.differs),
        same=tuple(row for row in pairs if not row.differs),
        findings=tuple(_findings(findings(before), findings(after))),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. before, after: as in the documents. shown: both for people. better: whether `after` is; None
    where that cannot be said. part: "result", "finding", or "run" for the circumstances. became: of a finding, "gone",
    "new" or "still"."""

    what: str
    before: Any
    after: Any
    shown: tuple[str, str]
    better: bool | None
    part: str
    became: str | None = None

    @property
    def differs(self) -> bool:
        """Beyond what three digits show."""
        return self.shown[0] != self.shown[1]

    def to_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "part": self.part,
            "before": self.before,
            "after": self.after,
            "shown": self.shown,
            "better": self.better,
            "became": self.became,
        }


@dataclass(frozen=True, repr=False)
class Comparison(Report):
    """What differs between two reports. changed, same: what both say, other than findings. findings: of either, with
    what became of each. names: what the two are called."""

    before: Mapping[str, Any] = field(repr=False)
    after: Mapping[str, Any] = field(repr=False)
    names: tuple[str, str]
    changed: tuple[Row, ...]
    same: tuple[Row, ...]
    findings: tuple[Row, ...]

    @property
    def sentence(self) -> str:
        """What to take home, and how far to trust it."""
        moved = [row for row in self.findings if row.became != STILL or row.differs]
        if not self.changed and not moved:
            return "Nothing that is compared here has changed."
        return " ".join((*self._outcome, *self._caveats))

    @property
    def _outcome(self) -> Iterator[str]:
        better, worse = ([row.what for row in self.changed if row.better is which] for which in (True, False))
        if better:
            yield f"Better in {self.names[1]}: {_cut(better)}."
        if worse:
            yield f"Worse in {self.names[1]}: {_cut(worse)}."
        if not better and not worse:
            yield "None of the numbers can be called better or worse."
        words = ((GONE, "gone"), (NEW, "new"), (STILL, "still there"))
        counts = [(sum(row.became == became for row in self.findings), word) for became, word in words]
        if self.findings:
            yield f"Findings: {', '.join(f'{count} {word}' for count, word in counts if count)}."

    @property
    def _caveats(self) -> Iterator[str]:
        if run := [row.what for row in self.changed if row.part == RUN]:
            yield f"These differ as well, so the numbers are not those of one change: {_cut(run)}."
        if interrupted := [n for n, d in zip(self.names, (self.before, self.after), strict=True) if _interrupted(d)]:
            yield f"Interrupted before its end: {' and '.join(interrupted)}."
        schema = self.before["schema"]
        if schema in ("unstick/diagnosis/1", "unstick/demo/1"):
            yield "A diagnosis is one run, and another seed alone would move its numbers: `unstick try` repeats runs."
        if schema != "unstick/diagnosis/1":
            yield "Trials are counts and means over a few seeds; whether they differ by chance was not tested."

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = jsonable(
            {
                "schema": "unstick/comparison/1",
                "names": self.names,
                "sentence": self.sentence,
                "changed": [row.to_dict() for row in self.changed],
                "findings": [row.to_dict() for row in self.findings],
                "same": [row.to_dict() for row in self.same],
                "before": self.before,
                "after": self.after,
                "versions": versions(),
            }
        )
        return document


def _paired(before: Mapping[str, Fact], after: Mapping[str, Fact]) -> list[Row]:
    """Facts of both, the circumstances last. Of those in one alone, only what the other is known to be without."""
    rows = []
    for what in {**before, **after}:
        old, new = before.get(what), after.get(what)
        known = old or new
        assert known is not None
        if (old and new) or known.absent:
            shown = (old.shown if old else known.absent, new.shown if new else known.absent)
            values = (old.value if old else None, new.value if new else None)
            rows.append(Row(what, *values, shown, _better(old, new), known.part))
    return sorted(rows, key=lambda row: row.part == RUN)


def _better(old: Fact | None, new: Fact | None) -> bool | None:
    if old is None or new is None or old.rank is None or new.rank is None or old.terms != new.terms:
        return None
    if old.rank == new.rank or abs(new.rank - old.rank) < max(old.margin, new.margin):
        return None
    return new.rank > old.rank


def _findings(before: list[Found], after: list[Found]) -> Iterator[Row]:
    """Matched by rule and module; what is left over of a rule by the rule alone, since a change renames modules."""
    left = list(after)
    partners: dict[int, Found] = {}
    for alike in (lambda a, b: (a.rule, a.module) == (b.rule, b.module), lambda a, b: a.rule == b.rule):
        for i, old in enumerate(before):
            new = next((each for each in left if i not in partners and alike(old, each)), None)
            if new is not None:
                partners[i] = new
                left.remove(new)
    for i, old in enumerate(before):
        yield _became(old, partners.get(i))
    for new in left:
        yield _became(None, new)


def _became(old: Found | None, new: Found | None) -> Row:
    known = old or new
    assert known is not None
    ranks = [each.rank if each else 0.0 for each in (old, new)]
    return Row(
        what=known.rule,
        before=old and old.severity,
        after=new and new.severity,
        shown=(old.shown if old else "", new.shown if new else ""),
        better=None if ranks[0] == ranks[1] else ranks[1] > ranks[0],
        part="finding",
        became=GONE if new is None else NEW if old is None else STILL,
    )


def _interrupted(document: Mapping[str, Any]) -> bool:
    parts = document.values() if document["schema"] == "unstick/demo/1" else [document]
    return any(part.get("interrupted") for part in parts if isinstance(part, Mapping))


def _cut(names: list[str], most: int = 6) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
