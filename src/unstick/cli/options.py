"""The options that commands share, each said once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Whole(click.ParamType):  # type: ignore[type-arg]  # click makes it generic from 8.2 on
    """A whole number from `least` to `most`, with a complaint in plain words."""

    name = "whole number"

    def __init__(self, least: int, most: int | None = None) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number", parameter, context)
        if number < self._least:
            self.fail(f"{number} is too small; it must be at least {self._least}", parameter, context)
        if self._most is not None and number > self._most:
            self.fail(f"{number} is too large; it must be at most {self._most}", parameter, context)
        return number


class Share(click.ParamType):  # type: ignore[type-arg]
    """A part of a device, or several: above zero."""

    name = "share"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not 0.0 < share < math.inf:
            self.fail(f"{value} is not a number of GPUs above 0", parameter, context)
        return share


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """A duration above zero."""

    name = "seconds"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0.0 < seconds < math.inf:
            self.fail(f"{value} is not a number of seconds above 0", parameter, context)
        return seconds


OPTIONS: dict[str, Decorator] = {
    "target": click.option("--target", metavar="TARGET", help="The case to judge, instead of the question's own."),
    "ask": click.option(
        "--ask", is_flag=True, help="Ask for your answer first, such as 2,3; then measure and compare."
    ),
    "json": click.option(
        "--json", "json_file", metavar="FILE", help="Write the result as JSON; - prints it, and nothing else."
    ),
    "html": click.option(
        "--html", "html_file", metavar="FILE", help="Write the result as one HTML page with charts, to be sent around."
    ),
    "png": click.option("--png", "png_file", metavar="FILE", help="Write the main charts as a picture."),
    "svg": click.option("--svg", "svg_file", metavar="FILE", help="Write them as a picture that stays sharp."),
    "steps": click.option(
        "--steps", type=Whole(1), metavar="N", help="Steps of each run.  [default: 300; more if batches are tiny]"
    ),
    "seeds": click.option(
        "--seeds",
        type=Whole(2),
        metavar="N",
        help="Runs of each change, each from another random seed.  [default: 3, up to 8 until it is settled]",
    ),
    "seed": click.option(
        "--seed", type=Whole(0, 2**31 - 1), default=0, metavar="N", help="Random seed of the first run.  [default: 0]"
    ),
    "budget": click.option("--budget", type=Seconds(), metavar="SECONDS", help="Time for everything; then stop."),
    "workers": click.option(
        "--workers", type=Whole(1), metavar="N", help="Processes to run in.  [default: as many as the work is worth]"
    ),
    "device": click.option(
        "--device", metavar="DEVICE", help="Where to train: cpu, cuda, cuda:1, mps.  [default: where the model is]"
    ),
    "engine": click.option(
        "--engine",
        default="local",
        metavar="ENGINE",
        help="Where to run: local; ray, a Ray cluster; or ray:ADDRESS.  [default: local]",
    ),
    "gpus": click.option("--gpus", type=Share(), metavar="N", help="GPUs for each run on Ray, such as 1 or 0.25."),
    "resume": click.option(
        "--resume",
        metavar="FOLDER",
        help="Keep finished runs there; go on where it holds some already.  [default: they are not kept]",
    ),
    "module": click.option("-m", "module", is_flag=True, help="TARGET is a module to be run, as in python -m TARGET."),
    "keep-going": click.option(
        "--keep-going", is_flag=True, help="Let a script run to its end, rather than end it when enough was seen."
    ),
    "write": click.option(
        "--write", "patch_file", metavar="PATCH", help="Write the recommended change to a script's source as a patch."
    ),
    "init": click.option(
        "--init",
        metavar="NAME",
        help="Weights: xavier, he, lecun, orthogonal, critical; or normal, with --std.  [default: as PyTorch does]",
    ),
    "std": click.option("--std", type=float, metavar="S", help="Standard deviation of normal weights; needs --width."),
    "depth": click.option(
        "--depth", type=Whole(1, 1000), default=30, metavar="N", help="Hidden layers.  [default: 30]"
    ),
    "width": click.option("--width", type=Whole(1), metavar="N", help="Units in each layer.  [default: very many]"),
    "norm": click.option("--norm", type=click.Choice(["batchnorm", "layernorm"]), help="Normalise in each layer."),
    "side": click.option(
        "--side",
        type=click.Choice(["before", "after"]),
        default="before",
        help="On which side of the activation to normalise.  [default: before]",
    ),
    "batch": click.option(
        "--batch", type=Whole(4), metavar="N", help="Samples that batchnorm normalises over.  [default: very many]"
    ),
    "map": click.option(
        "--map",
        "map_file",
        metavar="FILE",
        help="Draw the trainability map instead, as .png or .svg; needs matplotlib.",
    ),
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
