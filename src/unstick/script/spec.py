"""What a script's process is told, and what it tells: values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

from ..observation import Observation


@dataclass(frozen=True)
class Spec:
    """How to run a script.

    path: of the file, or the name of a module. title: for reports. budget: seconds for its training. experiments:
    seconds for what is tried on copies afterwards. steps_file, outcome_file: where the process writes how far it is,
    and in the end an `Outcome`, pickled.
    """

    path: str
    is_module: bool
    arguments: tuple[str, ...]
    title: str
    steps: int | None
    seed: int
    budget: float
    experiments: float
    keep_going: bool
    steps_file: str
    outcome_file: str
    remedy: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one run. seen: an observation for each optimizer that made steps. status: the script's exit status.
    ended: by us, since all was seen. steps, backwards, optimizers: how many there were. error: what it raised."""

    seen: tuple[Observation, ...]
    status: int
    ended: bool
    steps: int
    backwards: int
    optimizers: int
    error: str | None
