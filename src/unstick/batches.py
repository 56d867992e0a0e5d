"""Where batches come from, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .errors import CaseError
from .state import random_state, seed_everything, set_random_state

TARGET_KEYS = ("labels", "label", "targets", "target", "y")


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """`value` with each tensor in its tuples, lists and dicts replaced; other things stay as they are."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(v, function) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(v, function) for v in value)
    if isinstance(value, Mapping):
        mapped = {key: map_tensors(v, function) for key, v in value.items()}
        return mapped if type(value) is dict else type(value)(mapped)  # type: ignore[call-arg]
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
        raise CaseError("a batch must be (inputs, target) or a dict with a target; for anything else give step=")
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
        return None if key is None else {**batch, key: function(batch[key])}
    if isinstance(batch, tuple | list) and len(batch) >= 2 and isinstance(batch[-1], Tensor) and batch[-1].dim():
        return (*batch[:-1], function(batch[-1]))
    return None


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
        raise CaseError("data is an iterator, which can be read only once: give a function that returns it")
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
    parts = tensors(inputs)
    for part, name in [(p, "X") for p in parts] + [(target, "y")]:
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
    """Batches without end, copied to `device`; their order depends on `seed` alone. Raises CaseError."""

    def ours(t: Tensor) -> Tensor:
        return t.detach().to(device or t.device, copy=True)

    source = _drawn(data, batch_size, seed) if is_pair(data) else _own_randomness(data, seed)
    return (map_tensors(batch, ours) for batch in source)


def _drawn(data: Any, batch_size: int, seed: int) -> Iterator[Any]:
    """Batches of (X, y), each sample once before any comes again; the rest of an epoch that fills no batch is left."""
    inputs, target = data
    generator = torch.Generator().manual_seed(seed)
    count = len(target)
    size = min(batch_size, count)
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - size + 1, size):
            chosen = order[start : start + size]
            yield map_tensors(inputs, lambda t, i=chosen: t[i.to(t.device)]), target[chosen.to(target.device)]


def _own_randomness(data: Any, seed: int) -> Iterator[Any]:
    """Passes over a loader, a list, or what a function returns, one after another, under a random state of its own.

    What the training draws in between (dropout, say) must not change which batches come, or two trials of one seed
    would not see the same ones. A loader's own generator is given back as it was.
    """
    outside = random_state()
    generator = getattr(data, "generator", None) if isinstance(data, DataLoader) else None
    before = generator.get_state() if isinstance(generator, torch.Generator) else None
    seed_everything(seed)
    if before is not None:
        generator.manual_seed(seed)  # type: ignore[union-attr]
    source = _passes(data)
    try:
        inside = random_state()
        set_random_state(outside)
        while True:
            outside = random_state()
            set_random_state(inside)
            try:
                batch = next(source)
            finally:
                inside = random_state()
                set_random_state(outside)
            yield batch
    finally:
        if before is not None:
            generator.set_state(before)  # type: ignore[union-attr]


def _passes(data: Any) -> Iterator[Any]:
    while True:
        try:
            batches = data() if callable(data) else data
            iterator = iter(batches)
        except Exception as error:
            raise CaseError(f"the data could not be read: {type(error).__name__}: {error}") from error
        empty = True
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                break
            except Exception as error:
                raise CaseError(f"the data failed while it was read: {type(error).__name__}: {error}") from error
            empty = False
            yield batch
        if empty:
            raise CaseError("the data is empty: it yielded no batch")
