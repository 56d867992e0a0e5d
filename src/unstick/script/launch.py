"""Starts a script in a process of its own, waits for it, and leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from .spec import Outcome, Script, Spec

POLL = 0.05  # seconds
GRACE = 15.0  # seconds, in which a script that was asked to end may close what it has open


@dataclass(frozen=True)
class Run:
    """What became of a run. outcome: None where the process wrote none. status: of the process, negative for a signal.
    late: it was ended since its time was up. interrupted: by the user. printed: by a trial."""

    outcome: Outcome | None
    status: int
    late: bool
    interrupted: bool
    printed: str


def run(
    script: Script,
    *,
    steps: int | None,
    seed: int,
    budget: float,
    experiments: float,
    keep_going: bool = False,
    advance: Callable[[int], None] | None = None,
    trial: bool = False,
    remedy: str | None = None,
    cancelled: Event | None = None,
) -> Run:
    """Run `script`, watched.

    budget: seconds in which it has to make its first step, and to end, unless it is to keep going. experiments: seconds
    more for what is tried on copies. advance: called with the number of steps it has made. trial: with `remedy` put in,
    or none; what it prints is kept to itself. cancelled: ends it, from another thread. Raises ScriptError where there
    is no such script.
    """
    script.check()
    with tempfile.TemporaryDirectory(prefix="unstick-") as folder:
        spec = Spec(script, steps, seed, budget, experiments, keep_going, folder, trial, remedy)
        return _finished(spec, advance, cancelled or Event())


def _finished(spec: Spec, advance: Callable[[int], None] | None, cancelled: Event) -> Run:
    file = Path(spec.folder, "spec")
    file.write_bytes(pickle.dumps(spec))
    # -P: what lies in the current directory is nothing to import, unless the script's own start makes it so.
    command = [sys.executable, "-P", "-m", "unstick.script.child", str(file)]
    # At a terminal Ctrl-C reaches both, and the script may read what is typed.
    together = not spec.trial and sys.stdin is not None and sys.stdin.isatty()
    with open(os.devnull if not spec.trial else spec.printed_file, "w") as printed:
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": printed, "stderr": subprocess.STDOUT}
        # One thread each: so many trials run side by side, and their numbers do not depend on how many.
        own = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, **quiet} if spec.trial else {}
        process = subprocess.Popen(command, cwd=spec.script.folder, start_new_session=not together, **own)
    try:
        return _Wait(process, spec, not together, advance, cancelled).over()
    finally:
        _kill(process, group=not together)


class _Wait:
    """Waiting for one process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        spec: Spec,
        apart: bool,
        advance: Callable[[int], None] | None,
        cancelled: Event,
    ) -> None:
        self._process, self._spec, self._apart, self._advance = process, spec, apart, advance
        self._cancelled = cancelled
        self._started = time.perf_counter()
        self._patience = float("inf")  # until when a process that was asked to end may take
        self._late = self._interrupted = False

    def over(self) -> Run:
        while time.perf_counter() < self._patience and not self._cancelled.is_set():
            try:
                self._process.wait(POLL)
                break
            except subprocess.TimeoutExpired:
                self._look()
            except KeyboardInterrupt:
                if self._interrupted:
                    break
                self._interrupted = True
                self._end(signal.SIGINT if self._apart else None)
        _kill(self._process, group=self._apart)
        status = self._process.wait()
        printed = self._spec.printed_file.read_text(errors="replace") if self._spec.trial else ""
        return Run(self._outcome(), status, self._late, self._interrupted, printed)

    def _look(self) -> None:
        steps = self._steps()
        if self._advance is not None:
            self._advance(steps)
        spec, taken = self._spec, time.perf_counter() - self._started
        limit = spec.budget if not steps else spec.budget + spec.experiments + GRACE
        if taken > limit and not self._late and not (steps and spec.keep_going):
            self._late = True
            self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals | None) -> None:
        self._patience = time.perf_counter() + GRACE
        if how is not None:
            self._process.send_signal(how)

    def _steps(self) -> int:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self._spec.steps_file.read_text())
        return 0

    def _outcome(self) -> Outcome | None:
        with contextlib.suppress(FileNotFoundError):
            outcome: Outcome = pickle.loads(self._spec.outcome_file.read_bytes())
            return outcome
        return None


def _kill(process: subprocess.Popen[bytes], group: bool) -> None:
    """The process, and with its group whatever it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group and hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        elif process.poll() is None:
            process.kill()
