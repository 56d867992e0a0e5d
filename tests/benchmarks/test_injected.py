"""The benchmark of injected faults: its own arithmetic, and that every fault is what it says."""

from __future__ import annotations

import math

import pytest
import torch
from benchmarks.injected.hosts import HOSTS
from benchmarks.injected.page import page, summary
from benchmarks.injected.plain import Outcome, skill, train
from benchmarks.injected.score import BY_ID, Answer, Share, averages, confusion, rows
from benchmarks.injected.table import INJECTORS, NOT_INJECTED, Injector

from unstick.rules import RULES

GOOD, BAD = Outcome(0.9, 0.1), Outcome(0.0, 1.0)


def answer(injector: str, host: str, *findings: str, injected: Outcome = BAD) -> Answer:
    severities = ("error",) * len(findings)
    return Answer(injector, host, GOOD, injected, findings, severities, findings, False, None, {}, 0.1, "a")


def test_every_rule_is_injected_or_left_out_with_a_reason() -> None:
    assert {rule.id for rule in RULES} <= {i.rule for i in INJECTORS} | set(NOT_INJECTED)
    assert not {i.rule for i in INJECTORS} & set(NOT_INJECTED)


def test_every_second_right_name_has_a_reason() -> None:
    assert all(i.reason for i in INJECTORS if i.also)
    assert all(i.rule not in i.also for i in INJECTORS)


def test_names_are_unique_and_halves_equal() -> None:
    assert len(BY_ID) == len(INJECTORS)
    assert [h.half for h in HOSTS.values()].count("tune") == len(HOSTS) // 2


@pytest.mark.parametrize("injector", INJECTORS, ids=lambda injector: injector.id)
@pytest.mark.filterwarnings("ignore:Using a target size")  # one of the faults
def test_an_injected_network_can_take_a_step(injector: Injector) -> None:
    """No injection may fail for a reason of its own: the loss has a gradient, and the outputs keep their number."""
    suited = [injector.inject(host) for host in HOSTS.values() if injector.suits(host) is None]
    assert suited
    for network in suited:
        model = network.build()
        x, y = (t[:8] for t in network.data())
        out = model(x)
        assert network.kind == "classes" or out.numel() == y.numel()
        loss = network.objective(out, y)
        loss.backward()
        network.optimize(model.parameters()).step()
        assert loss.dim() == 0


def test_the_original_is_left_alone() -> None:
    """An injector changes a copy: the host builds the same weights as before."""
    host = HOSTS["mlp"]

    def first() -> torch.Tensor:
        torch.manual_seed(0)
        return next(host.build().parameters()).detach()

    before = first()
    for injector in INJECTORS:
        if injector.suits(host) is None:
            injector.inject(host).build()
    assert torch.equal(first(), before)


def test_plain_training_tells_the_healthy_from_the_sick() -> None:
    host = HOSTS["mlp"]
    well = train(host, 150)
    sick = train(BY_ID["dead-units/bias"].inject(host), 150)
    assert well.learns
    assert sick.fails
    assert sick.worse_than(well)
    assert not well.worse_than(well)


def test_divergence_is_worse_than_anything() -> None:
    diverged = Outcome(math.nan, math.nan)
    assert diverged.worse_than(BAD)
    assert diverged.fails


def test_skill_of_perfect_and_of_constant_outputs() -> None:
    y = torch.tensor([0, 0, 1, 2])
    assert skill(HOSTS["mlp"], torch.nn.functional.one_hot(y).float(), y) == 1
    assert skill(HOSTS["mlp"], torch.tensor([[1.0, 0, 0]] * 4), y) == 0
    z = torch.randn(50, 1)
    assert skill(HOSTS["regression"], z, z) == 1
    assert skill(HOSTS["regression"], z.mean().expand(50, 1), z) == pytest.approx(0, abs=1e-6)


def test_wilson_against_published_values() -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    for hits, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert Share(hits, of).interval == pytest.approx((low, high), abs=1e-4)
    assert Share(1, 29).interval == pytest.approx((0.0061, 0.1718), abs=1e-4)


def test_rules_weigh_the_same_whatever_their_pairs() -> None:
    answers = [
        answer("dead-units/bias", "mlp", "dead-units"),
        answer("dead-units/bias", "cnn", "vanishing-gradient", "dead-units"),
        answer("learning-rate-too-low/x0.0001", "mlp"),
        answer("dead-units/bias", "transformer", injected=GOOD),
    ]
    found = {row.rule: row for row in rows(answers)}
    assert (found["dead-units"].recall, found["dead-units"].first) == (Share(2, 2), Share(1, 2))
    assert found["dead-units"].apart == 1
    assert averages(rows(answers)) == (0.5, 0.25)
    assert confusion(answers)["dead-units"] == {"dead-units": 1, "vanishing-gradient": 1}


def test_another_right_name_counts() -> None:
    assert answer("weights-too-small/x0.01", "tanh", "vanishing-gradient").named_first
    assert not answer("dead-units/bias", "mlp", "vanishing-gradient").named_first


def test_answers_survive_json_and_the_page_shows_failures() -> None:
    miss = answer("dead-units/bias", "cnn", "vanishing-gradient")
    assert Answer.from_dict(miss.to_dict()) == miss
    text = page([miss, answer("dead-units/bias", "mlp", "dead-units")], 150)
    row = ("`dead-units/bias`", "cnn", "tune", "0.9 / 0.1 → 0 / 1", "it does not learn", "missed")
    assert f"| {' | '.join(row)} | vanishing-gradient (error) |" in text
    assert "dead-units" in summary([miss])
