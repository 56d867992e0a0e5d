"""What every command does around its work: its options, its errors in one line, its exit status."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from ..errors import UnstickError
from .options import options
from .output import Output

OK, FOUND, WRONG, BROKEN, INTERRUPTED = 0, 1, 2, 70, 130
"""Exit status. BROKEN, a fault of this program, is EX_SOFTWARE of sysexits.h."""

ALWAYS = ("quiet", "no-color", "debug")
SHOWN = ("json_file", "html_file", "quiet", "no_color")


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
            shown["html_file"] = shown.get("html_file") or html_file
            return _guard(lambda: body(Output.checked(**shown), **arguments), debug)

        return group.command(name=name or body.__name__)(options(*names, *ALWAYS)(guarded))

    return decorate


def run(group: click.Group, arguments: list[str] | None) -> int:
    """Runs `group` and turns whatever comes of it into an exit status. A reader that went away is no error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character gets a ?, not an exception
    try:
        status = group.main(arguments, prog_name="unstick", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "unstick"
        return _wrong(f"{error.format_message().rstrip('.')}. See '{path} --help'.")
    except click.ClickException as error:
        return _wrong(error.format_message())
    except click.Abort:
        return _interrupted()
    except BrokenPipeError:
        sys.stdout = None  # so that nothing is flushed to it at exit
        return OK
    return status if isinstance(status, int) else OK


def _guard(work: Callable[[], int], debug: bool) -> int:
    try:
        return work()
    except UnstickError as error:
        if debug:
            traceback.print_exc()
        return _wrong(str(error))
    except KeyboardInterrupt:
        return _interrupted()
    except (click.ClickException, BrokenPipeError):
        raise
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _broken(error)


def _wrong(message: str) -> int:
    _say(message)
    return WRONG


def _interrupted() -> int:
    _say("interrupted")
    return INTERRUPTED


def _broken(error: Exception) -> int:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename}:{frame.lineno}"
    _say(f"a bug in unstick: {type(error).__name__}: {error} ({where}). Please report it; --debug shows the traceback.")
    return BROKEN


def _say(message: str) -> None:
    click.echo(f"unstick: {' '.join(message.split())}", err=True)
