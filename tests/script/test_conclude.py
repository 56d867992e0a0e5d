"""A script's run, concluded, against the same network given as a case."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from script import loops
from script.loops import Trained, entropy, fit, mlp, run
from script.test_watch import in_objects, line_of, without_gradients
from unstick.observation import Observation
from unstick.observe import observe
from unstick.rules import find
from unstick.script.conclude import by_losses, conclude
from unstick.script.watch import Watcher

STEPS = 60


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def concluded(loop: loops.Loop, steps: int | None = STEPS, experiments: float = 0.0) -> list[Observation]:
    watcher = Watcher(steps=steps, keep_going=True)
    with watcher.watching():
        run(loop)
    strands = [strand for strand in watcher.strands if strand.traces]
    seen = []
    for strand in strands:
        strand.settle()
        rival = any(strand.rivals(other) for other in strands if other is not strand)
        deadline = time.perf_counter() + experiments if experiments else None
        seen.append(conclude(strand, "script", rival=rival, deadline=deadline))
    return seen


def digits(build: Callable[[], nn.Module], make: Any, steps: int = STEPS + 16) -> loops.Loop:
    """The loop that the case of this network amounts to."""

    def loop() -> Trained:
        model = build()  # from the same random state as the case's
        x, y = cases.digits()
        data = [(x[i], y[i]) for i in (torch.randint(len(x), (64,)) for _ in range(steps))]
        return fit(model, optimizer=make(model.parameters()), data=data)

    return loop


@pytest.mark.parametrize(
    ("build", "make"),
    [
        (lambda: cases.dense(3, nn.ReLU, nn.init.kaiming_normal_), cases.adam(1e-3)),
        (lambda: cases.dense(20, nn.Sigmoid), cases.adam(1e-3)),
        (lambda: cases.dense(3, nn.ReLU), cases.sgd(1e-7)),
        (lambda: cases.dense(3, nn.Sigmoid, norm=nn.BatchNorm1d), cases.sgd(0.1)),
        (lambda: nn.Sequential(cases.dense(2, nn.ReLU), nn.Dropout(0.2), nn.Softmax(1)), cases.adam(1e-3)),
    ],
    ids=["learns", "vanishes", "too slow", "batch norm", "softmax"],
)
def test_learning_is_that_of_the_case(build: Callable[[], nn.Module], make: Any) -> None:
    (script,) = concluded(digits(build, make))
    case = observe(cases.digits_case(build, "case", optimizer=make), steps=STEPS)
    ours, theirs = script.learning, case.learning
    assert not script.uncovered
    assert (ours.learns, ours.uses_input) == (theirs.learns, theirs.uses_input)
    assert ours.steps == theirs.steps == STEPS
    assert ours.constant_loss == pytest.approx(theirs.constant_loss, rel=0.02)
    assert ours.initial_loss == pytest.approx(theirs.initial_loss, rel=0.3)
    assert ours.final_loss == pytest.approx(theirs.final_loss, rel=0.25)
    assert script.ends is not None
    assert case.ends is not None
    assert script.ends.activation == case.ends.activation
    assert [t.step for t in script.traces] == [t.step for t in case.traces]
    assert {f.rule for f in find(script)} == {f.rule for f in find(case)}


def test_concluding_changes_nothing() -> None:
    watcher = Watcher(steps=4, keep_going=True)
    with watcher.watching():
        trained = run(loops.dropout)
    before = trained.fingerprint()
    (strand,) = watcher.strands
    strand.settle()
    one, other = conclude(strand, "script"), conclude(strand, "script")
    assert trained.fingerprint() == before
    assert one == other


@pytest.mark.parametrize(
    ("loop", "why"),
    [
        (loops.gives_nothing, "did not come of calls"),
        (loops.functional, "gradients"),
        (in_objects, "no two of its steps"),
    ],
)
def test_what_cannot_be_computed_again_is_told_from_its_losses_and_said(loop: loops.Loop, why: str) -> None:
    (seen,) = concluded(loop, 3)
    assert any(why in note and "losses alone" in note for note in seen.uncovered)
    assert seen.learning.constant_loss is None


@pytest.mark.parametrize("loop", [
    loops.gradient_penalty, loops.own_loss, loops.weight_penalty, loops.siamese, loops.attention, loops.lbfgs,
    loops.mixed_precision, loops.complex_numbers, loops.accumulation, loops.embedding, loops.checkpointing,
])  # fmt: skip
def test_other_loops_are_computed_again(loop: loops.Loop) -> None:
    (seen,) = concluded(loop, 3)
    assert not [note for note in seen.uncovered if "losses alone" in note]
    assert math.isfinite(seen.learning.initial_loss)
    assert math.isfinite(seen.learning.final_loss)


def bell_curve() -> Trained:
    """A healthy pair, which learns the mean of a bell curve."""

    def net(inputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(inputs, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)
        )

    generator, critic = net(4), net(1)
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.99))
    d_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99))
    ones, zeros, logits = torch.ones(64, 1), torch.zeros(64, 1), F.binary_cross_entropy_with_logits
    for _ in range(120):
        fake = generator(torch.randn(64, 4))
        d_optimizer.zero_grad()
        (logits(critic(3 + 0.5 * torch.randn(64, 1)), ones) + logits(critic(fake.detach()), zeros)).backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        logits(critic(fake), ones).backward()
        g_optimizer.step()
    return Trained([generator, critic], [g_optimizer, d_optimizer], [])


def test_two_that_are_trained_against_each_other() -> None:
    """It cannot be told whether they learn, so nothing is tried on copies, and nothing is wrong."""
    seen = concluded(bell_curve, 100, experiments=30.0)
    assert len(seen) == 2
    for each in seen:
        assert each.learning.learns is None
        assert each.experiments == ()
        assert find(each) == ()
        (note,) = each.uncovered
        assert "against each other" in note


def test_experiments_are_made_with_any_optimizer_of_the_scripts() -> None:
    """AdamW keeps a default that its own constructor does not take."""
    build = lambda: cases.dense(20, nn.Sigmoid)  # noqa: E731
    loop = digits(build, lambda p: torch.optim.AdamW(p, lr=1e-3), 116)
    (seen,) = concluded(loop, 100, experiments=3.0)
    assert seen.learning.learns is False
    assert seen.experiments
    assert not [note for note in seen.uncovered if "AdamW" in note]


def test_nan_after_the_last_step_is_no_divergence() -> None:
    def loop() -> Trained:
        def loss(m: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            loss.calls += 1  # type: ignore[attr-defined]
            return entropy(m, x, y) * (math.nan if loss.calls == 5 else 1.0)  # type: ignore[attr-defined]

        loss.calls = 0  # type: ignore[attr-defined]
        return fit(mlp(nn.Tanh()), loss)

    (short,), (long) = concluded(loop, 3), concluded(loop, 5)
    assert short.diverged is None
    assert long[0].diverged == 4


def test_by_losses() -> None:
    falling = by_losses([1.0 - 0.01 * i for i in range(60)])
    assert falling.learns is True
    assert by_losses([1.0, 1.1] * 30).learns is False
    assert by_losses([1.0, math.nan, math.nan, math.nan]).learns is False
    assert by_losses([1.0]).learns is False


def test_findings_point_at_the_line_of_a_cut() -> None:
    (seen,) = concluded(without_gradients, 5)
    finding = next(f for f in find(seen) if f.rule == "no-gradient")
    assert (finding.source or "").endswith(f"test_watch.py:{line_of(without_gradients, 'body(x)')}")


def one_detach_too_many() -> Trained:
    generator, critic = mlp(nn.Tanh(), out=1), mlp(nn.Tanh(), features=1, out=1)
    g_optimizer, d_optimizer = torch.optim.Adam(generator.parameters()), torch.optim.Adam(critic.parameters())
    logits = F.binary_cross_entropy_with_logits
    for x, _ in loops.batches():
        fake = generator(x).detach()
        d_optimizer.zero_grad()
        (logits(critic(x[:, :1]), torch.ones(len(x), 1)) + logits(critic(fake), torch.zeros(len(x), 1))).backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        logits(critic(fake), torch.ones(len(x), 1)).backward()
        g_optimizer.step()
    return Trained([generator, critic], [g_optimizer, d_optimizer], [])


def test_a_loss_that_was_cut_off_from_its_network() -> None:
    seen = concluded(one_detach_too_many, 5)
    generator = next(each for each in seen if each.loop is not None and not each.loop.attached)
    finding = next(f for f in find(generator) if f.rule == "no-gradient")
    line = line_of(one_detach_too_many, ".detach()")
    assert (finding.source or "").endswith(f"test_conclude.py:{line}")
