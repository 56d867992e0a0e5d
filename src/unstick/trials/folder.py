"""A folder in which the results of trials are kept as they arrive, so that a run that was cut off can go on.

`run.json` says what was asked for. `results.jsonl` has one line for each run that is finished, appended and on the disk
before the next is counted. `lock` is held by the process that writes; the system lets go of it however that ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..observation import Observation
from ..report import files
from ..report.types import versions
from .codec import decode, encode
from .engines import Lost
from .jobs import Failure, OutOfTime, Result

SCHEMA = "unstick/run/1"
WORDS = {"case": "the code, the weights or the data of the case"}
"""What is no number that one could show, in words."""


class RunFolder:
    """The results of one request; whoever asks for the same again gets those that are there.

    results: those that were there at the start, by the remedy (None: the unchanged network) and the seeds of the job
    that gave them; what a seed comes to may depend on those that it was trained with, in the last digits. suggested:
    the remedies that the findings named; None where that was not yet known, or they were given.

    Raises OutputError where the folder cannot be written, is in use, or holds the results of another request.
    """

    def __init__(self, folder: str | Path, asked: Mapping[str, Any]) -> None:
        self._folder = Path(folder)
        self._file = self._folder / "results.jsonl"
        self.results: dict[tuple[str | None, tuple[int, ...]], tuple[Result, ...]] = {}
        self.suggested: tuple[str, ...] | None = None
        self._read_so_far: dict[tuple[str | None, tuple[int, ...]], list[Result]] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with ExitStack() as opened:
                opened.enter_context(self._locked())
                self._ask({"schema": SCHEMA, **asked, "versions": _decisive()})
                self._recall()
                self._lines = opened.enter_context(open(self._file, "ab", buffering=0))
                self._opened = opened.pop_all()
        except OSError as error:
            raise OutputError(
                f"{folder}: no results can be kept there ({error.strerror}); name another folder."
            ) from error

    def add(self, remedy: str | None, seeds: tuple[int, ...], results: Sequence[Result]) -> None:
        """Keep what a job for these seeds gave, up to what the time was too short for: that is left to be done.

        Raises OutputError where it cannot be written; whoever comes back finds all that were before it.
        """
        kept = list(takewhile(lambda result: not isinstance(result, OutOfTime), results))
        for seed, result in zip(seeds, kept, strict=False):
            self._append({"remedy": remedy, "seed": seed, "job": seeds, "of": len(kept), **_line(result)})

    def suggest(self, remedies: Sequence[str]) -> None:
        """Keep which remedies the findings named."""
        self._append({"suggested": list(remedies)})

    def close(self) -> None:
        self._opened.close()

    def _locked(self) -> Any:
        """A lock of the POSIX kind: no process that is started meanwhile inherits it."""
        lock = open(self._folder / "lock", "a+")  # noqa: SIM115 - the caller closes it
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise OutputError(
                f"{self._folder} is in use by process {holder}: wait until that has ended, or name another folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def _ask(self, asked: dict[str, Any]) -> None:
        """Raises OutputError where something else was asked for before."""
        file = self._folder / "run.json"
        if not file.exists():
            files.write("", str(file), json.dumps(asked, indent=2, ensure_ascii=False))
            return
        try:
            before = json.loads(file.read_text())
        except ValueError:
            before = None
        if not isinstance(before, dict) or before.get("schema") != SCHEMA:
            raise OutputError(f"{file} is not one that unstick has written: name another folder.")
        for name, value in json.loads(json.dumps(asked)).items():
            if before.get(name) != value:
                what = _difference(name, before.get(name), value)
                raise OutputError(
                    f"{self._folder} holds the results of another request ({what}): ask for the same, or name another "
                    "folder."
                )

    def _recall(self) -> None:
        """Reads what is there. Half a line, since its writer was killed or the disk was full, is cut off."""
        self._file.touch()
        with open(self._file, "rb+") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    lines.truncate(lines.tell() - len(line))
                    return
                try:
                    self._read(json.loads(line))
                except (KeyError, TypeError, ValueError) as error:
                    raise OutputError(
                        f"{self._file}:{number} is not a line that unstick has written: delete it, and what is missing "
                        "is made again."
                    ) from error

    def _read(self, line: dict[str, Any]) -> None:
        if "suggested" in line:
            self.suggested = tuple(line["suggested"])
            return
        key = line["remedy"], tuple(line["job"])
        if line["seed"] == line["job"][0]:  # a job that was cut off in its lines is made once more
            self._read_so_far[key] = []
        self._read_so_far[key].append(_result(line))
        if len(self._read_so_far[key]) == line["of"]:
            self.results[key] = tuple(self._read_so_far.pop(key))

    def _append(self, line: dict[str, Any]) -> None:
        try:
            rest = memoryview(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            while rest:
                rest = rest[self._lines.write(rest) :]
            os.fsync(self._lines.fileno())
        except OSError as error:
            raise OutputError(
                f"{self._file}: a result cannot be kept ({error.strerror}); make room, and start again to go on."
            ) from error


def _line(result: Result) -> dict[str, Any]:
    match result:
        case Observation():
            return {"outcome": "finished", "run": encode(result)}
        case Failure(reason):
            return {"outcome": "failed", "reason": reason}
        case Lost(reason):
            return {"outcome": "lost", "reason": reason}
    raise TypeError(result)


def _result(line: dict[str, Any]) -> Result:
    match line["outcome"]:
        case "finished":
            seen: Observation = decode(line["run"], Observation)
            return seen
        case "failed":
            return Failure(line["reason"])
        case "lost":
            return Lost(line["reason"])
        case other:
            raise ValueError(other)


def _decisive() -> dict[str, str]:
    """The versions that digits depend on."""
    return {name: version for name, version in versions().items() if name != "python"}


def _difference(name: str, before: Any, now: Any) -> str:
    if name in WORDS:
        return f"{WORDS[name]} changed"
    return f"{name} {json.dumps(before, ensure_ascii=False)} there, {json.dumps(now, ensure_ascii=False)} here"
