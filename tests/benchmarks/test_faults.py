"""The rebuilt programs: Keras' semantics against formulas, the catalogue, the mapping, and the counting."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from benchmarks.faults import catalogue, keras, page, score, training, truth
from benchmarks.faults.catalogue import CASES, LEFT_OUT
from benchmarks.faults.dataset import load
from benchmarks.faults.measured import MEASURED
from benchmarks.faults.program import Fault, Program
from torch import Tensor, nn

RULE_IDS = frozenset(
    """not-learning vanishing-gradient exploding-gradient saturated-activation dead-units collapsed-signal
    weights-too-small weights-too-large symmetric-weights unscaled-inputs unscaled-targets non-finite
    learning-rate-too-high learning-rate-too-low no-gradient not-in-optimizer gradients-not-cleared
    loss-input-mismatch output-range-mismatch target-shape-mismatch unlearnable-targets batchnorm-small-batch
    missing-nonlinearity unbounded-activation over-regularised gradient-underflow below-epsilon""".split()  # noqa: SIM905
)


# -- Keras' semantics --------------------------------------------------------------------------------------------------


def test_crossentropy_of_a_softmax_is_that_of_its_logits() -> None:
    z, y = torch.randn(7, 4), torch.eye(4)[torch.randint(4, (7,))]
    ours = training.categorical_crossentropy(z.softmax(-1), y)
    assert ours.item() == pytest.approx(nn.functional.cross_entropy(z, y).item(), abs=1e-5)


def test_crossentropy_divides_scores_by_their_sum_and_clips() -> None:
    y = torch.tensor([[1.0, 0.0]])
    assert training.categorical_crossentropy(torch.tensor([[0.2, 0.6]]), y).item() == pytest.approx(-math.log(0.25))
    assert training.categorical_crossentropy(torch.tensor([[0.0, 1.0]]), y).item() == pytest.approx(
        -math.log(1e-7), 1e-4
    )
    assert training.categorical_crossentropy(torch.tensor([[0.0, 0.0]]), y).isnan()


def test_binary_crossentropy_clips() -> None:
    p, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.0]])
    assert training.binary_crossentropy(p, y).item() == pytest.approx(-math.log(2e-7) / 2, rel=1e-3)


def test_softmax_over_one_unit_has_no_gradient() -> None:
    net = keras.build(keras.dense(3, "relu") + keras.dense(1, "softmax"), (2,))
    out = net(torch.randn(5, 2))
    training.binary_crossentropy(out, torch.zeros(5, 1)).backward()
    assert bool((out == 1).all())
    assert all(bool((p.grad == 0).all()) for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 500),
        ("glorot_normal", 2 / 500),
        ("he_uniform", 2 / 300),
        ("he_normal", 2 / 300),
        ("lecun_normal", 1 / 300),
        ("uniform", 0.1**2 / 12),
        ("normal", 0.05**2),
        ("normal(0.25)", 0.25**2),
    ],
)
def test_initialisers_have_their_variance(name: str, variance: float) -> None:
    torch.manual_seed(0)
    w = torch.empty(200, 300)
    keras.initialise(w, name)
    assert w.var().item() == pytest.approx(variance, rel=0.03)
    assert w.mean().item() == pytest.approx(0.0, abs=4 * math.sqrt(variance / w.numel()))


def test_fans_of_a_kernel_count_its_field() -> None:
    w = torch.empty(8, 4, 3, 3)
    keras.initialise(w, "he_uniform")
    assert w.abs().max().item() <= math.sqrt(6 / 36)


def test_layers_find_their_shapes() -> None:
    layers = keras.conv(6, 5, "relu") + keras.pool() + keras.FLATTEN + keras.dense(3, "tanh") + keras.BATCHNORM
    net = keras.build(layers, (2, 10, 10))
    assert isinstance(net[4], nn.Linear)
    assert net[4].in_features == 6 * 3 * 3
    assert isinstance(net[6], nn.BatchNorm1d)
    assert (net[6].eps, net[6].momentum, net.training) == (1e-3, 0.01, True)
    assert net[6].running_mean is not None
    assert bool((net[6].running_mean == 0).all())
    assert net(torch.randn(4, 2, 10, 10)).shape == (4, 3)


def test_lstm_starts_as_in_keras() -> None:
    net = keras.build(keras.lstm(4), (3, 6))
    module = net[0]
    assert isinstance(module, keras.LastOutput)
    assert net(torch.randn(2, 3, 6)).shape == (2, 4)
    forget = (module.lstm.bias_ih_l0 + module.lstm.bias_hh_l0)[4:8]
    assert forget.tolist() == [1.0] * 4


def test_l2_is_the_gradient_of_a_penalty() -> None:
    weight, bias = nn.Parameter(torch.tensor([[2.0]])), nn.Parameter(torch.tensor([3.0]))
    optimizer = training.sgd(1.0, l2=0.1)([weight, bias])
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    optimizer.step()
    assert weight.item() == pytest.approx(2.0 - 2 * 0.1 * 2.0)
    assert bias.item() == 3.0


def test_l2_can_leave_the_last_kernel_out() -> None:
    net = keras.build(keras.dense(2) + keras.dense(2), (2,))
    groups = training.adam(l2=0.5, l2_but_last=True)(list(net.parameters())).param_groups
    decayed = [p for g in groups if g["weight_decay"] for p in g["params"]]
    assert [p is net[0].weight for p in decayed] == [True]


def test_nesterov_steps_are_those_of_keras() -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    optimizer = training.nesterov(0.1)([w])
    velocity, expected = 0.0, 1.0
    for _ in range(3):
        w.grad = 2 * w.detach()
        velocity = 0.9 * velocity - 0.1 * 2 * expected
        expected += 0.9 * velocity - 0.1 * 2 * expected
        optimizer.step()
    assert w.item() == pytest.approx(expected)


# -- the catalogue -----------------------------------------------------------------------------------------------------


def test_each_case_is_there_once_and_says_where_it_comes_from() -> None:
    ids = [case.id for case in CASES]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(LEFT_OUT)
    assert all(":" in case.source and case.grade in "ABCD" for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_program_makes_one_step_and_has_outputs_for_its_targets(case: Fault) -> None:
    for program in filter(None, (case.program, case.fix)):
        data = load(program.data)
        torch.manual_seed(0)
        net = keras.build(program.layers, data.shape)
        out = net(data.x[:4])
        if program.loss != "whole_number_crossentropy":
            assert out.shape == data.y[:4].shape
        loss = training.LOSSES[program.loss](out, data.y[:4])
        loss.backward()
        program.optimizer(list(net.parameters())).step()
        assert data.score(out, data.y[:4]) <= 1.0


def test_equal_programs_are_in_the_same_half() -> None:
    halves: dict[str, set[str]] = {}
    for case in CASES:
        halves.setdefault(case.program.key, set()).add(case.half)
    assert all(len(found) == 1 for found in halves.values())
    assert {case.half for case in CASES} == {"tune", "held"}


def test_data_are_the_same_each_time_and_finite() -> None:
    for name in {case.program.data for case in CASES}:
        data = load(name)
        assert bool(data.x.isfinite().all() and data.y.isfinite().all())
        load.cache_clear()
        assert torch.equal(load(name).x, data.x)


def test_base_is_what_the_best_constant_answer_scores() -> None:
    for name, constant in (("blobs", 2), ("4 features", None), ("circles", None)):
        data = load(name)
        guesses = _constants(data.y) if constant is None else [torch.eye(3)[k].expand_as(data.y) for k in range(3)]
        assert max(data.score(guess, data.y) for guess in guesses) == pytest.approx(data.base, abs=1e-5)


def _constants(y: Tensor) -> list[Tensor]:
    return [y.mean(0).expand_as(y), torch.zeros_like(y), torch.ones_like(y)]


def test_only_programs_of_the_tune_half_were_looked_into() -> None:
    assert {case.half for case in CASES if case.id in MEASURED} == {"tune"}
    assert set(MEASURED) <= {case.id for case in CASES}


# -- the mapping -------------------------------------------------------------------------------------------------------


def test_every_label_has_a_meaning_in_rules_that_exist_in_the_design() -> None:
    assert {label for case in CASES for label in case.labels} <= set(truth.TRUTHS)
    for meaning in truth.TRUTHS.values():
        assert meaning.first | meaning.related <= RULE_IDS
        assert not meaning.first & meaning.related
        assert meaning.reason


# -- counting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 10, 0.0, 0.2775), (8, 10, 0.4902, 0.9433), (3, 3, 0.4385, 1)]
)
def test_wilson(hits: int, of: int, low: float, high: float) -> None:
    assert score.wilson(hits, of) == pytest.approx((low, high), abs=1e-4)


def _finding(rule: str, severity: str = "error") -> dict[str, Any]:
    return {"rule": rule, "severity": severity, "summary": f"{rule} | said", "remedies": [], "evidence": {}}


def _run(*rules: str, fails: bool = True, severity: str = "error") -> dict[str, Any]:
    ending = {"diverged": None, "uses_input": False, "constant": 0.5, "steps": 300, "final": 0.6}
    return {"seed": 0, "fails": fails, "findings": [_finding(rule, severity) for rule in rules], **ending}


@pytest.fixture
def sick() -> Fault:
    layers = keras.dense(2, "sigmoid")
    program = Program("xor", layers, "mse", training.adam(), 4)
    return Fault("X", "family", "owner/repository: path", "A", ("vanishing_gradient", "undertrained"), program)


def test_a_symptom_is_detected_and_not_named(sick: Fault) -> None:
    run = _run("not-learning", severity="warning")
    assert score.detected(run)
    assert not score.named(sick, run)
    assert not score.detected(_run("dead-units", severity="warning"))


def test_the_first_finding_names(sick: Fault) -> None:
    assert score.named(sick, _run("weights-too-small", "dead-units"))
    late = _run("dead-units", "collapsed-signal")
    assert (score.named(sick, late), score.among_three(sick, late)) == (False, True)
    assert not score.among_three(sick, _run("dead-units", "non-finite", "unscaled-inputs", "vanishing-gradient"))
    assert not score.named(sick, _run())


def test_only_failing_runs_count_and_the_majority_decides(sick: Fault) -> None:
    result = {"runs": [_run("vanishing-gradient"), _run(), _run("vanishing-gradient"), _run(fails=False)]}
    assert len(score.failing(result)) == 3
    assert score.most(score.failing(result), score.detected)
    assert not score.most([_run(), _run("vanishing-gradient")], score.detected)


@pytest.mark.parametrize(("reached", "expected"), [(0.95, True), (0.9, True), (0.85, False), (None, False)])
def test_repaired_is_nine_tenths_of_the_way(reached: float | None, expected: bool) -> None:
    base: dict[str, Any] = {"base": 0.0}
    trials = {
        "unchanged": 0.1,
        "level": 0.95,
        "whole": True,
        "proposed": ["relu", "clip(1.0)"],
        "published": [],
        "tried": [
            {"remedy": "relu", "score": reached},
            {"remedy": "selu", "score": 1.0},
            {"remedy": "clip(1)", "score": 0.1},
        ],
    }
    assert score.repaired({**base, "trials": trials}, "proposed") is expected
    assert [t["remedy"] for t in score.tried(trials, "proposed")] == ["relu", "clip(1)"]
    assert score.repaired({**base, "trials": trials}, "published") is None
    assert score.repaired({**base, "trials": {**trials, "level": 0.12}}, "proposed") is None
    assert score.repaired({**base, "trials": {**trials, "whole": False}}, "proposed") is (True if expected else None)
    assert score.repaired({}, "proposed") is None


def test_page_tells_each_failure(monkeypatch: pytest.MonkeyPatch, sick: Fault) -> None:
    case = replace(sick, fix=sick.program)
    for module in (page, catalogue):
        monkeypatch.setattr(module, "CASES", (case,))
    works: Callable[[], dict[str, Any]] = lambda: {**_run("dead-units"), "works": True}  # noqa: E731
    result = {
        "label": "fails",
        "plain": {"scores": [0.5], "fixed": [1.0]},
        "runs": [_run()],
        "repaired_runs": [works()],
        "seconds": 1.0,
    }
    text = page.page({"X": json.loads(json.dumps(result))})
    assert "**X**" in text
    assert "not detected, the cause is not named first, nor among three" in text
    assert "after 300 steps the loss is 0.6, a constant answer has 0.5; the outputs do not depend" in text
    assert "| X, repaired | 0 | `dead-units` (error) | dead-units \\| said |" in text
