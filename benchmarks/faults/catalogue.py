"""All cases, each id once."""

from __future__ import annotations

from . import autotrainer, checkers, deeplocalize, deepmufl
from .program import Fault

CASES: tuple[Fault, ...] = autotrainer.CASES + deeplocalize.CASES + deepmufl.CASES + checkers.CASES
LEFT_OUT = checkers.LEFT_OUT


def first_with_fix(case: Fault) -> Fault:
    """The first case with the same fix. It is trained there, and its runs are those of all the others."""
    assert case.fix is not None
    key = case.fix.key
    return next(c for c in CASES if c.fix is not None and c.fix.key == key)


def chosen(only: tuple[str, ...]) -> list[Fault]:
    """The cases whose id or family contains one of the words; all where there are none."""
    words = [w.lower() for w in only]
    return [c for c in CASES if not words or any(w in c.id.lower() or w in c.family.lower() for w in words)]
