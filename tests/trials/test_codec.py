from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unstick.observation import Observation
from unstick.trials.codec import decode, encode


@dataclass(frozen=True, slots=True)
class Inner:
    word: Literal["above", "below"] | None
    pair: tuple[str, int] | None
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Outer:
    number: float
    count: int
    flag: bool
    maybe: float | None
    mixed: dict[str, float | int | bool | None]
    triples: tuple[tuple[int, str, float], ...]
    inner: Inner | None
    inners: tuple[Inner, ...]


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type, all the way down; nan is the same as nan, and -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields(left))
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def through_json(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value), ensure_ascii=False, allow_nan=False)), type(value))


INNER = st.builds(
    Inner,
    st.sampled_from(["above", "below", None]),
    st.none() | st.tuples(st.text(), st.integers()),
    st.frozensets(st.text()),
)
OUTER = st.builds(
    Outer,
    number=st.floats(),
    count=st.integers(),
    flag=st.booleans(),
    maybe=st.none() | st.floats(),
    mixed=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats()),
    triples=st.lists(st.tuples(st.integers(), st.text(), st.floats())).map(tuple),
    inner=st.none() | INNER,
    inners=st.lists(INNER).map(tuple),
)


@given(OUTER)
def test_what_was_written_is_read_back(value):
    assert same(through_json(value), value)


st.register_type_strategy(float, st.floats())


@settings(max_examples=30)
@given(st.from_type(Observation))
def test_any_observation_is_read_back(seen):
    assert same(through_json(seen), seen)


def test_numbers_that_json_lacks_have_names():
    value = Outer(math.nan, 1, True, -math.inf, {"a": math.inf}, (), None, ())
    assert [encode(value)[name] for name in ("number", "maybe", "mixed")] == ["NaN", "-Infinity", {"a": "Infinity"}]


def test_the_order_of_a_set_is_settled():
    names = [f"layer.{i}.weight" for i in range(100)]
    assert encode(frozenset(names)) == encode(frozenset(reversed(names))) == sorted(names)


@dataclass(frozen=True)
class Doubtful:
    either: int | str


@pytest.mark.parametrize("kind", [Doubtful, complex])
def test_what_could_not_be_read_back_is_refused(kind):
    with pytest.raises(TypeError):
        decode({"either": 1}, kind)
    with pytest.raises(TypeError):
        encode(1j)
