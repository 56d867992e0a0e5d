"""What a script's process is told, and what it tells: values that travel between processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ScriptError
from ..observation import Observation

if TYPE_CHECKING:
    from .failure import Bug


@dataclass(frozen=True)
class Script:
    """A training script, to be run as it is: `python path arguments`, or `python -m path arguments` for a module.

    folder: where it is run, None for the current one.
    """

    path: str
    arguments: tuple[str, ...] = ()
    module: bool = False
    folder: str | None = None

    @property
    def title(self) -> str:
        return f"-m {self.path}" if self.module else self.path

    def check(self) -> None:
        """Raises ScriptError where there is no such file; whether there is such a module is seen when it is run."""
        path = Path(self.folder or "", self.path)
        if not self.module and not path.is_file():
            what = "is a directory; a package is run with -m" if path.is_dir() else f"does not exist (in {Path.cwd()})"
            raise ScriptError(f"{self.path} {what}: name a Python file.")

    @staticmethod
    def check_device(device: str | None) -> None:
        """Raises ScriptError where a device was asked for."""
        if device is not None:
            raise ScriptError("a script decides itself where it trains: leave the device out")


def leads() -> bool:
    """Whether this is the process to report, of those that `torchrun` has started together."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class Spec:
    """How to run a script. folder: where its process writes how far it is, and in the end an `Outcome`, pickled.

    steps: of each optimizer, to be watched; None for as many as are usual. seed: 0 for the script's own seeds; with
    another one, these become others. budget: seconds in which it has to make its first step, and to end, unless it is
    to keep going. experiments: seconds more for what is tried on copies afterwards. keep_going: do not end it when all
    has been seen. trial: with a `remedy` put in, or none, as all trials are: with files of its own, and what it prints
    kept to itself.
    """

    script: Script
    steps: int | None
    seed: int
    budget: float
    experiments: float
    keep_going: bool = False
    trial: bool = False
    remedy: str | None = None
    folder: str = ""

    @property
    def steps_file(self) -> Path:
        """How many steps there were; it is there once the script has begun."""
        return Path(self.folder, "steps")

    @property
    def concluding_file(self) -> Path:
        """It is there once the script has ended, and its process turns to what was seen."""
        return Path(self.folder, "concluding")

    @property
    def printed_file(self) -> Path:
        return Path(self.folder, "printed")

    @property
    def outcome_file(self) -> Path:
        return Path(self.folder, "outcome")


@dataclass(frozen=True)
class Outcome:
    """What came of one run. seen: an observation for each optimizer that made steps. status: the script's exit status.
    ended: by us, since all was seen or the time was up. steps, backwards, optimizers, processes: how many there were;
    the last are those that it started. error: what it raised. refused: why it could not be run, or not with the remedy.
    bug: of this package, which has ended it."""

    seen: tuple[Observation, ...]
    status: int
    ended: bool
    steps: int
    backwards: int
    optimizers: int
    processes: int
    error: str | None
    refused: str | None
    bug: Bug | None
