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
from typing import IO, Any

from .spec import Outcome, Script, Spec

POLL = 0.05  # seconds
GRACE = 15.0  # seconds, in which a script that was asked to end may close what it has open


@dataclass(frozen=True)
class Run:
    """What became of a run. outcome: None where the process wrote none. status: of the process, negative for a signal.
    late: it was ended since its time was up. interrupted: by the user."""

    outcome: Outcome | None
    status: int
    late: bool
    interrupted: bool


def run(
    script: Script,
    *,
    steps: int | None,
    seed: int,
    budget: float,
    experiments: float,
    keep_going: bool = False,
    out: IO[Any] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Run:
    """Run `script`, watched.

    budget: seconds in which it has to make its first step, and to end, unless it is to keep going. experiments: seconds
    more for what is tried on copies. out: where what it prints goes, None for where ours goes. advance: called with the
    number of steps it has made. Raises ScriptError where there is no such script.
    """
    script.check()
    with tempfile.TemporaryDirectory(prefix="unstick-") as folder:
        spec = Spec(script, steps, seed, budget, experiments, keep_going, folder)
        return _finished(spec, out, advance)


def _finished(spec: Spec, out: IO[Any] | None, advance: Callable[[int], None] | None) -> Run:
    file = Path(spec.folder, "spec")
    file.write_bytes(pickle.dumps(spec))
    # -P: what lies in the current directory is nothing to import, unless the script's own start makes it so.
    command = [sys.executable, "-P", "-m", "unstick.script.child", str(file)]
    together = sys.stdin is not None and sys.stdin.isatty()  # Ctrl-C reaches both, and the script may read from us
    process = subprocess.Popen(command, stdout=out, start_new_session=not together)
    try:
        return _Wait(process, spec, not together, advance).over()
    finally:
        _kill(process, group=not together)


class _Wait:
    """Waiting for one process."""

    def __init__(
        self, process: subprocess.Popen[bytes], spec: Spec, apart: bool, advance: Callable[[int], None] | None
    ) -> None:
        self._process, self._spec, self._apart, self._advance = process, spec, apart, advance
        self._started = time.perf_counter()
        self._patience = float("inf")  # until when a process that was asked to end may take
        self._late = self._interrupted = False

    def over(self) -> Run:
        while time.perf_counter() < self._patience:
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
        return Run(self._outcome(), status, self._late, self._interrupted)

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
