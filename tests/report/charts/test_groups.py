"""Operations gathered by module."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from unstick.report.charts.groups import FEWEST, MOST, grouped

paths = st.none() | st.lists(st.sampled_from("ab01"), max_size=3).map(".".join)
layers = st.lists(st.builds(lambda path: {"module": path, "op": "linear"}, paths), min_size=1, max_size=400)


@given(layers)
def test_groups_hold_every_operation_once_in_order_and_are_few(network: list[dict[str, Any]]) -> None:
    groups = grouped(network)
    assert [place for _, start, end in groups for place in range(start, end)] == list(range(len(network)))
    assert len(groups) <= MOST


def blocks(count: int) -> list[dict[str, Any]]:
    inner = [{"module": f"blocks.{i}.{name}", "op": name} for i in range(count) for name in ("norm", "up", "down")]
    return [{"module": "stem", "op": "linear"}, *inner, {"module": None, "op": "cross_entropy"}]


def test_the_first_depth_that_says_something_is_taken() -> None:
    groups = grouped(blocks(FEWEST))
    assert [name for name, _, _ in groups] == ["stem", *(f"blocks.{i}" for i in range(FEWEST)), "loss"]
    assert groups[1] == ("blocks.0", 1, 4)


def test_taking_turns_is_not_having_many_names() -> None:
    """The additions of a residual network belong to the model itself, between its blocks."""
    inner = [{"module": name, "op": "add"} for i in range(3 * FEWEST) for name in (f"blocks.{i}.up", "")]
    groups = grouped([{"module": "stem", "op": "linear"}, *inner])
    assert [name for name, _, _ in groups][:4] == ["stem", "blocks.0", "add", "blocks.1"]


def test_too_many_are_joined_and_say_from_where_to_where() -> None:
    groups = grouped(blocks(2 * MOST))
    assert groups[1][0] == "blocks.2 … blocks.4"
    assert groups[1][1:] == (7, 16)


def test_a_model_that_computes_by_itself_is_named_by_what_it_does() -> None:
    assert grouped([{"module": "", "op": "relu"}, {"module": None, "op": "mse_loss"}]) == [
        ("relu", 0, 1),
        ("loss", 1, 2),
    ]
