from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from unstick.trials import limit
from unstick.trials.engines import InProcess, LocalEngine, Lost


@pytest.fixture
def pool():
    """Two processes; jobs below zero kill the one that they run in."""
    offset = 10  # a closure, which plain pickle cannot send

    def task(job):
        if job < 0:
            os._exit(1)
        return job + offset, os.getpid()

    engine = LocalEngine(task, 2)
    yield engine
    engine.close()


def test_in_process_keeps_the_order():
    assert list(InProcess(lambda job: -job).run([3, 1, 2])) == [(0, -3), (1, -1), (2, -2)]


def test_processes_take_closures_and_are_kept_for_the_next_run(pool):
    first = dict(pool.run([1, 2, 3, 4]))
    second = dict(pool.run([5]))
    assert {i: value for i, (value, _) in first.items()} == {0: 11, 1: 12, 2: 13, 3: 14}
    assert second[0][0] == 15
    assert second[0][1] != os.getpid()
    assert second[0][1] in pool._pool._processes
    assert not pool.notes


def test_a_process_that_dies_is_a_result_and_the_others_go_on(pool):
    results = dict(pool.run([1, -1, 2]))
    assert isinstance(results[1], Lost)
    assert "died" in results[1].reason
    assert [results[i][0] for i in (0, 2)] == [11, 12]
    assert dict(pool.run([7]))[0][0] == 17


def test_what_cannot_be_pickled_runs_here_with_a_note():
    lock = threading.Lock()

    def task(job):
        with lock:
            return job, os.getpid()

    engine = LocalEngine(task, 2)
    assert dict(engine.run([1])) == {0: (1, os.getpid())}
    assert "cannot be sent to other processes" in engine.notes[0]
    engine.close()


class Unopenable:
    """Can be packed, but not unpacked anywhere."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise OSError("it stays closed")


def test_what_cannot_be_unpickled_runs_here_with_a_note():
    held = Unopenable()
    engine = LocalEngine(lambda job: (job, held is None), 2)
    assert dict(engine.run([1])) == {0: (1, False)}
    assert engine.notes
    engine.close()


def test_closing_twice_is_fine_and_ends_the_processes(pool):
    processes = list(pool._pool._processes.values())
    assert len(processes) == 2
    pool.close()
    pool.close()
    assert not any(process.is_alive() for process in processes)


def test_work_that_hangs_or_wants_too_much_memory_is_found_among_the_others():
    """In a process of its own, one that Python cannot interrupt is ended with it."""

    def task(job):
        if job == "stuck":
            limit.GRACE = 0.0
            with limit.limited(0.1):
                mutex = ctypes.create_string_buffer(256)
                for _ in range(2):  # the second time for ever
                    ctypes.PyDLL(None).pthread_mutex_lock(mutex)
        if job == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return job

    engine = LocalEngine(task, 2)
    results = dict(engine.run(["a", "stuck", "b", "killed", "c"]))
    engine.close()
    assert [results[i] for i in (0, 2, 4)] == ["a", "b", "c"]
    assert results[1] == Lost("the process that ran it died (EXIT(1))")
    assert "want of memory" in results[3].reason
    assert engine._workers == 2


def test_where_only_all_together_are_too_much_fewer_run_at_once(tmp_path):
    def task(job):
        """Ends the first process that comes here, as a machine without memory ends one of several."""
        try:
            (tmp_path / "first").touch(exist_ok=False)
        except FileExistsError:
            return job
        os._exit(1)

    engine = LocalEngine(task, 2)
    assert dict(engine.run([1, 2, 3])) == {0: 1, 1: 2, 2: 3}
    engine.close()
    assert engine._workers == 1


KILLED = """
import os
from unstick.trials.engines import LocalEngine

engine = LocalEngine(lambda job: os.getpid(), 1)
print(dict(engine.run([1]))[0], flush=True)
os.kill(os.getpid(), 9)
"""


def test_processes_end_with_one_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE) as parent:
        worker = os.pidfd_open(int(parent.stdout.readline()))
    assert parent.returncode == -signal.SIGKILL
    assert select.select([worker], [], [], 30.0)[0]
    os.close(worker)
