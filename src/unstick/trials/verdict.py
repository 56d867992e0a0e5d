"""What paired runs say of a remedy: numbers first, then a verdict, then a sentence. Pure functions of observations.

The definitions, all of them over pairs of runs that share seed, batches and number of steps:

- The *loss* of a run is its mean loss over the held evaluation batches after training. A run *diverged* if its loss
  was not finite at any step or at the end.
- A network *learns* if more than half of its runs do.
- The *margin* is the smallest effect that matters: 1 % of the loss of the best constant answer (median over seeds), or
  of the loss before training where there is no such answer.
- The *difference* is the loss with the remedy minus the loss without it: negative is better. Its interval holds the
  true mean with 95 %, however often one looks (see `statistics.paired`).
- A remedy is *settled* when the interval lies below zero and the mean below -margin, or above zero and above the
  margin, or entirely within the margin; or when most runs, and at least three, diverged.
- The *gradient* of a run is the attenuation in decades in the first trace where it can be measured, before training
  has had time to change the question. It is *restored* where it neither vanishes nor explodes.
- The *cause* is the first finding of severity error in the unchanged network (majority over seeds). It is *gone* when
  the gradient is restored, for findings about the gradient, and otherwise when most remedied runs no longer have it.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..observation import Learning, Observation
from ..rules import find
from ..rules.base import Severity
from ..rules.gradient import DECADES
from ..trace.attribution import attenuation
from ..trace.types import Attenuation
from .statistics import paired

Verdict = Literal["fixes", "helps", "no-effect", "harms", "inconclusive", "not-applicable"]
Direction = Literal["below", "above", "within", "open"]

BOTTOMLESS = 1e6
"""Minus the output, which some losses are for outputs they are not made for, falls as low as one likes."""
MARGIN = 0.01
"""The smallest effect that matters, as a share of the loss of the best constant answer."""

ENOUGH_DIVERGED = 3
GRADIENT_RULES = ("vanishing-gradient", "exploding-gradient")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The numbers behind a verdict. Loss and metric are means over the pairs in which both runs stayed finite.

    seeds: pairs compared. learned, diverged: how many runs did, (before, after). loss, metric: (before, after), None
    where no pair is finite or the case has no metric. difference, interval: of the loss; the interval is None below
    two finite pairs. decades: median attenuation (before, after), None where it cannot be measured. cause: id of the
    rule that explains the unchanged network, None where nothing was found.
    """

    seeds: int
    steps: int
    learned: tuple[int, int]
    diverged: tuple[int, int]
    loss: tuple[float, float] | None
    metric: tuple[float, float] | None
    difference: float | None
    interval: tuple[float, float] | None
    margin: float
    decades: tuple[float | None, float | None]
    cause: str | None
    cause_gone: bool

    @property
    def learns(self) -> tuple[bool, bool]:
        before, after = self.learned
        return 2 * before > self.seeds, 2 * after > self.seeds

    @property
    def restored(self) -> bool:
        return restored(self.decades[1])

    @property
    def direction(self) -> Direction:
        """Where the remedied loss lies, seen from the unchanged one; "open" where the runs do not settle it."""
        before, after = (2 * count > self.seeds for count in self.diverged)
        if before or after:
            return "within" if before and after else "above" if after else "below"
        if self.interval is None or self.difference is None:
            return "open"
        low, high = self.interval
        if -self.margin <= low and high <= self.margin:
            return "within"
        if high < 0.0 and self.difference < -self.margin:
            return "below"
        if low > 0.0 and self.difference > self.margin:
            return "above"
        return "open"

    @property
    def settled(self) -> bool:
        """More seeds would not be expected to change the direction."""
        most = [count for count in self.diverged if 2 * count > self.seeds]
        return min(most) >= ENOUGH_DIVERGED if most else self.direction != "open"

    @property
    def verdict(self) -> Verdict:
        """`no-effect` includes a loss that fell in a network that still does not learn: it is no help to anyone."""
        match self.direction:
            case "open":
                return "inconclusive"
            case "above":
                return "harms"
            case "within":
                return "no-effect"
        learned_before, learns = self.learns
        if not learns:
            return "no-effect"
        return "fixes" if self.cause_gone and not learned_before else "helps"


def compare(before: Sequence[Observation], after: Sequence[Observation], cause: str | None, looks: int) -> Comparison:
    """Pairs the runs by seed; `before` and `after` hold one run a seed, and seeds without a partner are left out.

    cause: what `leading_cause` says of the unchanged network. looks: how often these runs are looked at in all.
    """
    remedied = {run.seed: run for run in after}
    pairs = [(run, remedied[run.seed]) for run in before if run.seed in remedied]
    finite = [(old, new) for old, new in pairs if not diverged(old) and not diverged(new)]
    losses = [(old.learning.final_loss, new.learning.final_loss) for old, new in finite]
    metrics = [(old.metric, new.metric) for old, new in finite if old.metric is not None and new.metric is not None]
    differences = [new - old for old, new in losses]
    befores, afters = [old for old, _ in pairs], [new for _, new in pairs]
    decades = median_decades(befores), median_decades(afters)
    return Comparison(
        seeds=len(pairs),
        steps=max((run.learning.steps for run in befores), default=0),
        learned=(learning(befores), learning(afters)),
        diverged=(sum(map(diverged, befores)), sum(map(diverged, afters))),
        loss=_means(losses),
        metric=_means(metrics),
        difference=statistics.fmean(differences) if differences else None,
        interval=paired(differences, looks)[1:] if len(differences) > 1 else None,
        margin=margin(befores),
        decades=decades,
        cause=cause,
        cause_gone=_gone(cause, afters, decades[1]),
    )


def diverged(run: Observation) -> bool:
    return run.diverged is not None or not math.isfinite(run.learning.final_loss)


def margin(runs: Sequence[Observation]) -> float:
    """The smallest difference in loss that matters; 0 where no run has a finite loss to compare with."""
    scales = [_scale(run.learning) for run in runs]
    finite = [scale for scale in scales if math.isfinite(scale)]
    return MARGIN * statistics.median(finite) if finite else 0.0


def _scale(learning: Learning) -> float:
    """The constant predictor's loss, or that before the run where there is none, or where it has no bottom."""
    constant, initial = learning.constant_loss, learning.initial_loss
    return abs(initial if constant is None or constant < -BOTTOMLESS * max(1.0, abs(initial)) else constant)


def first_attenuation(run: Observation) -> Attenuation | None:
    """From the first trace in which it can be measured; None where that is none of them."""
    return next((found for trace in run.traces if (found := attenuation(trace)) is not None), None)


def median_decades(runs: Iterable[Observation]) -> float | None:
    """Median over the runs of the decades that the gradient loses; None where no run can tell."""
    decades = [found.decades for run in runs if (found := first_attenuation(run)) is not None]
    return statistics.median(decades) if decades else None


def restored(decades: float | None) -> bool:
    """The gradient neither vanishes nor explodes, by the measure of the rule about vanishing gradients."""
    return decades is not None and abs(decades) < DECADES


def error_rules(run: Observation) -> tuple[str, ...]:
    """Ids of the rules that find something of severity error, causes first, each once."""
    return tuple(dict.fromkeys(f.rule for f in find(run) if f.severity is Severity.ERROR))


def leading_cause(before: Sequence[Observation]) -> str | None:
    """The first error found in the unchanged network, by majority over seeds; None where most runs have no error."""
    votes = Counter(next(iter(error_rules(run)), None) for run in before)
    return votes.most_common(1)[0][0] if votes else None


def _gone(cause: str | None, after: Sequence[Observation], decades: float | None) -> bool:
    if cause is None:
        return False
    if cause in GRADIENT_RULES:
        return restored(decades)
    return 2 * sum(cause in error_rules(run) for run in after) < len(after)


def learning(runs: Sequence[Observation]) -> int:
    """How many of them learn."""
    return sum(run.learning.learns is True for run in runs)


def _means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    if not pairs:
        return None
    return statistics.fmean(old for old, _ in pairs), statistics.fmean(new for _, new in pairs)
