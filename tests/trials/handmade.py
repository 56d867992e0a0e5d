"""Observations made by hand: a network of three layers whose numbers are whatever a test wants them to be."""

from __future__ import annotations

import math

from unstick.observation import Learning, Observation
from unstick.trace.types import Backward, Forward, Operation, Trace

LN10 = math.log(10)


def observation(
    seed: int = 0,
    loss: float = LN10,
    *,
    learns: bool = False,
    decades: float = 0.0,
    in_activation: float | None = None,
    saturated: float = 0.0,
    remedy: str | None = None,
    constant: float | None = LN10,
    initial: float = 2.5,
    metric: float | None = None,
    diverged: int | None = None,
    steps: int = 300,
) -> Observation:
    """A run that ends at `loss` and whose gradient loses `decades`, `in_activation` (default: all) in the sigmoid."""
    return Observation(
        target="handmade",
        remedy=remedy,
        seed=seed,
        requested=steps,
        losses=(initial, loss),
        traces=(trace(decades, decades if in_activation is None else in_activation, saturated),),
        learning=Learning(
            learns=learns,
            initial_loss=initial,
            final_loss=loss,
            constant_loss=constant,
            below=(0.1, 0.2) if learns else (-0.1, 0.1),
            steps=steps,
            uses_input=None,
        ),
        metric=metric,
        diverged=diverged,
        changes=() if remedy is None else (f"changed by {remedy}",),
        seconds=0.1,
    )


def trace(decades: float, in_activation: float, saturated: float) -> Trace:
    """linear, sigmoid, linear, sigmoid, linear: the first sigmoid loses `in_activation`, the next layer the rest."""
    norms = [10.0**-decades, 10.0 ** (in_activation - decades), 1.0, 1.0, 1.0]
    names = ["linear", "sigmoid", "linear", "sigmoid", "linear"]
    operations = tuple(
        Operation(
            index=i,
            module=str(i),
            name=name,
            kind="weights" if name == "linear" else "activation",
            source=None,
            shape=(64, 8),
            unit_axis=1,
            parents=(i - 1,) if i else (),
            parameter=f"{i}.weight" if name == "linear" else None,
            site=(f"{i - i % 2}.weight", i % 2),
            forward=Forward(0.5, 0.5, 1.0, 0.5, *((saturated, 0.0) if name == "sigmoid" else ())),
            backward=Backward(norms[i], 0.0),
        )
        for i, name in enumerate(names)
    )
    return Trace(0, 2.5, operations, (0, 1, 2, 3), (), (), ())


def runs(losses: list[float], **options) -> list[Observation]:
    """One run a seed, from seed 0 on."""
    return [observation(seed, loss, **options) for seed, loss in enumerate(losses)]
