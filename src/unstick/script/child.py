"""The process in which a script runs, watched: `python -m unstick.script.child SPEC`.

The script is `__main__`, with its own arguments and working directory, as if it had been started by itself.
"""

from __future__ import annotations

import os
import pickle
import runpy
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from ..trace.source import describe
from .conclude import conclude
from .spec import Outcome, Spec
from .watch import Enough, Watcher


def main(file: str) -> int:
    spec: Spec = pickle.loads(Path(file).read_bytes())
    run = Run(spec)
    with run.watching():
        status = run.script()
    run.report(status)
    return status


class Run:
    """One run of the script."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.started = time.perf_counter()
        self.watcher = Watcher(
            steps=spec.steps,
            keep_going=spec.keep_going,
            deadline=self.started + spec.budget,
            on_step=self._advance,
        )
        self.reported = False
        self.error: str | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        leave = os._exit

        def leave_with_report(status: int) -> NoReturn:
            if os.getpid() == pid:
                self.report(status, quick=True)
            leave(status)

        pid = os.getpid()
        os._exit = leave_with_report
        signal.signal(signal.SIGTERM, _end)
        with self.watcher.watching():
            yield
        os._exit = leave

    def script(self) -> int:
        """Its exit status; what it raises is printed as Python prints it, without our own frames."""
        spec = self.spec
        sys.argv = [spec.path, *spec.arguments]
        try:
            if spec.is_module:
                sys.path[0] = os.getcwd()
                runpy.run_module(spec.path, run_name="__main__", alter_sys=True)
            else:
                sys.path[0] = str(Path(spec.path).resolve().parent)
                runpy.run_path(spec.path, run_name="__main__")
        except Enough:
            return 0
        except SystemExit as error:
            return _status(error)
        except BaseException as error:
            self.error = describe(error)
            if not (isinstance(error, KeyboardInterrupt)):
                sys.excepthook(type(error), error, _theirs(error.__traceback__))
            return 130 if isinstance(error, KeyboardInterrupt) else 1
        return 0

    def _advance(self, steps: int) -> None:
        with open(self.spec.steps_file, "w") as file:
            file.write(str(steps))

    def report(self, status: int, quick: bool = False) -> None:
        """Write what was seen, once. quick: the process is about to end, so experiments are left out."""
        if self.reported:
            return
        self.reported = True
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        watcher = self.watcher
        seen = []
        strands = [s for s in watcher.strands if s.traces]
        for strand in strands:
            strand.settle()
            rival = any(strand.rivals(other) for other in strands if other is not strand)
            deadline = None if quick or status == 130 else time.perf_counter() + self.spec.experiments
            seen.append(conclude(strand, self.spec.title, rival=rival, deadline=deadline))
        outcome = Outcome(
            seen=tuple(seen),
            status=status,
            ended=watcher.done and not self.spec.keep_going,
            steps=max((s.count for s in watcher.strands), default=0),
            backwards=watcher.backwards,
            optimizers=watcher.optimizers,
            error=self.error,
        )
        partial = Path(self.spec.outcome_file + ".part")
        partial.write_bytes(pickle.dumps(outcome))
        partial.replace(self.spec.outcome_file)


def _end(*_: Any) -> NoReturn:
    raise Enough(0)


def _status(error: SystemExit) -> int:
    """As the interpreter makes one of what `sys.exit` was given."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    print(error.code, file=sys.stderr)
    return 1


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """From the first frame of the script's own on."""
    here = os.path.dirname(__file__)
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename, here):
        trace = trace.tb_next
    return trace


def _is_ours(filename: str, here: str) -> bool:
    return filename.startswith(here) or filename == "<frozen runpy>" or filename == runpy.__file__


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.exit(status)
