"""The options that commands share, each said once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _seconds(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (0.0 < value < math.inf):
        raise click.BadParameter(f"{value:g} is not a number of seconds above 0.", context, parameter)
    return value


OPTIONS: dict[str, Decorator] = {
    "target": click.option("--target", metavar="TARGET", help="The case to judge, instead of the question's own."),
    "ask": click.option(
        "--ask", is_flag=True, help="Ask for your answer first, such as 2,3; then measure and compare."
    ),
    "json": click.option("--json", "json_file", metavar="FILE", help="Write JSON; - is standard output, alone."),
    "html": click.option("--html", "html_file", metavar="FILE", help="Write an HTML page."),
    "steps": click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Training steps of each run."),
    "seeds": click.option("--seeds", type=click.IntRange(min=2), metavar="N", help="Runs of each change, at least 2."),
    "seed": click.option(
        "--seed", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N", help="Of the first run.  [default: 0]"
    ),
    "budget": click.option("--budget", type=float, callback=_seconds, metavar="SECONDS", help="Time for everything."),
    "workers": click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes to run in."),
    "device": click.option("--device", metavar="DEVICE", help="Where to train: cpu, cuda, cuda:1, mps ..."),
    "quiet": click.option("--quiet", is_flag=True, help="Show the result and nothing else: no progress, no notes."),
    "no-color": click.option("--no-color", is_flag=True, help="No colours; so does the variable NO_COLOR."),
    "debug": click.option("--debug", is_flag=True, help="Show the traceback of an error."),
}


def options(*names: str) -> Decorator:
    """Adds the named options, in this order in the help."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            function = OPTIONS[name](function)
        return function

    return decorate
