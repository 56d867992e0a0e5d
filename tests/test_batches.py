from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from unstick.batches import map_tensors, split, stream, tensors, with_target
from unstick.state import preserved

X = torch.arange(20.0).reshape(20, 1)
Y = torch.arange(20)


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), batch_size=4, **options)


def targets(data: Any, seed: int, count: int, size: int = 4) -> list[list[int]]:
    return [y.tolist() for _, y in islice(stream(data, size, seed, None), count)]


@given(count=st.integers(1, 30), size=st.integers(1, 40), seed=st.integers(0, 5))
@settings(max_examples=25, derandomize=True)
def test_each_sample_comes_at_most_once_an_epoch(count: int, size: int, seed: int) -> None:
    x = torch.arange(count)
    per_epoch = count // min(size, count)
    drawn = [batch for batch, _ in islice(stream((x, x), size, seed, None), per_epoch)]
    flat = torch.cat(drawn).tolist()
    assert len(set(flat)) == len(flat) == per_epoch * min(size, count)


def test_inputs_and_targets_stay_together() -> None:
    data = ({"a": X, "b": (X * 2, X * 3)}, Y)
    for inputs, y in islice(stream(data, 3, 0, None), 10):
        assert torch.equal(inputs["a"].flatten(), y.float())
        assert torch.equal(inputs["b"][1].flatten(), 3 * y.float())


def drawn() -> Iterator[Any]:
    """Batches made with the global random state."""
    while True:
        chosen = torch.randint(20, (4,))
        yield X[chosen], Y[chosen]


SOURCES: dict[str, Any] = {
    "pair": lambda: (X, Y),
    "shuffled loader": lambda: loader(shuffle=True),
    "loader with its own generator": lambda: loader(shuffle=True, generator=torch.Generator().manual_seed(9)),
    "sampler with its own generator": lambda: loader(
        sampler=RandomSampler(TensorDataset(X, Y), generator=torch.Generator().manual_seed(9))
    ),
    "workers": lambda: loader(shuffle=True, num_workers=2),
    "function": lambda: drawn,
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_order_depends_on_the_seed_alone(name: str) -> None:
    data = SOURCES[name]()
    with preserved():
        first = targets(data, 1, 12)
        torch.rand(17)
        between = []
        source = stream(data, 4, 1, None)
        for _, y in islice(source, 12):
            torch.rand(3)  # what a model with dropout does
            between.append(y.tolist())
        assert first == between
        assert first != targets(data, 2, 12)


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "workers"])
def test_reading_draws_nothing_from_the_outside(name: str) -> None:
    data = SOURCES[name]()
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    source = stream(data, 4, 1, None)
    got = []
    for _ in range(3):
        next(source)
        got.append(torch.rand(1))
    assert torch.equal(torch.cat(got), expected)


@pytest.mark.parametrize("name", ["loader with its own generator", "sampler with its own generator"])
def test_generators_of_the_user_are_given_back(name: str) -> None:
    data = SOURCES[name]()
    generator = data.generator or data.sampler.generator
    before = generator.get_state()
    source = stream(data, 4, 1, None)
    list(islice(source, 7))
    source.close()  # type: ignore[attr-defined]
    assert torch.equal(generator.get_state(), before)


def test_a_loader_that_keeps_its_workers_is_not_disturbed_while_it_is_read() -> None:
    data = loader(num_workers=1, persistent_workers=True)
    reading = iter(data)
    first = next(reading)[1]
    source = stream(data, 4, 0, None)
    list(islice(source, 3))
    source.close()  # type: ignore[attr-defined]
    rest = [y for _, y in reading]
    assert torch.equal(torch.cat([first, *rest]), Y)


def test_batches_are_copies() -> None:
    own = [(X.clone(), Y.clone())]
    x, y = next(stream(own, 1, 0, None))
    x.zero_()
    y.zero_()
    assert torch.equal(own[0][0], X)
    assert torch.equal(own[0][1], Y)


@dataclass(frozen=True)
class Graph:
    nodes: Tensor
    name: str


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value",
    [
        (X, [Y, "text", None]),
        {"a": X, "b": 3},
        OrderedDict(a=X),
        UserDict(a=X),
        Point(X, 1),
        Graph(X, "g"),
    ],
)
def test_maps_tensors_and_keeps_the_rest(value: Any) -> None:
    mapped = map_tensors(value, lambda t: t + 1)
    assert isinstance(mapped, type(value)) or isinstance(value, dict)
    assert [t.sum() for t in tensors(mapped)] == [(t + 1).sum() for t in tensors(value)]


def test_a_defaultdict_becomes_a_dict() -> None:
    assert map_tensors(defaultdict(list, a=X), lambda t: t * 0)["a"].sum() == 0


def test_splits_into_inputs_and_target() -> None:
    assert split((1, 2)) == ((1,), {}, 2)
    assert split([1, 2, 3]) == ((1, 2), {}, 3)
    assert split(((1, 2), 3)) == ((1, 2), {}, 3)
    assert split(({"a": 1}, 3)) == ((), {"a": 1}, 3)
    assert split({"a": 1, "label": 2}) == ((), {"a": 1}, 2)


def test_replaces_the_target_where_there_is_one() -> None:
    assert with_target((X, Y), lambda t: t * 0)[1].sum() == 0
    assert with_target({"x": X, "y": Y}, lambda t: t * 0)["y"].sum() == 0
    assert with_target(X, lambda t: t) is None
    assert with_target((X, torch.tensor(1.0)), lambda t: t) is None
    assert with_target({"x": X, "y": torch.tensor(1.0)}, lambda t: t) is None
