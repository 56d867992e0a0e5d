"""What a trial is asked to do, and what may come of it: values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

from ..observation import Observation
from ..remedies.base import Remedy
from .engines import Lost


@dataclass(frozen=True, slots=True)
class Job:
    """Runs of one remedy. seeds: in the order in which they are wanted; a task may give results of the first of them
    alone. deadline: by the wall clock, which processes share. whole: of no use unless it takes all its steps. steps:
    None for as many as are usual."""

    remedy: Remedy | None
    seeds: tuple[int, ...]
    steps: int | None
    deadline: float | None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """A network that could not be run, with a remedy or without: a sentence that says why."""

    reason: str


class OutOfTime:
    """The budget was used up before or during this run."""


Result = Observation | Failure | OutOfTime | Lost
