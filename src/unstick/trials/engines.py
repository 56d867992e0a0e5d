"""Where trials run: here, or in processes of this machine; `ray.py` is for a cluster. Another engine needs `run`,
`close`, and no more."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cloudpickle
from loky import wait
from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from ..errors import UnstickError
from . import limit

Task = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Lost:
    """A job that gave no result, and why."""

    reason: str


class Engine(ABC):
    """Applies one task to many jobs.

    notes: what a reader of the results should know of how they came about.
    """

    notes: tuple[str, ...] = ()

    @abstractmethod
    def run(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yields (index, result) for each job, in any order; the result is `Lost` where its process died."""

    @abstractmethod
    def close(self) -> None:
        """Ends whatever is still running. Safe to call twice."""


def ray_address(engine: str) -> str | None:
    """ "ray": None, which is RAY_ADDRESS, or this machine's own cluster, or a new one; "ray:HOST:PORT"; "ray://HOST:PORT".

    Raises UnstickError for anything else.
    """
    if engine == "ray":
        return None
    if engine.startswith("ray://"):
        return engine
    name, _, address = engine.partition(":")
    if name == "ray" and address:
        return address
    raise UnstickError(f"there is no engine {engine!r}: choose local, ray, or ray:ADDRESS.")


class InProcess(Engine):
    """One job after the other, in this process."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def run(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for index, job in enumerate(jobs):
            yield index, self._task(job)

    def close(self) -> None:
        pass


class Threads(Engine):
    """Several jobs at a time, each waited for by a thread, of a task that starts a process of its own for each.

    cancel: ends what is running.
    """

    def __init__(self, task: Task, cancel: Callable[[], None], workers: int) -> None:
        self._task, self._cancel = task, cancel
        self._pool = ThreadPoolExecutor(workers)

    def run(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        indices = {self._pool.submit(self._task, job): index for index, job in enumerate(jobs)}
        for future in futures.as_completed(indices):
            yield indices[future], future.result()

    def close(self) -> None:
        self._cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)


class LocalEngine(Engine):
    """Several processes on this machine, each of which gets the task once and then only small jobs.

    The processes start at once, and stay for all calls of `run`. They ignore Ctrl-C, which is for the parent to handle.
    Lambdas and local functions can be sent to them; a task that cannot is done in this process, with a note.
    """

    def __init__(self, task: Task, workers: int) -> None:
        self._task = task
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        try:
            self._packed: bytes = cloudpickle.dumps(task)
        except Exception as error:  # whatever the user's objects raise when they are pickled
            self._give_up(error)
        else:
            self._start()

    def run(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        if self._pool is not None and (error := self._ready.exception()) is not None:
            self._give_up(error)
        if self._pool is None:
            yield from InProcess(self._task).run(jobs)
            return
        waiting = deque(enumerate(jobs))
        running: dict[Future[Any], tuple[int, Any]] = {}
        while waiting or running:
            while waiting and len(running) < self._workers:
                index, job = waiting.popleft()
                running[self._submit(job)] = index, job
            for future in wait(running, return_when=futures.FIRST_COMPLETED).done:  # an interrupt loses only what runs
                index, job = running.pop(future)
                try:
                    yield index, future.result()
                except BrokenProcessPool:
                    yield from self._one_by_one([(index, job), *running.values()])
                    running.clear()
                    break

    def close(self) -> None:
        if self._pool is not None:
            with _interrupts_ignored():  # who presses Ctrl-C twice must not leave processes behind
                self._pool.shutdown(wait=True, kill_workers=True)

    def _one_by_one(self, suspects: Sequence[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """After a process died, the job that killed it is found by running those that ran then each for itself.

        Where none of them did, so many at once were more than the memory holds.
        """
        self._start()
        died = False
        for index, job in suspects:
            try:
                result = self._submit(job).result()
            except BrokenProcessPool as error:
                self._start()
                died = True
                result = Lost(_death(error))
            yield index, result
        if not died:
            self._workers = max(1, self._workers // 2)
            self._start()

    def _start(self) -> None:
        self.close()
        self._pool = ProcessPoolExecutor(self._workers, initializer=_receive, initargs=(self._packed,))
        with _interrupts_ignored():
            self._ready: Future[None] = self._pool.submit(_unpack)

    def _submit(self, job: Any) -> Future[Any]:
        assert self._pool is not None
        with _interrupts_ignored():
            future: Future[Any] = self._pool.submit(_work, job)
        return future

    def _give_up(self, error: BaseException) -> None:
        self.close()
        self._pool = None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        self.notes = (f"The case cannot be sent to other processes ({reason}), so the trials ran one after the other.",)


_packed: bytes = b""
_task: Task | None = None


def _receive(packed: bytes) -> None:
    """Runs first in each process. Unpacking is left to the first job, whose failure can be reported."""
    global _packed
    limit.expendable = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _packed = packed


def _end_with(parent: int) -> None:
    """Ends this process once its parent is gone: one that was killed cannot end its own."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _unpack() -> None:
    global _task
    if _task is None:
        _task = cloudpickle.loads(_packed)


def _work(job: Any) -> Any:
    _unpack()
    assert _task is not None
    return _task(job)


def _death(error: BrokenProcessPool) -> str:
    """loky names how its processes ended: {SIGSEGV(-11)}."""
    codes = re.search(r"\{(.*)\}", str(error))
    how = codes[1] if codes else ""
    if "SIGKILL" in how:
        return "the process that ran it died, killed from outside, perhaps for want of memory"
    return f"the process that ran it died{f' ({how})' if how else ''}"


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """While processes start: they inherit it, so that Ctrl-C never kills one half-born, with a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
