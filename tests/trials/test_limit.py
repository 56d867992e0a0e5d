from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from unstick.trials.limit import Hung, limited


def test_what_waits_for_ever_is_ended():
    with pytest.raises(Hung), limited(0.05):
        threading.Event().wait()


def test_what_computes_for_ever_is_ended_whatever_it_catches():
    def stubborn():
        while True:
            try:
                pass
            except Exception:
                continue

    with pytest.raises(Hung), limited(0.05):
        stubborn()


def test_afterwards_everything_is_as_before():
    before = signal.getsignal(signal.SIGALRM)
    with limited(100.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_infinity_is_no_limit():
    with limited(float("inf")):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_off_the_main_thread_there_is_none():
    done = []

    def work():
        with limited(0.001):
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


STUCK = """
import ctypes
from unstick.trials import limit
limit.expendable, limit.GRACE = True, 0.0
mutex = ctypes.create_string_buffer(256)
with limit.limited(0.05):
    for _ in range(2):  # the second time for ever, and with the interpreter's lock, as a library that is stuck may
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
"""


def test_a_process_that_is_stuck_in_a_library_ends():
    done = subprocess.run([sys.executable, "-c", STUCK], timeout=60, capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")
