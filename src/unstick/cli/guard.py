"""What every command does around its work: its options, its errors in one line, its exit status."""

from __future__ import annotations

import functools
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..errors import Broken, CaseError, ScriptError, UnstickError
from .options import options
from .output import Given, Output

OK, FOUND, WRONG, BROKEN, INTERRUPTED = 0, 1, 2, 70, 130
"""Exit status. BROKEN, a fault of this program, is EX_SOFTWARE of sysexits.h."""

ALWAYS = ("quiet", "no-color", "debug")
SHOWN = ("json_file", "html_file", "png_file", "svg_file", "patch_file", "quiet", "no_color")


def command(
    group: click.Group, *names: str, name: str | None = None, html_file: str | None = None
) -> Callable[..., Any]:
    """Makes a function a command of `group` with the options named; it gets an `Output` and returns an exit status.

    html_file: where to write HTML if the user does not say.
    """

    def decorate(body: Callable[..., int]) -> click.Command:
        @functools.wraps(body)
        def guarded(debug: bool, **arguments: Any) -> int:
            shown = {key: arguments.pop(key) for key in SHOWN if key in arguments}
            if shown.get("html_file") is None:
                shown["html_file"] = html_file
            return _guard(lambda: body(Output.checked(**shown), **arguments), arguments.get("target"), debug)

        return group.command(name=name or body.__name__)(options(*names, *ALWAYS)(guarded))

    return decorate


def run(group: click.Group, given: Given) -> int:
    """Runs `group`, and turns whatever comes of it into an exit status. A reader that went away is no error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character gets a ?, not an exception
    try:
        with _termination_as_interrupt():
            status = group.main(list(given.own), prog_name="unstick", standalone_mode=False, obj=given)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "unstick"
        return _wrong(f"{error.format_message().rstrip('.')}. See '{path} --help'.")
    except click.ClickException as error:
        return _wrong(error.format_message())
    except click.Abort:
        return _interrupted()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None  # so that nothing is flushed to it at exit
    return status if isinstance(status, int) else OK


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM, which `timeout` and cluster schedulers send, acts like Ctrl-C: workers end, what is known stays. So does
    SIGHUP, which comes when the terminal is closed, unless it is ignored (nohup).

    Only the main thread may set this; elsewhere nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in names)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _guard(work: Callable[[], int], target: str | None, debug: bool) -> int:
    """Runs a command. target: what it is about, to be named in errors about the case."""
    try:
        return work()
    except KeyboardInterrupt:
        return _interrupted()
    except (click.ClickException, BrokenPipeError):
        raise
    except (Exception, SystemExit) as error:
        if debug:
            click.echo(error.traceback if isinstance(error, Broken) else traceback.format_exc(), err=True, nl=False)
        if isinstance(error, CaseError) and target:
            return _wrong(f"{target}: {error}")
        if isinstance(error, ScriptError):
            click.echo(error.printed, err=True, nl=False)
        if isinstance(error, UnstickError):
            return _wrong(str(error))
        return (None if isinstance(error, Broken) else _failed(error, target)) or _broken(error)


def _wrong(message: str) -> int:
    _say(message)
    return WRONG


def _interrupted() -> int:
    _say("interrupted")
    return INTERRUPTED


def _failed(error: BaseException, target: str | None) -> int | None:
    """Where the exception came through the user's own code, says so; None where it did not."""
    if "torch" not in sys.modules:  # then none of that code has run
        return None
    from ..case import describe
    from ..trace.source import of_traceback

    if of_traceback(error.__traceback__) is None:
        return None
    return _wrong(
        f"{target or 'the case'} failed while it was running: {describe(error)}. --debug shows the traceback."
    )


def _broken(error: BaseException) -> int:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    here = f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
    what = str(error) if isinstance(error, Broken) else here
    _say(f"a bug in unstick: {what}. Please report it; --debug shows the traceback.")
    return BROKEN


def _say(message: str) -> None:
    click.echo(f"unstick: {' '.join(message.split())}", err=True)
