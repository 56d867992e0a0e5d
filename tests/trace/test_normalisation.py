"""Normalisations that are written out, against those that are one function."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tracing import traced
from unstick.trace.attribution import attenuation
from unstick.trace.operations import NORM
from unstick.trace.types import Trace

WIDTH = 6


class HandRMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class HandLayerNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.weight + self.bias


class GatedNorm(HandRMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        gate = x.sigmoid()
        return super().forward(x * gate)


class AddNorm(nn.Module):
    """A residual sum, normalised: the class is named after both."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.branch(x))


class PreNorm(nn.Module):
    """A branch behind a normalisation, scaled: the class is named after it, and its own step normalises nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.branch = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(self.norm(x)) * 0.1


class Net(nn.Module):
    def __init__(self, norm: Callable[[], nn.Module], residual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(5, WIDTH), nn.Linear(WIDTH, 3)
        self.middle = nn.Linear(WIDTH, WIDTH)
        with torch.no_grad():
            self.first.weight.mul_(20.0)  # so that the normalisation has something to do
        self.norm, self.again, self.residual = norm(), norm(), residual

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        normed = self.middle(self.norm(h)).tanh()
        return self.last(self.again(h + normed if self.residual else normed))


def kinds(trace: Trace, module: str) -> list[tuple[str, str]]:
    return [(op.name, op.kind) for op in trace.operations if op.module == module]


PAIRS = {"root mean square": (HandRMSNorm, nn.RMSNorm), "mean and variance": (HandLayerNorm, nn.LayerNorm)}


@pytest.mark.parametrize(("hand", "whole"), PAIRS.values(), ids=PAIRS.keys())
def test_the_parts_are_those_of_the_same_network_with_one_function(
    hand: type[nn.Module], whole: Callable[..., nn.Module]
) -> None:
    lost = attenuation(traced(lambda: Net(hand)))
    reference = attenuation(traced(lambda: Net(lambda: whole(WIDTH, eps=1e-6 if hand is HandRMSNorm else 1e-5))))
    assert lost is not None
    assert reference is not None
    assert abs(reference.parts["normalisation"]) > 0.1  # something to be told apart
    assert lost.parts == pytest.approx(reference.parts, abs=1e-4)
    assert sum(lost.parts.values()) == pytest.approx(lost.decades, abs=1e-9)


@pytest.mark.parametrize("hand", [HandRMSNorm, HandLayerNorm])
def test_each_of_its_steps_is_one(hand: type[nn.Module]) -> None:
    steps = kinds(traced(lambda: Net(hand)), "norm")
    assert len(steps) >= 6
    assert {kind for _, kind in steps} == {"normalisation"}


def test_where_its_input_is_read_elsewhere_nobody_answers_for_the_sum() -> None:
    lost = attenuation(traced(lambda: Net(HandRMSNorm, residual=True)))
    reference = attenuation(traced(lambda: Net(lambda: nn.RMSNorm(WIDTH, eps=1e-6), residual=True)))
    assert lost is not None
    assert reference is not None
    assert lost.parts == pytest.approx(reference.parts, abs=1e-4)


def test_a_gate_is_no_step_of_it() -> None:
    steps = kinds(traced(lambda: Net(GatedNorm)), "norm")
    assert steps[:3] == [("sigmoid", "activation"), ("mul", "other"), ("pow", "normalisation")]
    assert {kind for _, kind in steps[3:]} == {"normalisation"}


@pytest.mark.parametrize(("block", "step"), [(AddNorm, "add"), (PreNorm, "mul")])
def test_a_block_that_is_named_after_its_normalisation_is_none(block: type[nn.Module], step: str) -> None:
    assert kinds(traced(lambda: Net(block)), "norm") == [(step, "other")]


def test_two_functions_in_one_module_are_two_readers() -> None:
    class TwiceNorm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            one, other = nn.functional.layer_norm(x, (WIDTH,)), nn.functional.normalize(x)
            return one + other

    lost = attenuation(traced(lambda: Net(TwiceNorm)))
    assert lost is not None
    assert lost.parts["normalisation"] == 0


@pytest.mark.parametrize("name", ["LayerNorm", "LlamaRMSNorm", "T5LayerNorm", "LayerNorm2d", "MambaRMSNormGated"])
def test_class_names(name: str) -> None:
    assert NORM.search(name)
    assert not NORM.search(name.replace("Norm", "Normal"))
