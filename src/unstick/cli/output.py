"""Where the result of a command goes."""

from __future__ import annotations

import json
import os
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from ..errors import OutputError
from ..report import files, pictures
from ..report.progress import progress
from ..report.types import jsonable

if TYPE_CHECKING:
    from ..report.types import Report
    from ..trials.report import Patched


PICTURES = ("--png", "--svg")


@dataclass(frozen=True)
class Given:
    """What was typed after the program's name. own: up to --; rest: after it, for the user's script."""

    own: tuple[str, ...]
    rest: tuple[str, ...] = ()

    @classmethod
    def now(cls) -> Given:
        """To the command that is running."""
        given = click.get_current_context().obj
        assert isinstance(given, cls)
        return given

    @property
    def command(self) -> str:
        """To be pasted into a shell."""
        return shlex.join(["unstick", *self.own, *(["--", *self.rest] if self.rest else [])])


@dataclass(frozen=True)
class Output:
    """json_file and so on: where to write, None for nowhere. With JSON on standard output there is no other text."""

    json_file: str | None = None
    html_file: str | None = None
    png_file: str | None = None
    svg_file: str | None = None
    patch_file: str | None = None
    quiet: bool = False
    no_color: bool = False

    @classmethod
    def checked(cls, **fields: Any) -> Output:
        """Raises OutputError now rather than after the work."""
        made = cls(**fields)
        for option, name in made._files(printed=True):
            if option != "--json" and name == files.STANDARD_OUTPUT:
                raise OutputError(f"{option} needs the name of a file; only --json can go to standard output.")
        taken: dict[str, str] = {}
        for option, name in made._files():
            if not name:
                raise OutputError(f"{option} needs the name of a file; it was given an empty one.")
            place = os.path.realpath(name)
            if place in taken:
                raise OutputError(f"{taken[place]} and {option} both name {name}; give them different names.")
            taken[place] = option
            (pictures.check if option in PICTURES else files.check)(option, name)
        return made

    @property
    def json_only(self) -> bool:
        return self.json_file == files.STANDARD_OUTPUT

    @contextmanager
    def working(self, options: Mapping[str, Any], bars: bool = True) -> Iterator[dict[str, Any]]:
        """The command's `options` as keyword arguments for the library, with something to show the progress with:
        `bars`, unless somebody else is to write on the screen.

        Until the end, what the user's code prints does not reach standard output if that is to be JSON.
        Raises click.BadParameter for a device that this machine does not have.
        """
        with files.reserved_output() if self.json_only else nullcontext(), progress(self.quiet or not bars) as advance:
            _check_device(options.get("device"))
            yield {**options, "progress": advance}

    def show(self, report: Report) -> int:
        """Print the report and write the files that were asked for; the exit status: 130 if it was interrupted."""
        from .guard import INTERRUPTED, OK

        self.show_document(jsonable({**report.to_dict(), "command": Given.now().command}))
        return INTERRUPTED if getattr(report, "interrupted", False) else OK

    def show_document(self, document: Mapping[str, Any]) -> int:
        """The same for a document; 0. Raises OutputError at the end, for all files that could not be written."""
        if not self.json_only:
            with suppress(BrokenPipeError):  # whoever was reading has seen enough; the files are still wanted
                self._print(document)
        failed = []
        for option, name in self._files(printed=True):
            try:
                with suppress(BrokenPipeError):
                    _write(option, name, document)
            except OutputError as error:  # what was measured may have taken hours, so that the others are written
                failed.append(str(error))
            else:
                if not self.quiet and option != "--write" and name != files.STANDARD_OUTPUT:
                    click.echo(f"written: {name}", err=True)
        if failed:
            raise OutputError(" ".join(failed))
        return 0

    def patch(self, made: Patched) -> Patched:
        """Writes a patch that was verified, and says where."""
        assert self.patch_file is not None
        if not made.verified:
            return made
        files.write("--write", self.patch_file, made.diff)
        return replace(made, file=self.patch_file)

    def note(self, words: str) -> None:
        """Something for the person at the terminal, never for standard output."""
        click.echo(words, err=True)

    def _print(self, document: Mapping[str, Any]) -> None:
        from rich.console import Console

        from ..report.terminal import plain, render

        console = Console(no_color=self.no_color or None, highlight=False)
        if console.is_terminal:
            console.print(render(document))
        else:
            click.echo(plain(document, console.width, console.options.ascii_only))

    def _files(self, printed: bool = False) -> list[tuple[str, str]]:
        """What is to be written where. printed: also to standard output."""
        given = (
            ("--json", self.json_file),
            ("--html", self.html_file),
            ("--png", self.png_file),
            ("--svg", self.svg_file),
            ("--write", self.patch_file),
        )
        return [
            (option, name) for option, name in given if name is not None and (printed or name != files.STANDARD_OUTPUT)
        ]


def _write(option: str, name: str, document: Mapping[str, Any]) -> None:
    """One of the files; not the patch, which is written with what it is made from."""
    if option == "--json":
        files.write(option, name, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    elif option == "--html":
        from ..report.page import page

        files.write(option, name, page(document))
    elif option in PICTURES:
        pictures.write(option, name, document)


def _check_device(name: str | None) -> None:
    if name is None:
        return
    import torch

    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = textwrap.shorten(str(error).split(". ")[0].rstrip("."), 160, placeholder=" ...")
        message = f"{name!r} cannot be used here ({reason}); leave it out for the CPU"
        raise click.BadParameter(message, click.get_current_context(), param_hint="'--device'") from error
