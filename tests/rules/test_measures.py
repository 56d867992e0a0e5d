from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

import cases
from unstick.rules.measures import critical_start
from unstick.trace.record import record


@pytest.mark.parametrize(
    ("depth", "activation", "remedy"),
    [
        (40, nn.Sigmoid, "init(critical)"),
        (80, nn.Sigmoid, "init(critical)+lr(depth)"),
        (10, nn.GELU, "init(critical)+lr(depth)"),
    ],
)
def test_deep_and_bent_networks_need_another_rate_too(
    depth: int, activation: Callable[[], nn.Module], remedy: str
) -> None:
    case = cases.digits_case(lambda: cases.dense(depth, activation, width=8), "deep")
    assert critical_start(record(case.fresh(0), next(iter(case.stream(0))))) == remedy
