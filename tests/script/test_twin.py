"""A copy that is a copy: it computes the same, and shares nothing with the script's model."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from script import loops
from script.loops import FEATURES, fit, mlp
from script.test_tape import watched
from unstick.remedies import parse
from unstick.script.twin import Twin, drawing, load, put_aside, same_modes, snapshot, without_functions
from unstick.state import random_state, set_random_state


def test_a_copy_shares_nothing() -> None:
    model = mlp(nn.BatchNorm1d(16), nn.Tanh())
    before = random_state()[2]
    twin = Twin(model)
    assert torch.equal(random_state()[2], before)
    assert twin.initial is not None
    ours = {t.data_ptr() for t in (*model.parameters(), *model.buffers())}
    assert ours.isdisjoint(t.data_ptr() for t in (*twin.initial.parameters(), *twin.initial.buffers()))
    assert {id(m) for m in model.modules()}.isdisjoint(id(m) for m in twin.initial.modules())


def test_what_cannot_be_copied_says_why() -> None:
    model = mlp()
    model.generator = (x for x in ())  # type: ignore[assignment]
    twin = Twin(model)
    assert (twin.initial, twin.sound) == (None, False)
    assert "cannot be copied" in (twin.fault or "")


def test_hooks_that_are_functions_are_left_and_objects_are_copied() -> None:
    model, seen = nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 3))), []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    model[0].register_full_backward_hook(lambda *_: seen.append(2))
    copied = Twin(model).initial
    assert copied is not None
    copied(torch.ones(1, 3)).sum().backward()
    assert not seen
    assert len(copied[0]._forward_pre_hooks) == 1  # type: ignore[index]
    assert next(iter(copied[0]._forward_pre_hooks.values())) is not next(iter(model[0]._forward_pre_hooks.values()))  # type: ignore[index]
    assert without_functions(nn.Linear(1, 1))


def test_a_remedy_is_put_into_copies_only() -> None:
    (strand,) = watched(loops.plain)
    twin = strand.twin
    before = snapshot(strand.model)
    twin.put = lambda setup: parse("relu").apply(setup, _anatomy(strand))
    setup = twin.fresh()
    assert setup.contexts
    assert setup.model is not twin.initial
    assert all(torch.equal(before[name], t) for name, t in snapshot(strand.model).items())


def _anatomy(strand: Any) -> Any:
    from unstick.setup import Anatomy

    return Anatomy(strand.traces[0], (None,))


def test_the_loss_of_a_step_with_later_weights() -> None:
    (strand,) = watched(lambda: fit(mlp(nn.Dropout(0.5)), optimizer=None))
    recorded = strand.tapes[0]
    before = random_state()[2]
    assert strand.twin.initial is not None
    load(strand.model, snapshot(strand.twin.initial))
    assert strand.twin.loss_now(recorded) == pytest.approx(recorded.loss, rel=1e-6)  # the same draws, too
    with torch.no_grad():
        for p in strand.model.parameters():
            p.mul_(0.0)
    assert strand.twin.loss_now(recorded) == pytest.approx(torch.log(torch.tensor(3.0)).item(), rel=1e-5)
    assert torch.equal(random_state()[2], before)


def test_weights_with_which_it_fails() -> None:
    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            out = self.net(x)
            if not out.isfinite().all():
                raise ValueError("not finite")
            return out

    (strand,) = watched(lambda: fit(Strict()))
    with torch.no_grad():
        next(strand.model.parameters()).fill_(float("nan"))
    assert strand.twin.loss_now(strand.tapes[0]) is None


def test_drawing_is_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(3)
    then = random_state()
    first = torch.rand(3), random.random()
    before = random_state()
    with drawing(then):
        assert torch.equal(torch.rand(3), first[0])
        assert random.random() == first[1]
        assert torch.is_grad_enabled()
    assert torch.equal(random_state()[2], before[2])
    with torch.inference_mode(), drawing(None):
        assert torch.ones(1, requires_grad=True).mul(2).requires_grad
    set_random_state(before)


def test_gradients_are_put_aside() -> None:
    model = mlp()
    model(torch.ones(1, FEATURES)).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    with pytest.raises(KeyError), put_aside(model):  # noqa: PT012
        assert all(p.grad is None for p in model.parameters())
        model(torch.ones(1, FEATURES)).sum().backward()
        raise KeyError
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))


def test_modes_and_state_of_another() -> None:
    one, other = mlp(nn.BatchNorm1d(16), nn.Dropout()), mlp(nn.BatchNorm1d(16), nn.Dropout())
    one[1].eval()
    other(torch.randn(4, FEATURES))
    load(one, snapshot(other))
    same_modes(other, one)
    assert [m.training for m in other] == [m.training for m in one]
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
