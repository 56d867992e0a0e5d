"""Trials on a Ray cluster. The one file that imports Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import cloudpickle

from ..errors import UnstickError
from . import limit
from .engines import Engine, Lost, Task

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # it would print to standard output that a process has died

try:
    import ray
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
except ImportError as error:
    raise UnstickError('the engine ray needs Ray: pip install "unstick[ray]"') from error

ATTEMPTS = 3
"""How often a run is begun before it is given up. A node that was taken away is no fault of the run; a run that ends
three processes is."""
WINDOW = 1000
"""Jobs that Ray holds at once: enough to keep as many workers busy, and few enough to look through for each result."""
GRACE = 5.0  # seconds, in which runs that are no longer wanted may end what they have started


class RayEngine(Engine):
    """Jobs go wherever Ray has a core free, and a share of a GPU where one is asked for.

    What a node did that dies is done again elsewhere. address: of the cluster, as in `ray_address`; a Ray that the
    caller has started is used as it is, and left running. Raises UnstickError where there is no such cluster, where it
    has no such GPU, or where the task cannot be sent.
    """

    def __init__(self, task: Task, address: str | None = None, gpus: float = 0.0) -> None:
        try:
            packed = cloudpickle.dumps(task)
        except Exception as error:  # whatever the user's objects raise when they are pickled
            raise UnstickError(f"The case cannot be sent to other machines: {str(error).splitlines()[0]}") from error
        self._pending: dict[ray.ObjectRef[Any], int] = {}
        self._started = not ray.is_initialized()
        if self._started:
            _connect(address)
        if gpus > ray.cluster_resources().get("GPU", 0.0):
            self.close()
            raise UnstickError(f"gpus={gpus:g}: Ray's cluster has no such GPU; leave it out, or start nodes that have.")
        self._task = [ray.put(packed)]  # in a list, so that Ray does not send the task itself along with each job
        self._work = _work.options(num_cpus=1, num_gpus=gpus)

    def run(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        waiting = iter(enumerate(jobs))
        while True:
            for index, job in islice(waiting, WINDOW - len(self._pending)):
                self._pending[self._work.remote(self._task, job)] = index
            if not self._pending:
                return
            (done, *_), _ = ray.wait(list(self._pending))
            yield self._pending.pop(done), _result(done)

    def close(self) -> None:
        for job in self._pending:
            ray.cancel(job)
        if self._pending:
            ray.wait(list(self._pending), num_returns=len(self._pending), timeout=GRACE)
            self._pending.clear()
        if self._started:
            ray.shutdown()


def _connect(address: str | None) -> None:
    try:
        with _signals_kept():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        where = f" at {address}" if address else ""
        raise UnstickError(f"Ray's cluster{where} cannot be reached: {reason}") from error


def _result(done: ray.ObjectRef[Any]) -> Any:
    try:
        return ray.get(done)
    except RayTaskError as error:  # raised by the task itself
        raise error.cause from None
    except OutOfMemoryError:
        return Lost(f"its node was out of memory, each of the {ATTEMPTS} times that it was begun")
    except RayError as error:
        return Lost(f"what ran it died, each of the {ATTEMPTS} times that it was begun ({type(error).__name__})")


_tasks: dict[str, Task] = {}
"""The task that this process has unpacked, by the name of the object that it came in."""


def _do(packed: list[ray.ObjectRef[bytes]], job: Any) -> Any:
    limit.expendable = True
    name = packed[0].hex()
    if name not in _tasks:
        _tasks.clear()
        _tasks[name] = cloudpickle.loads(ray.get(packed[0]))
    return _tasks[name](job)


_work = ray.remote(max_retries=ATTEMPTS - 1)(_do)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray would end this process on SIGTERM, where a command ends with a report."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
