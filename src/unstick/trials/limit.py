"""A limit for work that may hang, which nobody who waits for it can end from outside."""

from __future__ import annotations

import faulthandler
import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 10.0  # seconds

expendable = False
"""Whether this process may be ended for the sake of a limit: those that an engine has started may, the user's never."""


class Hung(BaseException):
    """Raised inside of what is limited; the user's `except Exception` does not stop it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Hung inside after so many seconds; infinity is no limit.

    That reaches whatever runs Python or waits for something. Where it does not, since a library is stuck, an expendable
    process ends after some seconds more. Off the main thread, and on Windows, there is no limit.
    """
    reachable = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGALRM")
    if seconds == math.inf or not reachable:
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    if expendable:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=_NOWHERE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if expendable:
            faulthandler.cancel_dump_traceback_later()


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Hung


_NOWHERE = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
