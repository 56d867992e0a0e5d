"""What is tried when a network does not learn, on networks that are stuck for known reasons."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cases
from unstick import Case, diagnose, try_remedies
from unstick.diagnose import Diagnosis
from unstick.experiments import examined
from unstick.observe import observe
from unstick.state import random_state


def batches(targets: Callable[[Tensor], Tensor]) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """Fresh samples in every batch, so that nothing can be learned by heart."""

    def draw() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(50):
            x = torch.randn(64, 10)
            yield x, targets(x)

    return draw


def signs(x: Tensor) -> Tensor:
    return (x[:, 0] > 0).long()


def chance(x: Tensor) -> Tensor:
    return torch.randint(0, 3, (len(x),))


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))


def too_slow() -> Case:
    return Case(small, batches(signs), F.cross_entropy, optimizer=cases.sgd(1e-4))


def no_signal() -> Case:
    return Case(small, batches(chance), F.cross_entropy)


def images() -> Case:
    """Dead from the start, and its inputs are no rows of features."""

    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 10)
            nn.init.constant_(self.first.bias, -1000.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.relu(self.first(x.view(-1, 1, 8, 8))).flatten(1))

    return cases.digits_case(Dead, "dead-convolution")


@functools.cache
def diagnosed(build: Callable[[], Case]) -> Diagnosis:
    return diagnose(build(), steps=120)


def numbers(build: Callable[[], Case], name: str) -> dict[str, float | int | bool | None]:
    found = diagnosed(build).observation.tried(name)
    assert found is not None
    assert found.question.endswith("?")
    assert found.answer.endswith(".")
    return found.numbers


def test_nothing_is_tried_on_a_network_that_learns() -> None:
    assert diagnosed(cases.relu_he).observation.experiments == ()


def test_one_batch_tells_whether_the_network_can_learn_at_all() -> None:
    assert numbers(no_signal, "one-batch")["learns"] is True
    assert numbers(cases.kaylee_like, "one-batch")["learns"] is False


def test_a_reference_tells_whether_the_data_can_be_learned() -> None:
    assert numbers(no_signal, "reference")["learns"] is False
    for build in (cases.kaylee_like, images):
        assert numbers(build, "reference")["learns"] is True


def test_other_rates_tell_whether_the_step_is_to_blame() -> None:
    assert numbers(too_slow, "rates")["best"] == 1000.0
    assert numbers(no_signal, "rates")["best"] is None
    found = diagnosed(too_slow).findings[0]
    assert found.rule == "learning-rate-too-low"
    assert found.remedies[0] == "lr(x1000)"


def test_activation_and_weights_are_changed_apart() -> None:
    sigmoid = numbers(cases.kaylee_like, "causes")
    assert sigmoid["before"] > 12
    assert abs(sigmoid["activation"]) < 2 < 12 < sigmoid["weights"]
    relu = numbers(cases.relu_default, "causes")
    assert abs(relu["weights"]) < 2 < relu["activation"]


def test_targets_without_a_signal_are_named() -> None:
    found = diagnosed(no_signal).findings
    assert [f.rule for f in found] == ["unlearnable-targets", "not-learning"]
    assert found[1].cause == "unlearnable-targets"


def test_what_was_ruled_out_is_said() -> None:
    """A problem that needs more than was tried, for no reason that is known here."""

    def parity(x: Tensor) -> Tensor:
        return ((x > 0).sum(1) % 2).long()

    slow = Case(small, batches(parity), F.cross_entropy, optimizer=cases.sgd(1e-2))
    found = {f.rule: f for f in diagnose(slow, steps=120).findings}
    assert "unlearnable-targets" in found or "Ruled out" in found["not-learning"].summary


def test_the_random_state_is_given_back() -> None:
    before = random_state()
    diagnose(too_slow(), steps=120)
    assert torch.equal(random_state()[2], before[2])


def test_no_time_no_experiments() -> None:
    case = cases.dead_units()
    seen = observe(case, steps=120)
    assert examined(case, seen, device=None, deadline=time.perf_counter(), progress=None) is seen


def test_what_an_experiment_shows_is_what_is_tried() -> None:
    report = try_remedies(too_slow(), steps=120, seeds=2, workers=1)
    assert report.recommended == "lr(x1000)"


def test_an_interrupt_keeps_what_was_seen_before() -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what == "finding the cause":
            raise KeyboardInterrupt

    report = diagnose(cases.dead_units(), steps=120, progress=interrupt)
    assert report.interrupted
    assert report.findings[0].rule == "dead-units"


@pytest.mark.parametrize("build", [too_slow, no_signal, cases.kaylee_like])
def test_the_report_tells_what_was_tried(build: Callable[[], Case]) -> None:
    report = diagnosed(build)
    assert [e["name"] for e in report.to_dict()["experiments"]] == [e.name for e in report.observation.experiments]
    assert "What was tried" in str(report)
