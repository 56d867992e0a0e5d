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
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from ..errors import Broken
from .spec import Outcome, Spec

POLL = 0.05  # seconds
GRACE = 5.0  # seconds, in which a script that was asked to end may close what it has open, before it is asked again

ASK = ((os.kill, signal.SIGTERM), (os.killpg, signal.SIGTERM), (os.killpg, signal.SIGKILL))
"""How a process is asked to end, each time more firmly; in the end with all that it has started."""
INTERRUPT = ((os.killpg, signal.SIGINT), *ASK)
"""The same for the user who presses Ctrl-C, which a terminal sends to all that runs there."""

BOOT = """import sys
early = frozenset(sys.modules)
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path.insert(0, {root!r})
import unstick
del sys.path[0]
from unstick.script.child import main
main({file!r}, early)"""
"""What the process runs. Ctrl-C ends it without a word until the script begins; the package is the one that runs here,
wherever that is."""


@dataclass(frozen=True)
class Run:
    """What became of a run. outcome: None where the process wrote none. status: of the process, negative for a signal.
    steps: how many optimizer steps it had told of; None where the script did not begin. late: it was ended since its
    time was up. interrupted: by the user. printed: by a trial."""

    outcome: Outcome | None
    status: int
    steps: int | None
    late: bool
    interrupted: bool
    printed: str


def run(spec: Spec, advance: Callable[[int], None] | None = None, cancelled: Event | None = None) -> Run:
    """Run a script, watched.

    advance: called with the number of steps it has made. cancelled: ends it, from another thread. Raises ScriptError
    where there is no such script, and Broken where this package has failed in it.
    """
    spec.script.check()
    cancelled = cancelled or Event()
    with tempfile.TemporaryDirectory(prefix="unstick-", ignore_cleanup_errors=True) as folder:
        ran = _finished(replace(spec, folder=folder), advance, cancelled)
    if ran.steps is None and not ran.interrupted and not cancelled.is_set():
        what = f"the process for {spec.script.title} ended with status {ran.status} before that began"
        raise Broken(what, ran.printed)
    if ran.outcome is not None and ran.outcome.bug is not None:
        raise Broken(ran.outcome.bug.summary, ran.outcome.bug.traceback)
    return ran


def _finished(spec: Spec, advance: Callable[[int], None] | None, cancelled: Event) -> Run:
    file = Path(spec.folder, "spec")
    file.write_bytes(pickle.dumps(spec))
    command = command_for(file)
    with open(os.devnull if not spec.trial else spec.printed_file, "w") as printed:
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": printed, "stderr": subprocess.STDOUT}
        # One thread each: so many trials run side by side, and their numbers do not depend on how many.
        own = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, **quiet} if spec.trial else {}
        # A session of its own: so Ctrl-C reaches it through here, once, and all that it has started can be found.
        process = subprocess.Popen(command, cwd=spec.script.folder, start_new_session=True, **own)
    try:
        return _Wait(process, spec, advance, cancelled).over()
    finally:
        _kill(process)


def command_for(file: Path) -> list[str]:
    """What starts the process that runs the spec in `file`."""
    # -P: what lies in the current directory is nothing to import, unless the script's own start makes it so.
    return [sys.executable, "-P", "-c", BOOT.format(root=str(Path(__file__).parents[2]), file=str(file))]


class _Wait:
    """Waiting for one process, which is asked to end where that is due."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        spec: Spec,
        advance: Callable[[int], None] | None,
        cancelled: Event,
    ) -> None:
        self._process, self._spec, self._advance = process, spec, advance
        self._cancelled = cancelled
        self._due = float("inf")  # when it is asked to end
        self._requests = iter(ASK)
        self._begun = self._concluding = False
        self._late = self._interrupted = False

    def over(self) -> Run:
        while True:
            try:
                self._wait()
                break
            except KeyboardInterrupt:
                hopeless = self._interrupted or self._spec.trial or not self._begun
                self._interrupted = True
                if hopeless:
                    break
                self._requests = iter(INTERRUPT)
                self._ask()
        _kill(self._process)
        status = self._process.wait()
        printed = self._spec.printed_file.read_text(errors="replace") if self._spec.trial else ""
        return Run(self._outcome(), status, self._steps(), self._late, self._interrupted, printed)

    def _wait(self) -> None:
        while not self._cancelled.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL)
                return
            self._look()

    def _look(self) -> None:
        steps, now = self._steps(), time.perf_counter()
        if steps is None:
            return
        if self._advance is not None:
            self._advance(steps)
        if not self._begun:
            self._begun = True
            self._due = now + self._spec.budget
        if not self._concluding and self._spec.concluding_file.exists():
            self._concluding = True
            self._requests = iter((ASK[0], ASK[-1]))
            self._due = now + GRACE + (0.0 if self._interrupted else self._spec.experiments)
        # Where there are steps, it looks at the clock itself, after each.
        patience = GRACE if steps and not self._late and not self._interrupted else 0.0
        free = self._spec.keep_going and steps and not self._interrupted
        if now > self._due + patience and not free:
            self._late = self._late or not (self._concluding or self._interrupted)
            self._ask()

    def _ask(self) -> None:
        send, number = next(self._requests, ASK[-1])
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            send(self._process.pid, number)
        self._due = time.perf_counter() + GRACE

    def _steps(self) -> int | None:
        """None before the script has begun."""
        with contextlib.suppress(FileNotFoundError):
            return int(self._spec.steps_file.read_text())
        return None

    def _outcome(self) -> Outcome | None:
        with contextlib.suppress(FileNotFoundError):
            outcome: Outcome = pickle.loads(self._spec.outcome_file.read_bytes())
            return outcome
        return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process, and whatever it has started. What tidies up after others (multiprocessing's resource tracker) ends
    by itself once they are gone, and is given a moment for that."""
    process.kill()
    process.wait()
    limit = time.perf_counter() + 1.0
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        while time.perf_counter() < limit:
            os.killpg(process.pid, 0)
            time.sleep(POLL)
        os.killpg(process.pid, signal.SIGKILL)
