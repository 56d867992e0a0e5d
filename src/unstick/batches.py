"""Where batches come from, and what is in them."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .errors import CaseError
from .state import random_state, seed_everything, set_random_state
from .trace.source import describe

TARGET_KEYS = ("labels", "label", "targets", "target", "y")


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """`value` with each tensor in its tuples, lists, dicts and dataclasses replaced; other things stay as they are."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(v, function) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(v, function) for v in value)
    if isinstance(value, Mapping):
        mapped = {key: map_tensors(v, function) for key, v in value.items()}
        # A subclass of dict may want other arguments (defaultdict does); of other mappings the class is kept.
        return mapped if isinstance(value, dict) else type(value)(mapped)  # type: ignore[call-arg]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: map_tensors(getattr(value, f.name), function) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **fields)
    return value


def tensors(value: Any) -> list[Tensor]:
    """All tensors in a batch."""
    found: list[Tensor] = []
    map_tensors(value, lambda t: found.append(t) or t)  # type: ignore[func-returns-value]
    return found


def split(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """(positional inputs, keyword inputs, target) of a batch. Raises CaseError where it has no target."""
    if isinstance(batch, Mapping):
        key = next((k for k in TARGET_KEYS if k in batch), None)
        if key is None:
            raise CaseError(
                f"a dict batch needs its target under one of {', '.join(TARGET_KEYS)}; this one has "
                f"{', '.join(map(str, batch))}: rename it, or give step= instead of loss="
            )
        return (), {k: v for k, v in batch.items() if k != key}, batch[key]
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise CaseError(
            f"a batch must be (inputs, target) or a dict with a target, not {_what(batch)}; for others give step="
        )
    *inputs, target = batch
    if len(inputs) == 1 and isinstance(inputs[0], tuple | list):
        return tuple(inputs[0]), {}, target
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return (), dict(inputs[0]), target
    return tuple(inputs), {}, target


def with_target(batch: Any, function: Callable[[Tensor], Tensor]) -> Any | None:
    """The batch with its target passed through `function`; None where no target tensor can be told."""
    if isinstance(batch, Mapping):
        key = next((k for k in TARGET_KEYS if isinstance(batch.get(k), Tensor)), None)
        return None if key is None or not batch[key].dim() else {**batch, key: function(batch[key])}
    if isinstance(batch, tuple | list) and len(batch) >= 2 and isinstance(batch[-1], Tensor) and batch[-1].dim():
        return (*batch[:-1], function(batch[-1]))
    return None


def joined(batches: Sequence[Any], join: Callable[[list[Tensor]], Tensor] = torch.cat) -> Any:
    """One batch of all the samples of several: their tensors, one behind the other along the first axis. join:
    torch.stack to have them along an axis of their own."""
    columns = zip(*(tensors(batch) for batch in batches), strict=True)
    whole = iter([join(list(column)) for column in columns])
    return map_tensors(batches[0], lambda _: next(whole))


def _what(batch: Any) -> str:
    if isinstance(batch, Tensor):
        return f"one tensor of shape {tuple(batch.shape)}"
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {len(batch)}"
    return f"a {type(batch).__name__}"


# -- checks ------------------------------------------------------------------------------------------------------------


def is_pair(data: Any) -> bool:
    """Whether `data` is (X, y) tensors rather than a list of batches."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        return False
    inputs, target = data
    return isinstance(target, Tensor) and isinstance(inputs, Tensor | Mapping | tuple | list) and bool(tensors(inputs))


def check_data(data: Any) -> None:
    """Raise CaseError where `data` can be no source of batches."""
    if is_pair(data):
        _check_pair(*data)
    elif isinstance(data, Iterator):
        raise CaseError("data is an iterator, which can be read only once: give a function that returns a new one")
    elif isinstance(data, Tensor):
        raise CaseError("data is one tensor: give (X, y), a DataLoader, or a function that returns batches")
    elif not callable(data) and not isinstance(data, Iterable):
        raise CaseError(
            f"data must be (X, y) tensors, a DataLoader or a function that returns batches, not a {type(data).__name__}"
        )
    elif (
        isinstance(data, tuple | list)
        and len(data) == 2
        and not all(isinstance(d, tuple | list | Mapping) for d in data)
    ):
        kinds = " and ".join(type(d).__name__ for d in data)
        raise CaseError(f"data as (X, y) must hold tensors, not {kinds}: convert with torch.as_tensor")


def _check_pair(inputs: Any, target: Tensor) -> None:
    for part in inputs.values() if isinstance(inputs, Mapping) else inputs if not isinstance(inputs, Tensor) else ():
        if not isinstance(part, Tensor) and hasattr(part, "__len__") and not tensors(part):
            raise CaseError(f"X must hold tensors, not {type(part).__name__}: convert with torch.as_tensor")
    for part, name in [(p, "X") for p in tensors(inputs)] + [(target, "y")]:
        if part.dim() == 0:
            raise CaseError(f"{name} is a single number: its first axis must hold the samples")
        if len(part) == 0:
            raise CaseError(f"{name} is empty: there are no samples to train on")
        if len(part) != len(target):
            raise CaseError(f"X has {len(part)} samples and y has {len(target)}: the first axes must be equally long")
        if (part.is_floating_point() or part.is_complex()) and not bool(part.isfinite().all()):
            bad = int((~part.isfinite()).sum())
            raise CaseError(f"{name} holds {bad} values that are NaN or infinite: clean the data first")


def check_finite(batch: Any, number: int) -> None:
    """Raise CaseError where a batch holds NaN or infinity: then the fault is in the data, not in the network."""
    for t in tensors(batch):
        if t.is_floating_point() and not bool(t.isfinite().all()):
            raise CaseError(f"batch {number} of the data holds NaN or infinite values: clean the data first")


# -- streams -----------------------------------------------------------------------------------------------------------


def stream(data: Any, batch_size: int, seed: int, device: Any) -> Iterator[Any]:
    """Batches without end, copied to `device`; their order depends on `seed` alone. Raises CaseError.

    Close it, or drop it, to have what belongs to the user's loader put back.
    """

    def ours(t: Tensor) -> Tensor:
        return t.detach().to(device or t.device, copy=True)

    source = _drawn(data, batch_size, seed) if is_pair(data) else _own_randomness(data, seed)
    try:
        for batch in source:
            yield map_tensors(batch, ours)
    finally:
        source.close()


def _drawn(data: Any, batch_size: int, seed: int) -> Generator[Any, None, None]:
    """Batches of (X, y), each sample once before any comes again; the rest of an epoch that fills no batch is left."""
    inputs, target = data
    generator = torch.Generator().manual_seed(seed)
    count = len(target)
    size = min(batch_size, count)
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - size + 1, size):
            chosen = order[start : start + size]
            yield map_tensors((inputs, target), partial(_rows, chosen))


def _rows(chosen: Tensor, t: Tensor) -> Tensor:
    return t[chosen.to(t.device)]


def _own_randomness(data: Any, seed: int) -> Generator[Any, None, None]:
    """Passes over a loader, a list, or what a function returns, one after another, under a random state of its own.

    What the training draws in between (dropout, say) must not change which batches come, or two trials of one seed
    would not see the same ones. A loader's own generators are given back as they were.
    """
    generators = generators_of(data)
    before = [generator.get_state() for generator in generators]
    outside = random_state()
    seed_everything(seed)
    for generator in generators:
        generator.manual_seed(seed)
    source = _passes(_unshared(data))
    try:
        inside = random_state()
        set_random_state(outside)
        for number in itertools.count():
            outside = random_state()
            set_random_state(inside)
            try:
                batch = next(source)
            finally:
                inside = random_state()
                set_random_state(outside)
            check_finite(batch, number)
            yield batch
    finally:
        source.close()
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def generators_of(data: Any) -> list[torch.Generator]:
    """The random generators that a loader or its samplers draw from, each once."""
    if not isinstance(data, DataLoader):
        return []
    batch_sampler = data.batch_sampler
    holders = (data, data.sampler, batch_sampler, getattr(batch_sampler, "sampler", None))
    found = (getattr(holder, "generator", None) for holder in holders)
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


def _unshared(data: Any) -> Any:
    """A loader that keeps its workers keeps one iterator, too, which may be in use: ours is apart from it."""
    if not isinstance(data, DataLoader) or not data.persistent_workers:
        return data
    twin = copy.copy(data)
    twin._iterator = None
    return twin


def _passes(data: Any) -> Generator[Any, None, None]:
    for number in itertools.count():
        with _reading("the data could not be read"):
            batches = data() if callable(data) else data
            if callable(data) and is_pair(batches):
                raise CaseError("the function given as data returned (X, y): give these themselves, not a function")
            iterator = iter(batches)
        empty = True
        while True:
            with _reading("the data failed while it was read"):
                batch = next(iterator, _END)
            if batch is _END:
                break
            empty = False
            yield batch
        if empty and number:
            raise CaseError("the data yielded batches only once: it must be possible to read it again from the start")
        if empty:
            raise CaseError("the data is empty: it yielded no batch")


_END = object()


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turns what the user's code raises into a CaseError of one line."""
    try:
        yield
    except CaseError:
        raise
    except Exception as error:
        raise CaseError(f"{what}: {describe(error)}") from error
