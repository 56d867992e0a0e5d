"""What was recorded of a step, computed again by hand on a copy of the model, is the step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from script import loops
from script.loops import CLASSES, FEATURES, LOOPS, fit, mlp, run
from unstick.script.extract import Cut, Recorded
from unstick.script.strand import Strand
from unstick.script.tape import Leaf, Made, Own
from unstick.script.twin import drawing
from unstick.script.watch import Watcher

UNSOUND = {
    "functional": "gradients",  # the module runs with weights that are none of its own
    "own_hooks": "gave",  # a function that is a hook changes what comes out
}
UNRECORDED = {"gives_nothing", "script_module"}
"""A module that hands nothing on, and one that nobody can look into."""
NOT_WATCHED = {"no_module"}
AFTER_ANOTHER = {"gan", "gan_again", "gan_of_one_graph"}
"""The generator's first step comes after the discriminator's, so that its weights are not the first ones any more."""
OTHER_GRADIENTS = {"accumulation", "several_backwards", "clipped", "mixed_precision_clipped"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def watched(loop: loops.Loop, steps: int = 3) -> list[Strand]:
    watcher = Watcher(steps=steps, keep_going=True)
    with watcher.watching():
        run(loop)
    return watcher.strands


def first(loop: loops.Loop) -> tuple[Strand, Recorded]:
    strand = watched(loop)[0]
    return strand, strand.tapes[0]


@pytest.mark.parametrize("name", sorted(set(LOOPS) - set(UNSOUND) - UNRECORDED - NOT_WATCHED - AFTER_ANOTHER))
def test_the_first_step_can_be_computed_again(name: str) -> None:
    """Its loss, and where one optimizer's gradients are those of one backward pass, these."""
    for strand in watched(LOOPS[name]):
        assert strand.twin.sound, strand.twin.fault
        recorded = next(r for r in strand.tapes if r.step == 0)
        model = copy.deepcopy(strand.twin.initial)
        assert model is not None
        with drawing(recorded.draws):
            loss = recorded.program.loss_of(model, recorded.leaves)
        assert loss.item() == pytest.approx(recorded.loss, rel=1e-6)
        loss.backward()
        copied = {n: p.grad.norm().item() for n, p in model.named_parameters() if p.grad is not None}
        seen = {p.name: p.gradient for p in strand.traces[0].parameters if p.gradient is not None}
        if name not in OTHER_GRADIENTS:
            assert {n: copied.get(n) for n in seen} == {n: pytest.approx(g, rel=1e-3) for n, g in seen.items()}


@pytest.mark.parametrize("name", sorted(AFTER_ANOTHER))
def test_losses_of_two_that_take_turns(name: str) -> None:
    generator, critic = watched(LOOPS[name])
    assert generator.twin.sound
    recorded, model = critic.tapes[0], copy.deepcopy(critic.twin.initial)
    assert model is not None
    assert recorded.program.loss_of(model, recorded.leaves).item() == pytest.approx(recorded.loss, rel=1e-6)
    assert {step.call for step in generator.tapes[0].program.steps if step.of_model} == {"sequential", "sequential_2"}


@pytest.mark.parametrize("name", UNSOUND)
def test_what_cannot_be_computed_again_says_why(name: str) -> None:
    (strand,) = watched(LOOPS[name])
    assert strand.twin.sound is False
    assert UNSOUND[name] in (strand.twin.fault or "")


@pytest.mark.parametrize("name", sorted(UNRECORDED))
def test_what_was_not_recorded_is_not_there(name: str) -> None:
    (strand,) = watched(LOOPS[name])
    assert strand.twin.sound is None
    assert not strand.tapes


def test_what_leads_not_to_the_loss_is_left_out() -> None:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        out = m(x)
        (out.argmax(1) == y).float().mean()  # an accuracy
        out.norm().item()
        return F.cross_entropy(out, y)

    _, recorded = first(lambda: fit(mlp(nn.Tanh()), loss))
    assert [step.call for step in recorded.program.steps] == ["", F.cross_entropy]
    assert recorded.program.steps[1].sources == (Made(0, 0), Leaf(1))
    assert [tuple(leaf.shape) for leaf in recorded.leaves] == [(8, FEATURES), (8,)]


def test_parameters_that_the_script_reads_itself() -> None:
    _, recorded = first(loops.weight_penalty)
    own = {s.name for step in recorded.program.steps for s in step.sources if isinstance(s, Own)}
    assert own == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_leaves_are_as_they_were() -> None:
    """Although the loop writes into them afterwards."""
    strand, _ = first(loops.mutated_by_the_loop)
    inputs = [recorded.leaves[0] for recorded in strand.tapes]
    assert all(bool(x.any()) for x in inputs)
    assert not torch.equal(inputs[0], inputs[1])


def test_leaves_of_which_gradients_are_taken() -> None:
    _, recorded = first(loops.gradient_penalty)
    assert recorded.program.differentiates
    assert [leaf.requires_grad for leaf in recorded.leaves] == [True, False]
    strand, recorded = first(loops.gradient_penalty)
    with torch.no_grad():
        assert strand.twin.initial is not None
        assert recorded.program.loss_of(strand.twin.initial, recorded.leaves).item() == pytest.approx(recorded.loss)


def test_mixed_precision_is_computed_in_it() -> None:
    _, recorded = first(loops.mixed_precision)
    assert {step.casting for step in recorded.program.steps} == {("cpu", torch.bfloat16)}
    _, outside = first(loops.mixed_precision_clipped)
    assert [step.casting for step in outside.program.steps] == [("cpu", torch.bfloat16), None, None]


def test_what_is_written_into_a_part() -> None:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        out = m(x) * 1.0
        out[:, 0] = 0.5
        out[x[:, 0] > 0] = 0.0
        return F.cross_entropy(out, y)

    strand, recorded = first(lambda: fit(mlp(nn.Tanh()), loss))
    assert strand.twin.sound
    assert len(recorded.program.steps) == 5


def test_writing_through_a_view_is_no_silent_mistake() -> None:
    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        out = m(x) * 1.0
        out[:, :1].mul_(5.0)
        return F.cross_entropy(out, y)

    strand, _ = first(lambda: fit(mlp(nn.Tanh()), loss))
    assert strand.twin.sound is False
    assert "not" in (strand.twin.fault or "")


def test_draws_that_come_between_are_no_silent_mistake() -> None:
    """The script draws noise between two passes with dropout."""

    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        out = m(x)
        return F.cross_entropy(out + m(x + torch.randn_like(x)), y)

    strand, _ = first(lambda: fit(mlp(nn.Dropout(0.5)), loss))
    assert strand.twin.sound is False
    assert "gave" in (strand.twin.fault or "")


def test_a_first_step_that_was_not_recorded() -> None:
    """The second is computed again with the weights that it had."""

    def loop() -> loops.Trained:
        model, calls = mlp(nn.Tanh()), []

        def loss(m: Any, x: Tensor, y: Tensor) -> Tensor:
            calls.append(x)
            if len(calls) == 1:  # by the functions' names below torch's own
                return F.cross_entropy(m(x), y).detach() + torch.ops.aten.mse_loss(m(x), x[:, :CLASSES])
            return F.cross_entropy(m(x), y)

        return fit(model, loss)

    (strand,) = watched(loop)
    assert strand.twin.sound


Operation = st.sampled_from(["relu", "in place", "add", "cat", "double", "split", "scale", "noise", "keyword"])


@settings(max_examples=12)
@given(st.lists(Operation, max_size=5), st.booleans(), st.integers(0, 3))
def test_any_sequence_of_calls(operations: list[str], mean_first: bool, seed: int) -> None:
    """Of what a script may do between the model and the loss."""

    def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        h = m(x)
        for operation in operations:
            if operation == "relu":
                h = torch.relu(h)
            elif operation == "in place":
                h = h * 1.5
                h += 0.25
            elif operation == "add":
                h = h + x[:, :1]
            elif operation == "cat":
                h = torch.cat([h, m(x)], 1)
            elif operation == "double":
                h = h.double().float()
            elif operation == "split":
                one, *_ = h.chunk(2, 1)
                h = h + one.sum(1, keepdim=True)
            elif operation == "scale":
                h = h / h.detach().norm()
            elif operation == "noise":
                h = F.dropout(h, 0.3)
            else:
                h = torch.where(condition=h > 0, input=h, other=torch.zeros_like(h))
        return F.cross_entropy(h.mean(0, keepdim=True).expand_as(h) + h if mean_first else h, y)

    def loop() -> loops.Trained:
        torch.manual_seed(seed)
        return fit(mlp(nn.Tanh(), nn.Dropout(0.2)), loss, data=loops.batches(2))

    strand, recorded = first(loop)
    assert strand.twin.sound, strand.twin.fault
    with drawing(recorded.draws):
        assert strand.twin.initial is not None
        again = recorded.program.loss_of(strand.twin.initial, recorded.leaves)
    assert again.item() == pytest.approx(recorded.loss, rel=1e-5)


def test_equal_programs_have_equal_signatures() -> None:
    for loop in (loops.plain, loops.own_loss, loops.gradient_penalty, loops.transformer, loops.siamese):
        strand = watched(loop)[0]
        assert len({recorded.program.signature for recorded in strand.tapes}) == 1


def test_lengths_that_are_given_as_numbers_are_no_constants() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, x: Tensor, length: int, scale: float) -> Tensor:
            return self.net(x * (torch.arange(FEATURES) < length)) * scale

    def loop() -> loops.Trained:
        lengths = iter((3, 4, 3, 5, 3))
        return fit(Net(), lambda m, x, y: F.cross_entropy(m(x, next(lengths), 0.5 + y.sum().item()), y))

    strand = watched(loop)[0]
    assert strand.twin.sound
    signatures = [recorded.program.signature for recorded in strand.tapes]
    assert [signatures.index(s) for s in signatures] == [0, 1, 0, 3, 0]


def test_the_cut() -> None:
    _, recorded = first(loops.plain)
    assert Cut.of(recorded.program, recorded.leaves) == Cut(1, (Made(0, 0),), 1, (0,))
