"""How severities and verdicts look: word, colour and icon, said once for every kind of report."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    """word: for people. colour: a name that rich knows. icon: one character; letter: the same in ASCII."""

    word: str
    colour: str
    icon: str
    letter: str

    def sign(self, ascii_only: bool) -> str:
        return self.letter if ascii_only else self.icon


SEVERITIES = {
    "error": Style("error", "red", "✗", "x"),
    "warning": Style("warning", "yellow", "▲", "!"),
    "info": Style("note", "cyan", "●", "*"),
}

VERDICTS = {
    "fixes": Style("fixes it", "green", "✓", "+"),
    "helps": Style("helps", "green", "↗", "+"),
    "no-effect": Style("no effect", "bright_black", "–", "-"),
    "harms": Style("harms", "red", "✗", "x"),
    "inconclusive": Style("inconclusive", "yellow", "?", "?"),
    "not-applicable": Style("not applicable", "bright_black", "○", "o"),
}

BETTER = Style("better", "green", "✓", "+")
WORSE = Style("worse", "red", "✗", "x")
NEITHER = Style("", "bright_black", "–", "-")

YES = Style("yes", "green", "✓", "+")
NO = Style("no", "red", "✗", "x")
UNKNOWN = Style("not known", "yellow", "?", "?")

INTERRUPTED = "Interrupted; this is what was known by then."

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-~=+*#"

_ASCII = str.maketrans(
    {"→": "->", "–": "-", "−": "-", "…": "...", "·": "|", "≈": "~", "≤": "<=", "≥": ">=", "×": "x"}
    | {"σ": "sigma", "χ": "chi", "ξ": "xi", "²": "^2"}
)


def spelled(text: str, ascii_only: bool) -> str:
    """`text` as the terminal can show it."""
    return text.translate(_ASCII).encode("ascii", "replace").decode() if ascii_only else text


def answer(value: bool | None) -> Style:
    """The style of a yes, a no, or neither."""
    return UNKNOWN if value is None else YES if value else NO


def number(value: float | None) -> str:
    """Three significant digits, as people write them: 0.0213, 2.30, 48.0, 4.1e+11; "not finite" for None."""
    if value is None or not math.isfinite(value):
        return "not finite"
    if value == 0.0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"
    return f"{value:.1e}"


def plural(count: int, noun: str) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
