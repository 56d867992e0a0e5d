"""What a trial is asked to do, and what may come of it: values that travel between processes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from ..observation import Observation
from ..remedies.base import Remedy
from .engines import Lost

PATIENCE, SLOWEST = 60.0, 20.0
"""A run hangs that takes a minute more than 20 times as long as the first. Remedies cost a few times as much, and so
does a machine that others use; both together do not come near."""


@dataclass(frozen=True, slots=True)
class Job:
    """Runs of one remedy. seeds: in the order in which they are wanted; a task may give results of the first of them
    alone. deadline: by the wall clock, which processes share. whole: of no use unless it takes all its steps. steps:
    None for as many as are usual. limit: seconds after which it hangs."""

    remedy: Remedy | None
    seeds: tuple[int, ...]
    steps: int | None
    deadline: float | None
    whole: bool = True
    limit: float = math.inf

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return math.inf if self.deadline is None else self.deadline - time.time()

    @property
    def patience(self) -> float:
        """Seconds after which it hangs, if it is begun now: it is not waited for much longer than to its deadline."""
        return self.limit if self.limit == math.inf else min(self.limit, max(0.0, self.left) + PATIENCE)

    def overdue(self) -> OutOfTime | Lost:
        """What it is that this job did not end when it had to."""
        if self.limit == math.inf or self.left <= 0.0:
            return OutOfTime()
        return Lost(f"it was still running after {self.limit:.0f} s, when it was ended")


@dataclass(frozen=True, slots=True)
class Failure:
    """A network that could not be run, with a remedy or without: a sentence that says why."""

    reason: str


class OutOfTime:
    """The budget was used up before or during this run."""


Result = Observation | Failure | OutOfTime | Lost
