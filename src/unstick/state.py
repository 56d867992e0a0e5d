"""What is global in a process, and how it is given back as it was."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy (where it is loaded) and torch, on all devices. Call inside `preserved`."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> tuple[Any, ...]:
    """The random state of Python, NumPy and torch, to be given to `set_random_state`."""
    numpy = sys.modules.get("numpy")
    return (
        random.getstate(),
        numpy.random.get_state() if numpy else None,
        torch.get_rng_state(),
        torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None,
    )


def set_random_state(state: tuple[Any, ...]) -> None:
    python, numpy_state, cpu, cuda = state
    random.setstate(python)
    if numpy_state is not None:
        sys.modules["numpy"].random.set_state(numpy_state)
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)


@contextmanager
def drawing(state: tuple[Any, ...]) -> Iterator[None]:
    """What is drawn at random inside is what was drawn when the random state was `state`; outside it is as if nothing
    had been drawn."""
    outside = random_state()
    set_random_state(state)
    try:
        yield
    finally:
        set_random_state(outside)


@contextmanager
def preserved(threads: int | None = None) -> Iterator[None]:
    """Random state, default dtype, gradient mode and thread count are as before when this ends, however it ends.

    Inside, gradients are on. `threads`: compute on that many; results do not depend on the machine's load or on the
    number of workers then.
    """
    state, dtype, count = random_state(), torch.get_default_dtype(), torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        set_random_state(state)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(count)
