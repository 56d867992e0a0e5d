"""What only a script's loop can do wrong. The runs are real: an optimizer with a momentum of 1 adds gradients up, a
module in evaluation mode rests, a rate that shrinks with each step is a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import cases
from unstick.case import Case
from unstick.observation import Loop, Observation, Optimizer
from unstick.observe import observe
from unstick.rules import Finding, Severity, find
from unstick.rules.measures import failed

STEPS = 120
MADE = "train.py:30"  # the optimizer
LOOP = Loop(
    model="train.py:10",
    loss="train.py:40",
    backwards=1.0,
    uncleared=None,
    training=(True, True),
    resting=(),
    rates=(),
    repeated=False,
    samples=64,
    available=1797,
    attached=True,
)
kaiming = nn.init.kaiming_normal_


def relu() -> nn.Sequential:
    return cases.dense(3, nn.ReLU, kaiming)


def as_script(case: Case, steps: int = STEPS, **shown: Any) -> Observation:
    """The observed run of a case, as if a script's loop had made it."""
    seen = observe(case, steps=steps)
    assert seen.optimizer is not None
    return replace(seen, loop=replace(LOOP, **shown), optimizer=replace(seen.optimizer, source=MADE))


def case(build: Callable[[], nn.Module], optimizer: Callable[[Any], torch.optim.Optimizer] | None = None) -> Case:
    return cases.digits_case(build, "script", **({} if optimizer is None else {"optimizer": optimizer}))


def named(seen: Observation, rule: str) -> Finding | None:
    return next((f for f in find(seen) if f.rule == rule), None)


def rules(seen: Observation) -> list[tuple[str, Severity]]:
    return [(f.rule, f.severity) for f in find(seen)]


def test_a_loop_without_faults_adds_nothing() -> None:
    assert find(as_script(case(relu))) == ()


# -- gradients that are never cleared ----------------------------------------------------------------------------------


def summing(rate: float) -> Case:
    """`momentum=1` makes each step from the sum of all gradients, as a loop without zero_grad() does."""
    return case(relu, lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=1.0))


def test_gradients_that_add_up_are_the_first_cause() -> None:
    found = find(as_script(summing(0.1), uncleared=1))
    assert (found[0].rule, found[0].severity) == ("gradients-not-cleared", Severity.ERROR)
    assert (found[0].source, found[0].since) == ("train.py:40", 1)
    assert "learning-rate-too-high" not in [f.rule for f in found]
    assert {f.cause for f in found[1:]} == {"gradients-not-cleared"}


def test_without_that_the_rate_is_to_blame() -> None:
    assert rules(as_script(summing(0.5)))[0] == ("learning-rate-too-high", Severity.ERROR)


def test_a_few_steps_that_ruin_everything_are_enough() -> None:
    assert rules(as_script(summing(1.0), steps=5, uncleared=1)) == [("gradients-not-cleared", Severity.ERROR)]


def test_gradients_that_add_up_in_a_network_that_learns() -> None:
    assert rules(as_script(summing(1e-3), uncleared=1)) == [("gradients-not-cleared", Severity.WARNING)]


# -- evaluation mode ---------------------------------------------------------------------------------------------------

ASLEEP = {"training": (False, False), "resting": (("1", "BatchNorm1d", "train.py:5"),)}


def resting(model: nn.Sequential, batches: int = 0) -> nn.Sequential:
    """Its layers in evaluation mode, after some batches in training mode."""
    with torch.no_grad():
        for _ in range(batches):
            model(cases.digits()[0])
    for layer in model:
        layer.eval()
    return model


def sigmoid(batches: int = 0) -> Case:
    return case(lambda: resting(cases.dense(15, nn.Sigmoid, norm=nn.BatchNorm1d), batches))


def test_normalisation_that_rests_is_the_cause_of_what_it_would_prevent() -> None:
    seen = as_script(sigmoid(), **ASLEEP)
    found = {f.rule: f for f in find(seen)}
    assert next(iter(found)) == "eval-mode"
    assert found["eval-mode"].severity is Severity.ERROR
    assert found["eval-mode"].module == "1"
    assert "cases.py" in (found["eval-mode"].source or "")
    assert found["eval-mode"].evidence["operations"] == 15
    assert found["eval-mode"].evidence["deviation"] < 1e-5
    assert {found[rule].cause for rule in ("vanishing-gradient", "not-learning")} == {"eval-mode"}
    assert "model.train()" in found["eval-mode"].summary


def test_weights_that_normalisation_would_have_balanced() -> None:
    build = lambda: resting(cases.dense(20, nn.ReLU, norm=nn.BatchNorm1d))  # noqa: E731
    found = find(as_script(case(build, cases.sgd(0.1)), **ASLEEP))
    assert [(f.rule, f.cause) for f in found[:2]] == [("eval-mode", None), ("weights-too-small", "eval-mode")]


def test_parts_that_rest_in_a_model_that_does_not() -> None:
    finding = named(as_script(sigmoid(), resting=ASLEEP["resting"]), "eval-mode")
    assert finding is not None
    assert finding.severity is Severity.ERROR
    assert "model.train()" not in finding.summary


def test_in_training_mode_the_same_network_learns() -> None:
    assert find(as_script(case(lambda: cases.dense(15, nn.Sigmoid, norm=nn.BatchNorm1d)))) == ()


def test_averages_that_fit_are_frozen_on_purpose() -> None:
    """As in a pretrained network. In evaluation mode as a whole it is a note, and else nothing."""
    seen = as_script(sigmoid(batches=100), resting=ASLEEP["resting"])
    assert named(seen, "eval-mode") is None
    finding = named(replace(seen, loop=replace(LOOP, **ASLEEP)), "eval-mode")
    assert finding is not None
    assert (finding.severity, finding.source) == (Severity.INFO, "train.py:5")


def test_normalisation_that_rests_and_is_not_needed() -> None:
    """A note where the network learns; where it fails for its rate, that comes first."""
    build = lambda: resting(cases.dense(3, nn.ReLU, kaiming, norm=nn.BatchNorm1d))  # noqa: E731
    assert rules(as_script(case(build), **ASLEEP)) == [("eval-mode", Severity.INFO)]
    slow = as_script(case(build, cases.sgd(1e-7)), **ASLEEP)
    assert rules(slow)[0] == ("learning-rate-too-low", Severity.ERROR)
    assert ("eval-mode", Severity.WARNING) in rules(slow)


def test_dropout_that_rests_is_a_note() -> None:
    build = lambda: resting(nn.Sequential(*relu(), nn.Dropout(0.5)))  # noqa: E731
    for optimizer in (cases.adam(1e-3), cases.sgd(1e-7)):
        shown = {"training": (False,), "resting": (("7", "Dropout", None),)}
        finding = named(as_script(case(build, optimizer), **shown), "eval-mode")
        assert finding is not None
        assert (finding.severity, finding.module) == (Severity.INFO, "7")


def test_a_validation_that_leaves_the_model_in_evaluation_mode() -> None:
    """After the first epoch: a note from the first step that was looked at since. A model that comes back is awake."""
    build = lambda: resting(nn.Sequential(*relu(), nn.Dropout(0.5)))  # noqa: E731
    shown = {"training": (True,) * 4 + (False,) * 3, "resting": (("7", "Dropout", None),)}
    seen = as_script(case(build), **shown)
    finding = named(seen, "eval-mode")
    assert finding is not None
    assert (finding.severity, finding.since) == (Severity.INFO, seen.traces[4].step)
    assert f"At step {finding.since} and later" in finding.summary
    assert "after each validation" in finding.summary
    assert seen.loop is not None
    for training in ((False,) * 6 + (True,), (True,) * 7):
        assert named(replace(seen, loop=replace(seen.loop, training=training)), "eval-mode") is None
    assert named(replace(seen, loop=replace(seen.loop, resting=())), "eval-mode") is None


# -- schedules ---------------------------------------------------------------------------------------------------------

Schedule = Callable[[int], float]


def scheduled(schedule: Schedule, rate: float, build: Callable[[], nn.Module] = relu) -> Observation:
    """SGD with the rate of each step times what the schedule says of it."""

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        made = torch.optim.SGD(parameters, lr=rate)
        steps = torch.optim.lr_scheduler.LambdaLR(made, schedule)
        made.register_step_post_hook(lambda *_: steps.step())
        return made

    return as_script(case(build, optimizer), rates=tuple(rate * schedule(i) for i in range(STEPS)))


def by_the_batch(step: int) -> float:
    """A decay of 0.8, which may have been meant for epochs."""
    return 0.8**step


def test_a_rate_that_decays_to_nothing_is_named_first() -> None:
    seen = scheduled(by_the_batch, 0.01)
    finding = find(seen)[0]
    assert failed(seen)
    assert (finding.rule, finding.severity) == ("learning-rate-decayed", Severity.ERROR)
    assert finding.source == MADE
    assert finding.since == 8  # 0.8^8 / (1 - 0.8) = 0.84
    assert named(seen, "learning-rate-too-low") is None


def test_it_is_not_called_too_low_where_nothing_moved() -> None:
    """The same at so low a rate that either name would do."""
    seen = scheduled(by_the_batch, 1e-7)
    assert [f.rule for f in find(seen)][:2] == ["learning-rate-decayed", "not-learning"]


def test_a_decay_in_a_network_that_learns() -> None:
    seen = scheduled(by_the_batch, 0.1)
    assert seen.learning.learns
    assert find(seen) == ()


def cosine(step: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / STEPS))


def linear(step: int) -> float:
    return 1 - step / STEPS


def warm(step: int) -> float:
    """From zero, for all of the run."""
    return step / STEPS


def cycle(step: int) -> float:
    """Up, and down to zero."""
    return min(step, STEPS - step) / (STEPS / 2)


def restarts(step: int) -> float:
    return math.exp(-(step % 20))


@pytest.mark.parametrize("schedule", [cosine, linear, warm, cycle, restarts, lambda _: 1.0])
def test_usual_schedules_in_a_network_that_fails(schedule: Schedule) -> None:
    seen = scheduled(schedule, 1e-7)
    assert failed(seen)
    assert named(seen, "learning-rate-decayed") is None
    finding = named(seen, "learning-rate-too-low")
    assert finding is not None
    assert finding.source == MADE


def test_a_rate_that_was_too_high_for_a_moment_leaves_enough() -> None:
    """Summed up, the rest is less than the first step; and yet it moves the weights."""
    seen = scheduled(lambda step: 1.0 if step == 0 else 1e-5, 1e3, lambda: cases.dense(6, nn.Tanh))
    assert failed(seen)
    assert sum(seen.loop.rates[1:]) < seen.loop.rates[0]  # type: ignore[union-attr]
    assert named(seen, "learning-rate-decayed") is None


# -- the same batch ----------------------------------------------------------------------------------------------------


def one_batch(**shown: Any) -> Observation:
    x, y = (t[:64] for t in cases.digits())
    return as_script(replace(case(relu), data=[(x, y)]), repeated=True, **shown)


def test_one_batch_of_many_is_warned_of() -> None:
    seen = one_batch()
    assert rules(seen) == [("same-batch", Severity.WARNING)]
    finding = find(seen)[0]
    assert finding.source == "train.py:40"
    assert "64 of 1797 samples" in finding.summary


@pytest.mark.parametrize("available", [64, None])
def test_all_there_is_in_one_batch(available: int | None) -> None:
    assert find(one_batch(available=available)) == ()


def test_one_look_shows_no_repetition() -> None:
    seen = one_batch()
    assert named(replace(seen, traces=seen.traces[:1]), "same-batch") is None


# -- a loss of nothing -------------------------------------------------------------------------------------------------


def test_a_loss_that_depends_on_no_parameter_is_certain_at_once() -> None:
    seen = observe(case(relu), steps=1)
    none = replace(
        seen.traces[0], parameters=tuple(replace(p, gradient=None, step=0.0) for p in seen.traces[0].parameters)
    )
    for learns in (False, None):
        loose = replace(
            seen, traces=(none,), learning=replace(seen.learning, learns=learns), loop=replace(LOOP, attached=False)
        )
        (finding,) = find(loose)
        assert (finding.rule, finding.severity, finding.source) == ("no-gradient", Severity.ERROR, "train.py:40")
        assert "requires_grad_()" in finding.summary


def test_a_loss_of_frozen_parameters_says_so() -> None:
    seen = observe(case(relu), steps=1)
    frozen = replace(
        seen.traces[0], parameters=tuple(replace(p, trainable=False, gradient=None) for p in seen.traces[0].parameters)
    )
    finding = find(replace(seen, traces=(frozen,), loop=replace(LOOP, attached=False)))[0]
    assert finding.rule == "no-gradient"
    assert "all of them are frozen" in finding.summary


# -- the optimizer's line ----------------------------------------------------------------------------------------------


def decayed(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=30.0)


def head_only(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(list(parameters)[-2:])


@pytest.mark.parametrize(
    ("build", "optimizer", "rule"),
    [
        (relu, cases.adam(1.0), "learning-rate-too-high"),
        (relu, cases.sgd(1e-7), "learning-rate-too-low"),
        (lambda: cases.dense(15, nn.Sigmoid), cases.adam(1e-3), "below-epsilon"),
        (relu, decayed, "over-regularised"),
        (lambda: cases.dense(6, nn.Sigmoid), head_only, "not-in-optimizer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_findings_about_the_optimizer_point_at_its_line(
    build: Callable[[], nn.Module], optimizer: Callable[[Any], torch.optim.Optimizer], rule: str
) -> None:
    seen = as_script(case(build, optimizer))
    finding = named(seen, rule)
    assert finding is not None
    assert finding.source == MADE
    assert isinstance(seen.optimizer, Optimizer)
    without = named(replace(seen, optimizer=replace(seen.optimizer, source=None), loop=None), rule)
    assert without is not None
    assert without.source != MADE


# -- a run that cannot tell --------------------------------------------------------------------------------------------


def untold(case: Case, steps: int = STEPS) -> Observation:
    """What was seen of a network of whose learning its loss says nothing."""
    seen = as_script(case, steps)
    return replace(seen, learning=replace(seen.learning, learns=None))


@pytest.mark.parametrize(
    "build",
    [
        cases.sigmoid_default, cases.relu_default, cases.tanh_large, cases.rate_too_high, cases.rate_too_low,
        cases.unscaled_inputs, cases.dead_units,
    ],
)  # fmt: skip
def test_what_needs_a_network_that_fails_is_not_said(build: cases.Builder) -> None:
    seen = untold(build())
    assert not failed(seen)
    certain = {"below-epsilon"}  # no step that the optimizer takes moves any weight
    assert {f.rule for f in find(seen) if f.severity is Severity.ERROR} <= certain


def test_what_is_certain_is_said_all_the_same() -> None:
    def frozen_head() -> nn.Module:
        model = relu()
        model[-1].requires_grad_(False)
        return model

    assert rules(untold(case(frozen_head, head_only)))[0] == ("not-in-optimizer", Severity.ERROR)
    assert ("non-finite", Severity.ERROR) in rules(untold(cases.diverging()))
    summed = untold(summing(0.1))
    assert rules(replace(summed, loop=replace(LOOP, uncleared=1))) == [("gradients-not-cleared", Severity.WARNING)]
