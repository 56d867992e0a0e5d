"""Reports as text in colour. `render` needs nothing but the dictionary, so it can show a JSON file from last week."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from . import answer, comparison, demo, diagnosis, lists, theory, trials
from .pen import Blocks, Pen

Document = Mapping[str, Any]

RENDERERS: dict[str, Callable[[Document, Pen], Blocks]] = {
    "unstick/diagnosis/1": diagnosis.blocks,
    "unstick/trials/1": trials.blocks,
    "unstick/answer/1": answer.blocks,
    "unstick/demo/1": demo.blocks,
    "unstick/comparison/1": comparison.blocks,
    "unstick/theory/1": theory.blocks,
    "unstick/rules/1": lists.rules,
    "unstick/remedies/1": lists.remedies,
}


@dataclass(frozen=True)
class Rendering:
    """A document, drawn when the console is known. ascii_only: None leaves it to the console's encoding."""

    document: Document
    ascii_only: bool | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only = options.ascii_only if self.ascii_only is None else self.ascii_only
        pen = Pen(ascii_only, width=options.max_width)
        yield from RENDERERS[self.document["schema"]](self.document, pen)


def render(document: Document) -> Rendering:
    """The report that a JSON document holds, for `rich.print` or a console. Raises KeyError for an unknown schema."""
    if document["schema"] not in RENDERERS:
        raise KeyError(f"no report has the schema {document['schema']!r}; known: {', '.join(RENDERERS)}")
    return Rendering(document)


def plain(document: Document, width: int = 100, ascii_only: bool = False) -> str:
    """The same as text without colours, and without blanks at the ends of lines."""
    console = Console(
        file=io.StringIO(),
        width=width,
        no_color=True,
        force_terminal=False,
        force_jupyter=False,  # there it would display what is to be returned
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(Rendering(document, ascii_only))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
