from __future__ import annotations

import os
import threading

import pytest

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
