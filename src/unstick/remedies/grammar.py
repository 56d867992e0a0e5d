"""Remedies as strings: `name`, `name(argument, key=value)`, joined by `+`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from ..errors import RemedyError
from .base import Compose, Remedy
from .values import Times, Value

_PART = re.compile(r"(?P<name>[a-z][a-z0-9_-]*)\s*(?:\((?P<arguments>[^()]*)\))?")
_TIMES = re.compile(r"[x×]\s*(?P<factor>[-+]?[\d.].*)")
_WORD = re.compile(r"[a-z][a-z0-9_-]*")


def parse(text: str, remedies: Sequence[type[Remedy]]) -> Remedy:
    """The remedy that `text` describes, chosen among `remedies`. Upper case and spaces do not matter.

    Raises RemedyError, in one sentence, for an unknown name (with the nearest one) and for wrong arguments (with those
    that are allowed).
    """
    if not text.strip():
        raise RemedyError("the remedy is empty; write for example relu or relu+init(he)")
    by_name = {name: remedy for remedy in remedies for name in remedy.names}
    parts = tuple(_part(part.strip(), by_name, text) for part in _split(text.lower(), "+"))
    return parts[0] if len(parts) == 1 else Compose(parts)


def _split(text: str, separator: str) -> Iterator[str]:
    """`text` at each separator that is not inside parentheses (as the + of `lr(1e+3)` is)."""
    depth, start = 0, 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def _part(part: str, by_name: dict[str, type[Remedy]], whole: str) -> Remedy:
    if not part:
        raise RemedyError(f"nothing stands on one side of a + in {whole.strip()!r}; write for example relu+init(he)")
    match = _PART.fullmatch(part)
    if match is None:
        raise RemedyError(f"{part!r} is no remedy: write a name, or a name with arguments such as init(normal, std=10)")
    name = match["name"].replace("_", "-")
    if name not in by_name:
        raise RemedyError(_unknown(name, list(by_name)))
    positional, named = _arguments(match["arguments"] or "", name)
    return by_name[name].build(*positional, **named)


def _unknown(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"no remedy {name!r}{hint} `unstick remedies` lists them all"


def _arguments(text: str, name: str) -> tuple[list[Value], dict[str, Value]]:
    """The values between the parentheses, those without and those with a name."""
    positional: list[Value] = []
    named: dict[str, Value] = {}
    for piece in text.split(",") if text.strip() else []:
        key, equals, value = (s.strip() for s in piece.rpartition("="))
        if not equals and named:
            raise RemedyError(f"{name}: {value!r} stands after a named argument; put it first, or give it a name")
        if equals and (not _WORD.fullmatch(key) or key in named):
            raise RemedyError(f"{name}: {piece.strip()!r} is no argument, or is there twice; write key=value")
        if equals:
            named[key] = _value(value, name)
        else:
            positional.append(_value(value, name))
    return positional, named


def _value(text: str, name: str) -> Value:
    """A number, a word, or a factor such as x10."""
    if times := _TIMES.fullmatch(text):
        return Times(_number(times["factor"], name))
    return text if _WORD.fullmatch(text) else _number(text, name)


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        shown = repr(text) if text else "an empty argument"
        raise RemedyError(f"{name}: {shown} is neither a number nor a word") from None
