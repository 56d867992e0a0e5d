"""Observations as JSON and back, exactly: `decode(encode(x), type(x)) == x`.

A dataclass becomes an object with its fields, tuples and frozensets become arrays (a set's in order), and a number
stays the number that it is: Python writes a float with the digits that give the same float again. What JSON has no
number for is the string "NaN", "Infinity" or "-Infinity", as in the JSON of Protocol Buffers. The types of the fields
say how to read it all back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Reader = Callable[[Any], Any]
SCALARS = (bool, int, float, str)


def encode(value: Any) -> Any:
    """A value of JSON. Raises TypeError for what is none of the above."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _not_finite(value)
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, frozenset):
        return [encode(item) for item in sorted(value)]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if is_dataclass(value):
        return {name: encode(getattr(value, name)) for name in _names(value.__class__)}
    raise TypeError(f"{type(value).__name__} has no form in JSON here")


def decode(data: Any, kind: type) -> Any:
    """The value of type `kind` that `data` was made from.

    Raises KeyError, TypeError or ValueError where it was made from something else.
    """
    return _reader(kind)(data)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _reader(hint: Any) -> Reader:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _dataclass(hint)
    if origin in (Union, UnionType):
        return _union([argument for argument in arguments if argument is not NoneType])
    if origin is tuple and arguments[1:] == (...,):
        item = _reader(arguments[0])
        return lambda data: tuple([item(value) for value in data])
    if origin is tuple:
        items = [_reader(argument) for argument in arguments]
        return lambda data: tuple([read(value) for read, value in zip(items, data, strict=True)])
    if origin is frozenset:
        item = _reader(arguments[0])
        return lambda data: frozenset([item(value) for value in data])
    if origin is dict:
        item = _reader(arguments[1])
        return lambda data: {key: item(value) for key, value in data.items()}
    if hint is float:
        return _number
    if hint in SCALARS or origin is Literal:
        return lambda data: data
    raise TypeError(f"a field of type {hint} cannot be read from JSON here")


def _dataclass(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    readers = [(name, _reader(hints[name])) for name in _names(kind)]
    return lambda data: kind(**{name: read(data[name]) for name, read in readers})


def _union(arms: list[Any]) -> Reader:
    """Of None with one type, or with several kinds of number: nothing else can be told apart."""
    if len(arms) == 1:
        only = _reader(arms[0])
        return lambda data: None if data is None else only(data)
    if set(arms) <= {bool, int, float}:
        return _number
    raise TypeError(f"one of {arms} cannot be told from the others in JSON")


def _number(data: Any) -> Any:
    return float(data) if isinstance(data, str) else data
