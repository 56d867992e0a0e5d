"""Several seeds of one remedy, observed together where that is faster.

They take their steps side by side. Traced steps, evaluation and everything else are each run's own, as in `observe`;
the untraced steps in between are made as one (`stacked.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from .batches import generators_of, is_pair
from .case import Case
from .observation import Observation
from .observe import BUDGET, Run, observe, on_cpu, traced_steps
from .remedies.base import Remedy
from .setup import parameters_of
from .stacked import ELEMENTWISE, Stack, check
from .state import preserved, random_state, set_random_state
from .trace.types import Operation

MOST = 8
"""Runs that are trained together at most: more share the cost of a call among more, but leave the cache."""


def observe_many(
    case: Case,
    seeds: Sequence[int],
    *,
    remedy: Remedy | None = None,
    steps: int | None = None,
    budget: float | None = None,
    device: str | None = None,
) -> tuple[Observation, ...]:
    """`observe` for each seed, in one training, where that is faster: one observation for each. Elsewhere that of the
    first seed, which took no longer than `observe` takes. Which it is depends on the case, the remedy and the number of
    seeds, and on no clock.

    Raises what `observe` raises; the user's objects and the global state are left as they were.
    """
    started = time.perf_counter()
    deadline = started + (BUDGET if budget is None else budget)

    def begin(seed: int) -> _Seeded:
        return _Seeded(Run(case, remedy, seed, device), random_state())

    with preserved(threads=1 if on_cpu(device) else None), ExitStack() as opened:
        first = begin(seeds[0])
        opened.callback(first.run.close)
        wanted = first.run.usual_steps if steps is None else steps
        if not suits(case, first.run, len(seeds), wanted):
            first.run.train(wanted, deadline, None, False)
            return (replace(first.run.concluded(wanted), seconds=time.perf_counter() - started),)
        # Whatever goes wrong from here on, the user's code may do right, or say better, when it runs as usual.
        with suppress(Exception):
            runs = [first]
            for seed in seeds[1:]:
                runs.append(begin(seed))
                opened.callback(runs[-1].run.close)
            check([seeded.run for seeded in runs])
            _train(runs, wanted, deadline)
            seen = [seeded.concluded(wanted) for seeded in runs]
            share = (time.perf_counter() - started) / len(seeds)
            return tuple(replace(s, seconds=share) for s in seen)
    left = max(0.0, deadline - time.perf_counter())
    return (observe(case, remedy=remedy, steps=steps, seed=seeds[0], budget=left, device=device),)


class _Seeded:
    """A run among others, with a random state of its own."""

    def __init__(self, run: Run, state: tuple[Any, ...]) -> None:
        self.run, self._state = run, state

    @contextmanager
    def _resumed(self) -> Iterator[Run]:
        set_random_state(self._state)
        yield self.run
        self._state = random_state()

    def traced_step(self, batch: Any, step: int) -> None:
        with self._resumed() as run:
            run.traced_step(batch, step)

    def plain_step(self, batch: Any) -> None:
        with self._resumed() as run:
            run.plain_step(batch)

    def concluded(self, wanted: int) -> Observation:
        with self._resumed() as run:
            return run.concluded(wanted)


class _Stretch:
    """The untraced steps between two traced ones: as one, or one after the other from where that is not possible.

    A loss may refuse the NaN of one run, and batches may have different shapes.
    """

    def __init__(self, runs: Sequence[_Seeded]) -> None:
        self._runs = runs
        self._stack: Stack | None = None
        self._apart = len(runs) == 1

    def step(self, batches: Sequence[Any]) -> None:
        if not self._apart:
            try:
                if self._stack is None:
                    self._stack = Stack([seeded.run for seeded in self._runs])
                self._stack.step(batches)
                return
            except Exception:
                self._apart = True
                self.end()
        for seeded, batch in zip(self._runs, batches, strict=True):
            seeded.plain_step(batch)

    def end(self) -> None:
        """The runs have what came of it."""
        if self._stack is not None:
            self._stack.give_back()
            self._stack = None


def _train(runs: Sequence[_Seeded], steps: int, deadline: float) -> None:
    """As `Run.train`, side by side. A run that ends early leaves the others alone."""
    traced = traced_steps(steps)
    stretch = _Stretch(runs)
    for step in range(steps):
        batches = [seeded.run.next_batch() for seeded in runs]
        out_of_time = time.perf_counter() > deadline and step > 0
        if step not in traced and not out_of_time:
            stretch.step(batches)
            continue
        stretch.end()
        for seeded, batch in zip(runs, batches, strict=True):
            seeded.traced_step(batch, step)
        runs = [seeded for seeded in runs if not seeded.run.ended]
        if out_of_time or not runs:
            return
        stretch = _Stretch(runs)


# -- where -------------------------------------------------------------------------------------------------------------


def suits(case: Case, run: Run, count: int, steps: int) -> bool:
    """Whether `count` runs like this one, of which no step was made, are to be trained together."""
    return _allowed(case, run) and worth(run, count, steps)


def _allowed(case: Case, run: Run) -> bool:
    """Whether nothing that is known of a run beforehand speaks against training it with others. The rest is checked."""
    return (
        case.loss is not None
        and _can_be_interleaved(case.data)
        and _elementwise(run.optimizer)
        and not any(map(_has_noise_or_statistics, run.setup.model.modules()))
        and not any("num_batches_tracked" in name for name, _ in run.setup.model.named_buffers())  # a remedy's
        and not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in run.parameters.values())
    )


def _can_be_interleaved(data: Any) -> bool:
    """Whether streams of these data know nothing of each other: of a function's, or of workers', who can tell?"""
    if isinstance(data, DataLoader):
        return not data.num_workers and not generators_of(data)
    return is_pair(data) or isinstance(data, list | tuple)


def _elementwise(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step is torch's own, and changes each number by itself."""
    return (
        type(optimizer) in ELEMENTWISE
        and "step" not in vars(optimizer)  # schedulers put theirs there
        and not optimizer._optimizer_step_pre_hooks
        and not optimizer._optimizer_step_post_hooks
    )


def _has_noise_or_statistics(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.training and module.p > 0
    return isinstance(module, nn.modules.batchnorm._NormBase | nn.RNNBase | nn.RReLU) or bool(
        module._backward_hooks or module._backward_pre_hooks
    )


# -- whether it is faster ----------------------------------------------------------------------------------------------
#
# Microseconds of untraced steps on one core, fitted to 191 pairs of a stack and the same runs alone, ReLU networks of
# 3 to 30 hidden layers of 24 to 224 units, batches of 16 to 256, 2, 3 and 8 runs, Adam and SGD, with torch 2.13 on an
# AMD EPYC. The model's ratio is within 12 % of the measured one (root mean square of logarithms). A clock would know
# the machine better, but the same seed has to give the same digits twice.

CALL, CALL_STACKED = 21.0, 55.0
"""For each operation, forward and backward; stacked: for all runs at once, with what `vmap` adds."""
UPDATE = 17.0
"""For each parameter, where the optimizer remembers moments. Stacked parameters are updated in a few pieces."""
PRODUCT = 0.075
"""For a thousand multiplications and additions of matrices, the same in a stack."""
NUMBER, NUMBER_STACKED = 3.1, 2.6
"""For a thousand trained numbers, where the optimizer remembers moments ..."""
NUMBER_APART = 1.7
"""... and, in a stack, where it does not, too: the weights of all runs leave the cache between two steps."""
STEP, STEP_STACKED, RUN_STACKED = 54.0, 317.0, 41.0
"""For each step of one run; for each of a stack, and for each run in it."""

GAIN = 1.25
"""A stack is made where it is expected to be that many times faster. In the fit's data the least that was gained there
is 1.16; of the 58 pairs that gained more than 1.2 ten are left out."""

FIRST = 3e5
"""Once in a process: what torch imports when `vmap` meets a loss such as cross-entropy. It has to be saved first."""

PRODUCTS_MEASURED = frozenset(["linear", "matmul", "__matmul__", "mm", "addmm"])


def worth(run: Run, count: int, steps: int) -> bool:
    """Whether `count` such runs are trained faster together. False for what was not measured: other devices, dtypes and
    weighted operations (convolutions become grouped ones, which are slow)."""
    weighted = [op for op in run.before.operations if op.kind == "weights"]
    return (
        on_cpu(run.device)
        and all(p.dtype == torch.float32 for p in run.parameters.values())
        and all(op.name in PRODUCTS_MEASURED and op.parameter in run.parameters for op in weighted)
        and _gains(run, weighted, count, steps)
    )


def _gains(run: Run, weighted: Sequence[Operation], count: int, steps: int) -> bool:
    apart, stacked = _expected(run, weighted, count)
    return apart >= GAIN * stacked and steps * (apart - stacked) >= FIRST


def _expected(run: Run, weighted: Sequence[Operation], count: int) -> tuple[float, float]:
    """Of one step of all runs, in microseconds: one after the other, and as a stack."""
    calls = len(run.before.operations)
    trained = parameters_of(run.optimizer)
    moments = not isinstance(run.optimizer, torch.optim.SGD)
    products = PRODUCT * sum(_multiplications(op, run) for op in weighted) / 1e3
    numbers = sum(p.numel() for p in trained) / 1e3
    alone = STEP + CALL * calls + products + moments * (UPDATE * len(trained) + NUMBER * numbers)
    shared = STEP_STACKED + CALL_STACKED * calls
    each = RUN_STACKED + products + (NUMBER_APART + moments * NUMBER_STACKED) * numbers
    return count * alone, shared + count * each


def _multiplications(op: Operation, run: Run) -> float:
    assert op.parameter is not None
    return run.parameters[op.parameter].numel() * math.prod(op.shape) / op.shape[op.unit_axis]
