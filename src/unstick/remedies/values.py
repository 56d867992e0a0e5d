"""The values that may stand between the parentheses of a remedy string."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import RemedyError


@dataclass(frozen=True)
class Times:
    """`x10`: ten times what was there before."""

    factor: float

    def __str__(self) -> str:
        return f"x{number(self.factor)}"


Value = float | str | Times


def number(value: float) -> str:
    """The shortest text that `float` reads back as the same number."""
    return repr(float(value)).removesuffix(".0")


def arguments(*positional: Value, **named: Value | None) -> str:
    """`(he)`, `(normal, std=10)`: arguments as users write them; named ones that are None are left out, and
    parentheses around nothing, too."""
    parts = [_text(value) for value in positional]
    parts += [f"{name}={_text(value)}" for name, value in named.items() if value is not None]
    return f"({', '.join(parts)})" if parts else ""


def _text(value: Value) -> str:
    return str(value) if isinstance(value, str | Times) else number(value)


def check_number(value: object, what: str, *, least: float = 0.0, below: float = math.inf, open_: bool = True) -> None:
    """Raise RemedyError unless `value` is a finite number from `least` (without `least` itself where `open_`) to
    below `below`. `what` names it in the message: "the learning rate of sgd"."""
    fits = (
        isinstance(value, int | float)
        and math.isfinite(value)
        and (value > least if open_ else value >= least)
        and value < below
    )
    if not fits:
        shown = _text(value) if isinstance(value, int | float | str | Times) else repr(value)
        limits = f"{'above' if open_ else 'of at least'} {number(least)}"
        limits += f" and below {number(below)}" if below < math.inf else ""
        raise RemedyError(f"{what} must be a number {limits}, not {shown}")
