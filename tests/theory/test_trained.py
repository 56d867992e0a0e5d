"""The trained points that come with the package: complete, consistent, and what the package itself finds."""

from __future__ import annotations

import math
from itertools import product

import pytest
from torch import nn

import unstick
from unstick.cases.kaylee import digits
from unstick.observe import observe
from unstick.theory.trainability import FAMILIES, MAP_DEPTH, MAP_SIGMA_B
from unstick.theory.trained import Trained, trained

POINTS = trained().points


def test_it_says_where_it_comes_from() -> None:
    record = trained()
    assert record.made["command"].startswith("python benchmarks/theory/points.py")
    assert {"command", "date", "versions"} <= record.made.keys()
    assert {"data", "training", "learns", "constant_loss"} <= record.settings.keys()


def test_no_network_is_missing_or_there_twice() -> None:
    places = [(p.family, p.sigma_w, p.sigma_b, p.depth, p.seed) for p in POINTS]
    assert len(set(places)) == len(places)
    sigmas, seeds = sorted({p.sigma_w for p in POINTS}), sorted({p.seed for p in POINTS})
    assert len(seeds) >= 2
    for family in FAMILIES:
        depths = {p.depth for p in POINTS if p.family == family.name}
        expected = {(family.name, s, MAP_SIGMA_B, d, seed) for s, d, seed in product(sigmas, depths, seeds)}
        if not family.normalised:
            biases = {p.sigma_b for p in POINTS}
            expected |= {(family.name, s, b, MAP_DEPTH, seed) for s, b, seed in product(sigmas, biases, seeds)}
        assert {place for place in places if place[0] == family.name} == expected


@pytest.mark.parametrize("point", POINTS[::97], ids=lambda p: f"{p.family}-{p.sigma_w}-{p.depth}")
def test_what_learns_is_below_the_constant(point: Trained) -> None:
    constant = math.log(10)
    assert 0.0 <= point.accuracy <= 1.0
    if point.learns:
        assert point.loss is not None
        assert point.loss < constant
    elif point.loss is not None:
        assert point.loss > 0.95 * constant


@pytest.mark.parametrize(
    ("family", "sigma_w", "depth", "learns"), [("tanh", 2.0, 5, True), ("sigmoid", 0.5, 10, False)]
)
def test_the_package_finds_the_same_when_it_trains_such_a_network(
    family: str, sigma_w: float, depth: int, learns: bool
) -> None:
    """An ordinary nn.Sequential instead of many networks in one batched product; places far from the boundary, where a
    third of the steps is enough."""
    place = (family, sigma_w, 1.0, depth)
    assert {p.learns for p in POINTS if (p.family, p.sigma_w, p.sigma_b, p.depth) == place} == {learns}
    activation = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[family]

    def network() -> nn.Module:
        hidden = [nn.Linear(64, 64) for _ in range(depth)]
        for layer in hidden:
            nn.init.normal_(layer.weight, std=sigma_w / 8)
            nn.init.normal_(layer.bias)
        out = nn.Linear(64, 10)
        nn.init.normal_(out.weight, std=1 / 8)
        nn.init.zeros_(out.bias)
        return nn.Sequential(*(part for layer in hidden for part in (layer, activation())), out)

    seen = observe(unstick.Case(network, digits(), nn.CrossEntropyLoss()), steps=100)
    assert seen.learning.learns is learns
