"""The process in which a script runs, watched: `python -P -m unstick.script.child SPEC`.

The script is `__main__`, with its own arguments and working directory, as if it had been started by itself.
"""

from __future__ import annotations

import io
import os
import pickle
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from ..errors import NotApplicable
from ..remedies import parse
from ..state import seed_everything
from ..trace.source import describe
from .change import Change
from .conclude import conclude
from .scratch import redirect_writes
from .seeds import shift_seeds
from .spec import Outcome, Script, Spec
from .watch import Enough, Watcher

INTERRUPTED = 130
SELDOM = 0.25  # seconds; whoever waits shows it on a progress bar


class Run:
    """One run of a script."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # then all have to end at the same step
        self._change = Change(None if spec.remedy is None else parse(spec.remedy), spec.seed) if spec.trial else None
        self._watcher = Watcher(
            steps=spec.steps,
            change=self._change,
            keep_going=spec.keep_going,
            deadline=float("inf") if several else time.perf_counter() + spec.budget,
            on_step=self._stepped,
        )
        self._told = 0.0
        self._processes = 0
        self._error: str | None = None
        self._refused: str | None = None
        self._reported = False

    def __call__(self) -> int:
        """The exit status. What the script raises is printed as Python prints it, without frames of ours."""
        if self._spec.trial:
            redirect_writes(Path(self._spec.folder))
        if self._spec.seed:
            shift_seeds(self._spec.seed)
        else:
            seed_everything(0)  # what the script seeds itself is as it was
        signal.signal(signal.SIGTERM, _asked_to_end)
        with self._watching():
            status = self._script()
        self._report(status)
        return status

    @contextmanager
    def _watching(self) -> Iterator[None]:
        here, leave, start = os.getpid(), os._exit, BaseProcess.start

        def leave_with_report(status: int) -> NoReturn:
            if os.getpid() == here:
                self._report(status, quick=True)
            leave(status)

        def count(process: Any) -> None:
            self._processes += 1
            start(process)

        os._exit = leave_with_report
        BaseProcess.start = count  # type: ignore[assignment,method-assign]
        try:
            with self._watcher.watching():
                yield
        finally:
            os._exit, BaseProcess.start = leave, start  # type: ignore[method-assign]

    def _stepped(self, steps: int) -> None:
        """Say how far it is: the first step at once, later ones seldom, since to write a file takes up to 2 ms."""
        if (now := time.perf_counter()) - self._told >= SELDOM or steps == 1:
            self._told = now
            _write(self._spec.steps_file, str(steps).encode())

    def _script(self) -> int:
        try:
            run_as_main(self._spec.script)
        except Enough:
            return 0
        except NotApplicable as error:
            self._refused = str(error)
            return 1
        except SystemExit as error:
            return _status(error)
        except KeyboardInterrupt:
            return INTERRUPTED
        except BaseException as error:
            self._error = describe(error)
            sys.excepthook(type(error), error, _without_ours(error.__traceback__))
            return 1
        return 0

    def _report(self, status: int, quick: bool = False) -> None:
        """Write down what was seen, once. quick: the process is about to end, so there is no time for experiments."""
        if self._reported:
            return
        self._reported = True
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        watcher = self._watcher
        strands = [s for s in watcher.strands if s.traces]
        seen = []
        for strand in strands:
            strand.settle()
            rival = any(strand.rivals(other) for other in strands if other is not strand)
            hurry = quick or status == INTERRUPTED
            deadline = None if hurry or not self._spec.experiments else time.perf_counter() + self._spec.experiments
            seen.append(conclude(strand, self._spec.script.title, rival=rival, change=self._change, deadline=deadline))
        outcome = Outcome(
            seen=tuple(seen),
            status=status,
            ended=watcher.done and not self._spec.keep_going,
            steps=max((s.count for s in watcher.strands), default=0),
            backwards=watcher.backwards,
            optimizers=watcher.optimizers,
            processes=self._processes,
            error=self._error,
            refused=self._refused,
        )
        _write(self._spec.outcome_file, pickle.dumps(outcome))


def run_as_main(script: Script) -> None:
    """Run a script the way the interpreter does."""
    sys.argv = [script.path, *script.arguments]
    if script.module:
        sys.path.insert(0, os.getcwd())
        runpy.run_module(script.path, run_name="__main__", alter_sys=True)
        return
    path = os.path.abspath(script.path)
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    main = ModuleType("__main__")
    main.__file__, main.__loader__ = path, SourceFileLoader("__main__", path)
    vars(main)["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, vars(main))


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing, as others see it."""
    part = file.with_suffix(".part")
    part.write_bytes(content)
    part.replace(file)


def _asked_to_end(*_: Any) -> NoReturn:
    raise Enough(0)


def _status(error: SystemExit) -> int:
    """As the interpreter makes one of what `sys.exit` was given."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    print(error.code, file=sys.stderr)
    return 1


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """From the first frame of the script's own on."""
    ours = {__file__, runpy.__file__, "<frozen runpy>"}
    while trace is not None and trace.tb_frame.f_code.co_filename in ours:
        trace = trace.tb_next
    return trace


if __name__ == "__main__":
    run: Callable[[], int] = Run(pickle.loads(Path(sys.argv[1]).read_bytes()))
    sys.exit(run())
