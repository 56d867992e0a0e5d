"""The process in which a script runs, watched. `launch.py` starts it.

The script is `__main__`, with its own arguments and working directory, as if it had been started by itself.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

from torch.utils.data._utils.worker import _worker_loop as loads_data

from ..errors import NotApplicable
from ..observation import Observation
from ..remedies import parse
from ..state import seed_everything
from ..trace.source import describe
from .change import Change
from .conclude import conclude
from .failure import Bug, is_bug, without_ours
from .scratch import redirect_writes
from .seeds import shift_seeds
from .spec import Outcome, Spec
from .start import NoSuchModule, run_as_main
from .strand import Strand
from .watch import Enough, Watcher

INTERRUPTED = 130
SELDOM = 0.25  # seconds; whoever waits shows it on a progress bar
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


class Run:
    """One run of a script. early: the modules that every process has loaded when it starts."""

    def __init__(self, spec: Spec, early: frozenset[str]) -> None:
        self._spec, self._early = spec, early
        self._pid = os.getpid()
        self._leave = os._exit
        remedy = None if spec.remedy is None else parse(spec.remedy)
        self._change = Change(remedy, spec.seed) if spec.trial else None
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # then all have to end at the same step
        self._watcher = Watcher(
            steps=spec.steps,
            change=self._change,
            keep_going=spec.keep_going,
            deadline=float("inf") if several else time.perf_counter() + spec.budget,
            on_step=self._tell,
            leave=self._leave_at_once,
        )
        self._told = 0.0
        self._processes = 0
        self._error: str | None = None
        self._refused: str | None = None
        self._bug: Bug | None = None
        self._running = self._asked = self._reported = self._hurried = False

    def __call__(self) -> int:
        """The exit status. What the script raises is printed as Python prints it, without frames of ours."""
        if self._spec.trial:
            redirect_writes(Path(self._spec.folder))
        if self._spec.seed:
            shift_seeds(self._spec.seed)
        else:
            seed_everything(0)  # what the script seeds itself is as it was
        signal.signal(signal.SIGTERM, self._asked_to_end)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._tell(0)
        status = INTERRUPTED
        try:
            with self._watching():
                status = self._script()
        except (KeyboardInterrupt, Enough):  # in the moment in which the script had ended
            pass
        if os.getpid() == self._pid:  # rather than one that the script has forked off
            self._report(status)
        return status

    @contextmanager
    def _watching(self) -> Iterator[None]:
        start = BaseProcess.start

        def leave_with_report(status: int) -> NoReturn:
            if os.getpid() == self._pid:
                self._report(status, quick=True)
            self._leave(status)

        def count(process: Any) -> None:
            self._processes += getattr(process, "_target", None) is not loads_data
            start(process)

        os._exit = leave_with_report
        BaseProcess.start = count  # type: ignore[assignment,method-assign]
        try:
            with self._watcher.watching():
                yield
        finally:
            os._exit, BaseProcess.start = self._leave, start  # type: ignore[method-assign]

    def _script(self) -> int:
        """Its exit status."""
        try:
            self._running = True
            try:
                run_as_main(self._spec.script, self._early)
            finally:
                self._running = False
        except Enough:
            return 0
        except (NotApplicable, NoSuchModule) as error:
            self._refused = str(error)
            return 1
        except SystemExit as error:
            return _status(error)
        except KeyboardInterrupt:
            return INTERRUPTED
        except BaseException as error:
            return self._failed(error)
        return 0

    def _failed(self, error: BaseException) -> int:
        if self._asked:  # what it was at, such as talking to another process, has been ended, too
            return 0
        if is_bug(error):
            self._bug = Bug.of(error)
            return 1
        self._error = describe(error)
        without_ours(error)
        sys.excepthook(type(error), error, error.__traceback__)
        return 1

    # -- asked to end ------------------------------------------------------------------------------------------------

    def _asked_to_end(self, number: int, _: Any) -> None:
        """Once, so that the script can close what it has open. Asked again, it has not heeded that, and is left."""
        if os.getpid() != self._pid:  # a process that the script has forked off, and now ends
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self._running:
            if not self._hurried and not self._reported:
                raise KeyboardInterrupt
        elif self._asked:
            self._leave_at_once()
        else:
            self._asked = True
            self._watcher.deadline = 0.0
            if not self._watcher.busy:
                raise Enough(0)

    def _leave_at_once(self) -> NoReturn:
        self._report(0, quick=True)
        self._leave(0)

    # -- what is told ------------------------------------------------------------------------------------------------

    def _tell(self, steps: int) -> None:
        """How far it is: that it begins and its first step at once, later ones seldom, since to write a file takes up
        to 2 ms."""
        if (now := time.perf_counter()) - self._told >= SELDOM or steps <= 1:
            self._told = now
            _write(self._spec.steps_file, str(steps).encode())

    def _report(self, status: int, quick: bool = False) -> None:
        """Write down what was seen, once. quick: the process is about to end, so there is no time for experiments."""
        if self._reported:
            return
        self._running = False
        self._watcher.close()
        _write(self._spec.concluding_file, b"")
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        seen: tuple[Observation, ...] = ()
        try:
            seen = self._seen(hurry=quick or status == INTERRUPTED)
        except Exception as error:
            self._bug = self._bug or Bug.of(error)
        watcher = self._watcher
        if watcher.fault is not None and not seen:
            self._bug = self._bug or Bug.of(watcher.fault)
        outcome = Outcome(
            seen=seen,
            status=status,
            ended=self._asked or (watcher.done and not self._spec.keep_going),
            steps=watcher.stepped,
            backwards=watcher.backwards,
            optimizers=watcher.optimizers,
            processes=self._processes,
            error=self._error,
            refused=self._refused,
            bug=self._bug,
        )
        _write(self._spec.outcome_file, pickle.dumps(outcome))
        self._reported = True

    def _seen(self, hurry: bool) -> tuple[Observation, ...]:
        """Who interrupts this wants to have it as it is."""
        strands = [s for s in self._watcher.strands if s.traces]
        for strand in strands:
            strand.settle()
        if not hurry:
            try:
                return self._concluded(strands, time.perf_counter() + self._spec.experiments)
            except KeyboardInterrupt:
                pass
        self._hurried = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return self._concluded(strands, None)

    def _concluded(self, strands: Sequence[Strand], deadline: float | None) -> tuple[Observation, ...]:
        return tuple(
            conclude(
                strand,
                self._spec.script.title,
                rival=any(strand.rivals(other) for other in strands if other is not strand),
                change=self._change,
                deadline=deadline if self._spec.experiments else None,
            )
            for strand in strands
        )


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing, as others see it."""
    part = file.with_suffix(".part")
    part.write_bytes(content)
    part.replace(file)


def _status(error: SystemExit) -> int:
    """As the interpreter makes one of what `sys.exit` was given."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    print(error.code, file=sys.stderr)
    return 1


def _die_with_parent() -> None:
    """Who kills unstick outright has no training left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(file: str, early: frozenset[str]) -> NoReturn:
    """Run what the spec in `file` says. early: as in `Run`."""
    _die_with_parent()
    sys.exit(Run(pickle.loads(Path(file).read_bytes()), early)())
