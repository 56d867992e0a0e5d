"""Real runs, on networks that take milliseconds a step."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch
from torch import nn

from unstick.case import Case
from unstick.errors import CaseError, RemedyError
from unstick.trials import try_remedies

STEPS = 120
"""Enough for the rules to say that a network does not learn."""


def deep_sigmoid() -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(4, 16), nn.Sigmoid()]
    for _ in range(9):
        layers += [nn.Linear(16, 16), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(16, 2))


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(256) % 2
    return torch.randn(256, 4, generator=generator) + 2.0 * y[:, None] - 1.0, y


def case(model=deep_sigmoid, **options) -> Case:
    options = {"loss": nn.CrossEntropyLoss(), "name": "blobs", **options}
    return Case(model, blobs(), **options)


def document(report) -> dict:
    """What must be the same for the same seed."""
    return {key: value for key, value in report.to_dict().items() if key != "seconds"}


@pytest.fixture(scope="module")
def report():
    return try_remedies(case(), ["tanh+init(xavier)", "init(normal, std=3)"], steps=STEPS, seeds=2, workers=1)


def test_tanh_fixes_a_deep_sigmoid_network(report):
    tanh = report["tanh+init(xavier)"]
    assert tanh.verdict == "fixes"
    assert report.recommended == "tanh+init(xavier)"
    assert report.cause == "vanishing-gradient"
    assert tanh.compared.decades[0] > 4 > 2 > abs(tanh.compared.decades[1])
    assert "2 of 2 seeds" in tanh.explanation


def test_pairs_share_their_seeds_and_steps(report):
    assert [run.seed for run in report.baseline] == [0, 1]
    for trial in report:
        assert [run.seed for run in trial.runs] == [0, 1]
        assert {run.learning.steps for run in trial.runs} == {STEPS}


def test_the_number_of_workers_changes_nothing(report):
    again = try_remedies(case(), ["tanh+init(xavier)", "init(normal, std=3)"], steps=STEPS, seeds=2, workers=2)
    assert document(again) == document(report)


def test_what_is_settled_stops_and_what_is_not_goes_on():
    seen = []
    report = try_remedies(
        case(), ["tanh+init(xavier)", "lr(x1.3)"], steps=STEPS, workers=1, progress=lambda *state: seen.append(state)
    )
    assert report["tanh+init(xavier)"].compared.settled
    for trial in report:
        assert trial.compared.seeds in (3, 5, 8)
        assert trial.compared.settled or trial.compared.seeds == 8
    assert len(report.baseline) == max(trial.compared.seeds for trial in report)
    assert seen[-1][1] == seen[-1][2] == len(report.baseline) + sum(trial.compared.seeds for trial in report)


def test_without_remedies_those_of_the_findings_are_tried():
    report = try_remedies(case(), steps=STEPS, seeds=2, workers=1)
    assert 1 <= len(report) <= 5
    assert len({trial.remedy for trial in report}) == len(report)


def test_a_remedy_that_does_not_fit_is_a_verdict_with_its_sentence():
    report = try_remedies(case(lambda: nn.Linear(4, 2)), ["relu"], steps=5, seeds=2, workers=1)
    assert report["relu"].verdict == "not-applicable"
    assert report["relu"].explanation
    assert report["relu"].compared is None


def test_a_remedied_network_that_fails_is_a_verdict():
    class Touchy(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x):
            hidden = torch.sigmoid(self.first(x))
            if (hidden < 0).any():
                raise ValueError("a negative number\nwhich it cannot bear")
            return self.last(hidden)

    report = try_remedies(case(Touchy), ["tanh"], steps=5, seeds=2, workers=1)
    assert report["tanh"].verdict == "not-applicable"
    assert "ValueError: a negative number" in report["tanh"].explanation
    assert "\n" not in report["tanh"].explanation


def test_a_case_that_cannot_run_is_an_error():
    with pytest.raises(CaseError):
        try_remedies(case(lambda: nn.Linear(3, 2)), ["relu"], steps=5, workers=1)


def test_a_misspelt_remedy_is_an_error_before_any_work():
    def never() -> nn.Module:
        raise AssertionError("the model was built")

    with pytest.raises(RemedyError, match="relu"):
        try_remedies(case(never), ["tanh", "rellu"])


@pytest.mark.parametrize("options", [{"steps": 0}, {"seeds": 1}, {"workers": 0}])
def test_numbers_that_make_no_sense(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        try_remedies(case(), ["relu"], **options)


def test_without_time_everything_is_inconclusive():
    report = try_remedies(case(), ["relu", "tanh"], steps=50, budget=0.0, workers=1)
    assert [trial.verdict for trial in report] == ["inconclusive"] * 2
    assert "used up" in report.trials[0].explanation
    assert report.notes


def slow_step(model: nn.Module, batch) -> torch.Tensor:
    time.sleep(0.01)
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def test_a_short_budget_cuts_every_run_to_the_same_steps():
    slow = case(lambda: nn.Linear(4, 2), loss=None, step=slow_step)
    report = try_remedies(slow, ["lr(x10)"], steps=10_000, seeds=2, budget=2.0, workers=1)
    assert 0 < report.baseline[0].learning.steps < 10_000
    assert len({run.learning.steps for run in report.baseline}) == 1
    assert "cut from 10000" in report.notes[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_returns_what_is_known(workers):
    def interrupt(_, done, __):
        if done == 5:
            raise KeyboardInterrupt

    report = try_remedies(case(), ["relu", "tanh"], steps=30, seeds=4, workers=workers, progress=interrupt)
    assert report.interrupted
    counts = [len(report.baseline), *(len(trial.runs) for trial in report)]
    assert sum(counts) == 5
    assert workers > 1 or counts == [2, 2, 1]  # processes need not finish in the order in which they began
    unsettled = [trial for trial in report if not trial.compared.settled]
    assert unsettled
    assert all("Interrupted" in trial.explanation for trial in unsettled)


def test_a_process_that_dies_leaves_a_reason():
    def step(model, batch):
        if any(weight.detach().abs().max() > 20.0 for weight in model.parameters()):
            os._exit(1)
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    report = try_remedies(case(loss=None, step=step), ["init(normal, std=50)"], steps=5, seeds=2, workers=2)
    (trial,) = report
    assert trial.verdict == "inconclusive"
    assert "died" in trial.explanation
    assert len(report.baseline) == 2


def test_a_run_that_hangs_is_a_verdict_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr("unstick.trials.run.PATIENCE", 0.5)

    def step(model, batch):
        if any(weight.detach().abs().max() > 20.0 for weight in model.parameters()):
            threading.Event().wait()
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    report = try_remedies(case(loss=None, step=step), ["init(normal, std=50)", "tanh"], steps=5, seeds=2, workers=1)
    assert report["init(normal, std=50)"].verdict == "inconclusive"
    assert "still running after" in report["init(normal, std=50)"].explanation
    assert [run.seed for run in report["tanh"].runs] == [0, 1]


def test_a_run_that_wants_more_memory_than_there_is_is_a_verdict_with_its_reason():
    def step(model, batch):
        if any(weight.detach().abs().max() > 20.0 for weight in model.parameters()):
            torch.empty(2**50)
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    report = try_remedies(case(loss=None, step=step), ["init(normal, std=50)"], steps=5, seeds=2, workers=1)
    assert report.trials[0].verdict == "inconclusive"
    assert "it ran out of memory: " in report.trials[0].explanation
    assert len(report.baseline) == 2
