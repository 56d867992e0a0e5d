"""Modes that come and go in the middle of somebody else's program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from script.loops import CountingBelow
from unstick.script.gates import Calls, Gate, push_below, remove, unseen, without_modes


class Named(TorchFunctionMode):
    """Notes down its name at each call."""

    def __init__(self, name: str, notes: list[str]) -> None:
        super().__init__()
        self.name, self.notes = name, notes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.notes.append(self.name)
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = _get_current_function_mode_stack()
    yield
    assert _get_current_function_mode_stack() == before


def test_what_is_pushed_below_hears_last() -> None:
    notes: list[str] = []
    below = Named("below", notes)
    with Named("one", notes), Named("two", notes):
        push_below(below)
        torch.zeros(1)
        assert notes == ["two", "one", "below"]
    notes.clear()
    torch.zeros(1)
    assert notes == ["below"]
    remove(below)


def test_the_script_may_leave_its_modes_while_ours_are_there() -> None:
    notes: list[str] = []
    ours = Named("ours", notes)
    with Named("outer", notes):
        with Named("inner", notes):
            push_below(ours)
        torch.zeros(1)
        assert notes == ["outer", "ours"]
    with Named("later", notes):
        remove(ours)
        notes.clear()
        torch.zeros(1)
        assert notes == ["later"]


def test_devices_may_be_entered_and_left_around_us() -> None:
    """A default device has to be at the bottom of the stack, one of a `with` at its top."""
    ours = Named("ours", [])
    with torch.device("cpu"):
        push_below(ours)
    with torch.device("meta"):
        assert torch.zeros(1).is_meta
    remove(ours)
    torch.set_default_device("meta")
    try:
        push_below(ours)
        assert torch.zeros(1).is_meta
    finally:
        torch.set_default_device(None)
    assert _get_current_function_mode_stack() == [ours]
    torch.set_default_device("meta")
    torch.set_default_device(None)
    assert not torch.zeros(1).is_meta
    remove(ours)


@given(st.lists(st.sampled_from(["push", "remove", "enter", "leave"]), max_size=12))
def test_any_order(actions: list[str]) -> None:
    """The script's modes keep their order, ours lie below them, and none is lost."""
    notes: list[str] = []
    ours: list[Named] = []
    with ExitStack() as everything:
        theirs: list[tuple[Named, ExitStack]] = []
        for number, action in enumerate(actions):
            if action == "push":
                ours.append(Named(f"ours {number}", notes))
                push_below(ours[-1])
            elif action == "remove" and ours:
                remove(ours.pop(0))
            elif action == "enter":
                stack = everything.enter_context(ExitStack())
                theirs.append((stack.enter_context(Named(f"theirs {number}", notes)), stack))
            elif action == "leave" and theirs:
                theirs.pop()[1].close()
            stack_now = _get_current_function_mode_stack()
            assert stack_now == [*reversed(ours), *(mode for mode, _ in theirs)]
    for mode in ours:
        remove(mode)
    assert _get_current_function_mode_stack() == []


def test_without_modes() -> None:
    notes: list[str] = []
    counting = CountingBelow()
    with Named("theirs", notes), counting:
        before = _get_current_function_mode_stack()
        with without_modes():
            torch.zeros(1) + 1
        assert (notes, counting.seen) == ([], 0)
        with pytest.raises(KeyError), without_modes():
            raise KeyError
        assert _get_current_function_mode_stack() == before
        torch.zeros(1)
        assert notes
        assert counting.seen
    with torch.device("meta"), without_modes():
        assert torch.zeros(1).is_meta


def test_unseen_by_hooks_of_all_modules() -> None:
    seen = []
    handle = hooks.register_module_forward_hook(lambda *_: seen.append(1))
    try:
        with unseen():
            nn.Identity()(torch.zeros(1))
        assert not seen
        nn.Identity()(torch.zeros(1))
        assert seen
    finally:
        handle.remove()


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_a_pass_that_begins_without_gradients_is_of_no_interest(without: Any) -> None:
    calls, seen = Calls(), []

    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            with torch.enable_grad():
                seen.append(calls.of_interest)
            return nn.Identity()(x)

    with ExitStack() as stack:
        calls.listen(stack)
        with without():
            Model()(torch.zeros(1))
            assert not calls.of_interest
        Model()(torch.zeros(1))
        assert calls.of_interest
        with pytest.raises(TypeError):
            nn.Linear(1, 1)(None)
        assert calls.depth == 0
    assert seen == [False, True]


def test_parts_without_gradients_of_a_pass_with_them_are_of_interest() -> None:
    """A model may freeze a part of itself that way."""
    calls, seen = Calls(), []

    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                seen.append(calls.of_interest)
            return x

    with ExitStack() as stack:
        calls.listen(stack)
        Model()(torch.zeros(1))
        with torch.no_grad():
            assert not calls.of_interest
    assert seen == [True]


def test_draws_are_those_before_the_first_pass() -> None:
    calls = Calls()
    with ExitStack() as stack:
        calls.listen(stack)
        before = torch.get_rng_state()
        nn.Dropout()(torch.ones(3))
        nn.Dropout()(torch.ones(3))
    assert calls.draws is not None
    assert torch.equal(calls.draws[2], before)


def test_a_gate_is_shut_or_open() -> None:
    notes: list[str] = []
    calls = Calls()
    gate = Gate(Named("listener", notes), calls)
    with gate:
        gate.open = False
        torch.zeros(1)
        assert not notes
        gate.open = True
        torch.zeros(1)
        assert notes == ["listener"]
        calls.asleep = True
        torch.zeros(1)
        assert notes == ["listener"]
