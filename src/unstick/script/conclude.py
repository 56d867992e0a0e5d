"""From what was watched to an observation: did it learn, and what came of experiments on a copy."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..experiments import examined
from ..intervals import t_interval
from ..learning import CONFIDENCE, Examiner
from ..observation import SMALLEST_EFFECT, Ends, Learning, Observation
from ..observe import not_finite
from ..state import preserved
from ..trace.source import describe
from .change import Change
from .extract import Cut, Extracted, Recorded, batch_of, own_loss, replaying
from .gates import unseen
from .optimizers import at_rate
from .strand import Strand
from .twin import load, same_modes

COMPARED = 16
"""Steps at the start and at the end whose losses are compared, where nothing better is to be had."""


def conclude(
    strand: Strand,
    target: str,
    *,
    rival: bool = False,
    change: Change | None = None,
    deadline: float | None = None,
) -> Observation:
    """What was seen of one optimizer's steps. Only copies are evaluated; the global state stays as it is.

    rival: another optimizer works against this one, so that its loss says nothing. change: of a trial. deadline: for
    experiments, by `time.perf_counter`; None: make none.
    """
    losses = strand.numbers()[: strand.wanted]
    steps = min(strand.wanted, strand.count)
    notes = list(strand.notes)
    with unseen(), preserved(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the script has been warned already
        learning, ends, case = None, None, None
        try:
            case, held = extracted(strand, target)
            learning, ends = _examined(case, held, strand, steps)
        except Exception as error:  # a copy that cannot be run, each in its own way
            why = str(error) if isinstance(error, Unknown) else describe(error)
            notes.append(f"whether it learns was told from its losses alone: {why}")
        learning = learning or by_losses(losses)
        if rival and all(map(math.isfinite, losses)):
            notes.append("whether it learns: two optimizers work against each other, so neither loss has to fall")
            learning = replace(learning, learns=None)
        *traces, last = strand.traces
        traces.append(replace(last, uncovered=(*last.uncovered, *notes)))
        seen = Observation(
            target=target,
            remedy=str(change.remedy) if change and change.remedy else None,
            seed=0,
            requested=strand.wanted,
            losses=tuple(losses),
            traces=tuple(traces),
            learning=learning,
            metric=None,
            diverged=not_finite(losses),
            changes=change.changes if change else (),
            seconds=0.0,
            ends=ends,
            optimizer=replace(strand.settings, rate=_largest(strand)),
            loop=strand.loop(),
        )
        if case is not None and deadline is not None and strand.attached and learning.learns is not None:
            seen = examined(case, seen, device=None, deadline=deadline, progress=None)
    return seen


class Unknown(Exception):
    """Why nothing could be computed again."""


def extracted(strand: Strand, target: str) -> tuple[Extracted, list[Any]]:
    """The case that the script amounts to, and the batches to evaluate it on. Raises Unknown."""
    twin = strand.twin
    if not twin.sound or twin.initial is None or not strand.tapes:
        raise Unknown(twin.fault or "its loss did not come of calls that could be recorded")
    signatures = [r.program.signature for r in strand.tapes]
    usual, many = Counter(signatures).most_common(1)[0]
    if many == 1 < len(signatures):
        raise Unknown("no two of its steps compute the same")
    alike = [r for r, signature in zip(strand.tapes, signatures, strict=True) if signature == usual]
    last = alike[-1]
    cut = Cut.of(last.program, last.leaves)
    batches = [batch_of(r, cut) for r in alike]
    held = [b for r, b in zip(alike, batches, strict=True) if r.step >= strand.wanted]
    if len(held) < strand.extra:  # the script ended early
        held = batches[-strand.extra :]
    return _case(strand, target, last, cut, batches), held


def _case(strand: Strand, target: str, last: Recorded, cut: Cut | None, batches: list[Any]) -> Extracted:
    initial = strand.twin.initial
    assert initial is not None
    return Extracted(
        model=initial,
        data=batches,
        loss=None if cut is None else replaying(last, cut)["criterion"],
        step=None if cut is not None else partial(own_loss, last),
        optimizer=partial(at_rate, strand.optimizer, _largest(strand)),
        name=target,
        recorded=last,
        cut=cut,
        original=initial,
        modes=tuple(m.training for m in strand.model.modules()),
    )


def _largest(strand: Strand) -> float | None:
    """The learning rate, as large as its schedule made it."""
    return max((rate for rate in strand.rates if math.isfinite(rate)), default=strand.settings.rate)


def _examined(case: Extracted, held: list[Any], strand: Strand, steps: int) -> tuple[Learning, Ends | None]:
    setup = case.fresh(0)
    if strand.twin.put is not None:
        strand.twin.put(setup)
    examiner = Examiner(setup, held, None)
    assert strand.final is not None
    load(setup.model, strand.final)
    same_modes(setup.model, strand.model)
    learning, _ = examiner.conclude(steps)
    return learning, examiner.ends(strand.traces[-1])


def by_losses(losses: Sequence[float]) -> Learning:
    """From the losses of the first steps and of the last, each on a batch of its own."""
    count = max(1, min(COMPARED, len(losses) // 2))
    first, last = losses[:count], losses[-count:]
    gaps = [a - b for a, b in zip(first, last, strict=True)]
    sure = len(gaps) > 2 and all(map(math.isfinite, gaps))
    below = t_interval(gaps, CONFIDENCE) if sure else (-math.inf, math.inf)
    before, after = sum(first) / len(first), sum(last) / len(last)
    learns = below[0] > 0 and before - after >= SMALLEST_EFFECT * abs(before)
    return Learning(learns, before, after, None, below, len(losses), None)
