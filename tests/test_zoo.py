"""The zoo of healthy networks: that its own judge of health is right, and that what it counts is counted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.zoo.catalogue import collections, in_condition
from benchmarks.zoo.collection import Architecture, Collection
from benchmarks.zoo.health import CLOSED_FORMS, Health, batch_loss, batches, examine, train, training
from benchmarks.zoo.summary import Share, Summary, write_page
from benchmarks.zoo.tasks import blobs, sgd
from torch import nn
from torch.nn import functional as F

from unstick.case import Case

PLAIN = {
    name: a
    for collection in collections()[0]
    for name, a in collection.members.items()
    if not a.build.__module__.endswith(("huggingface", "huggingface_tasks", "xtransformers", "graphs"))
}


def test_there_are_many_and_each_says_what_it_is() -> None:
    assert len(PLAIN) >= 60
    assert all(a.about for a in PLAIN.values())


def test_no_two_have_one_name() -> None:
    zoo = Collection("twins")
    zoo.put("a", "", lambda: Case(lambda: nn.Linear(1, 1), blobs()))
    with pytest.raises(ValueError, match="two architectures"):
        zoo.put("a", "", lambda: Case(lambda: nn.Linear(1, 1), blobs()))


@pytest.mark.parametrize(
    "name", ["mlp-relu", "resnet", "lstm", "ctc", "lazy-layers", "wasserstein-critic", "optimizer-lbfgs"]
)
def test_plain_training_gives_finite_losses_and_moves_the_weights(name: str) -> None:
    case = PLAIN[name].build()
    torch.manual_seed(0)
    model = case.model()
    steps = training(case, model, seed=0)
    train(steps, 1)
    before = [p.detach().clone() for p in model.parameters()]
    train(steps, 2)
    assert math.isfinite(batch_loss(case, model, next(batches(case))).item())
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def linear(rate: float) -> Case:
    return Case(lambda: nn.Linear(6, 4), blobs(), F.cross_entropy, optimizer=sgd(rate))


def test_what_learns_is_healthy_and_what_stands_still_is_not() -> None:
    assert examine(linear(0.1), seed=0).learned
    still = examine(linear(0.0), seed=0)
    assert not still.learned
    assert still.final == still.initial


@pytest.mark.parametrize("final", [math.nan, math.inf, 0.95])
def test_a_loss_near_the_reference_or_none_at_all_is_not_learning(final: float) -> None:
    assert not Health(0, 100, 1.0, final, 1.0, constant=True).learned


def test_constants_in_closed_form_are_the_best_ones() -> None:
    """Against the loss itself, at the constant that each form stands for and at others around it."""
    g = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (90,), generator=g)
    shares = F.one_hot(classes, 3).float().mean(0)
    numbers, bits = torch.randn(90, 2, generator=g), (torch.rand(90, 2, generator=g) < 0.3).float()
    best = {
        F.cross_entropy: (classes, shares.log()),
        F.mse_loss: (numbers, numbers.mean(0)),
        F.l1_loss: (numbers, numbers.median(0).values),
        F.binary_cross_entropy_with_logits: (bits, bits.mean(0).logit()),
    }
    for loss, (targets, constant) in best.items():
        least = float(loss(constant.expand(90, -1), targets))
        assert CLOSED_FORMS[loss](targets) == pytest.approx(least, rel=1e-5)
        for _ in range(5):
            other = constant + 0.3 * torch.randn(constant.shape, generator=g)
            assert float(loss(other.expand(90, -1), targets)) > least


def test_trained_means_an_object_that_has_left_its_start() -> None:
    architecture = Architecture("linear", "", lambda: linear(0.1))
    case = in_condition(architecture, "trained")
    assert isinstance(case.model, nn.Module)
    assert not isinstance(in_condition(architecture, "fresh").model, nn.Module)
    torch.manual_seed(0)
    batch = next(batches(case))
    fresh = batch_loss(case, linear(0.1).model(), batch).item()
    assert batch_loss(case, case.model, batch).item() < 0.8 * fresh


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    low, high = Share(0, 60).interval
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 60))
    assert "5 of 50 = 10.0%" in str(Share(5, 50))


def rows() -> dict[tuple[str, str], dict[str, Any]]:
    """Two healthy architectures, one of which is called sick once, and one that does not learn and is called sick."""
    seeds = [{"initial": 2.0, "final": 0.5, "reference": 1.0, "constant": True}]
    quiet = {"steps": 1, "findings": [], "uncovered": [], "seconds": 1.0, "untouched": True}
    finding = {"rule": "dead-units", "severity": "error", "summary": "All of them are off."}
    made = {
        (name, "health"): {"healthy": name != "not-it", "seeds": seeds} for name in ("mlp-relu", "mlp-tanh", "not-it")
    }
    for name in ("mlp-relu", "mlp-tanh", "not-it"):
        made[name, "fresh"] = {"runs": [quiet | ({} if name == "mlp-tanh" else {"findings": [finding]})]}
    return made


def test_alarms_are_counted_by_architecture_and_only_for_the_healthy() -> None:
    seen = Summary(rows())
    assert seen.unwell == ["not-it"]
    assert (seen.share("error").count, seen.share("error").total) == (1, 2)
    assert seen.share("warning").count == 0


def test_the_page_tells_every_alarm(tmp_path: Path) -> None:
    write_page(rows(), tmp_path / "zoo.md")
    page = (tmp_path / "zoo.md").read_text()
    assert "All of them are off." in page
    assert "not-it" in page.split("## Left out")[1].split("## What")[0]
