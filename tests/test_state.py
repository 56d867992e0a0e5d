from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from unstick.state import preserved, random_state, seed_everything, set_random_state


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), torch.rand(()).item()]


def test_a_seed_decides_what_is_drawn() -> None:
    with preserved():
        seed_everything(5)
        first = draw()
        state = random_state()
        second = draw()
        seed_everything(5)
        assert draw() == first
        set_random_state(state)
        assert draw() == second
        assert first != second


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_everything_global_is_as_before(error: Any) -> None:
    state = random_state()
    expected = draw()
    set_random_state(state)
    threads = torch.get_num_threads()
    raised: type[BaseException] | None = None
    try:
        with torch.no_grad(), preserved(threads=1):
            assert torch.is_grad_enabled()
            assert torch.get_num_threads() == 1
            draw()
            seed_everything(1)
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as caught:
        raised = type(caught)
    assert raised is error
    assert draw() == expected
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads


def test_inference_mode_is_left_and_entered_again() -> None:
    with torch.inference_mode():
        with preserved():
            assert not torch.is_inference_mode_enabled()
            assert torch.ones((), requires_grad=True).sum().requires_grad
        assert torch.is_inference_mode_enabled()
