"""Small pieces that every report is drawn with. Names from the user's code are always literal text, never markup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..style import ASCII_BARS, BARS, Style, spelled

Blocks = Iterator[RenderableType]


@dataclass(frozen=True)
class Pen:
    """Draws for one console. width: in characters."""

    ascii_only: bool
    width: int

    def text(self, words: str, style: str = "") -> Text:
        return Text(spelled(words, self.ascii_only), style=style)

    def labelled(self, style: Style, *words: str | tuple[str, str]) -> Text:
        """A sign, then pieces of text, each with a style of its own or none."""
        line = Text()
        line.append(style.sign(self.ascii_only), f"bold {style.colour}")
        line.append(" ")
        for piece in words:
            line.append_text(self.text(piece) if isinstance(piece, str) else self.text(*piece))
        return line

    def heading(self, words: str) -> Text:
        return self.text(words, "bold")

    def chapter(self, words: str) -> Text:
        """A heading with a line under it."""
        return self.text(f"{words}\n{('-' if self.ascii_only else '═') * min(len(words), self.width)}", "bold")

    def indented(self, content: RenderableType, columns: int = 2) -> Padding:
        return Padding(content, (0, 0, 0, columns))

    def pairs(self, rows: Iterable[tuple[str, str]]) -> RenderableType:
        """Names in a dim column, what they stand for beside them."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", overflow="fold")
        grid.add_column(overflow="fold")
        for name, value in rows:
            grid.add_row(self.text(name), self.text(value))
        return self.indented(grid)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
        """Columns with a line under their names."""
        table = Table(box=box.ASCII2 if self.ascii_only else box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(self.text(column), overflow="fold")
        for row in rows:
            table.add_row(*(self.text(cell) if isinstance(cell, str) else cell for cell in row))
        return table

    def strip(self, values: Sequence[float | None], columns: int, least: float) -> Text:
        """One character for each value, or for each few values where there are more than `columns`: low to high.

        The highest bar stands `least` or more above the lowest, so that what hardly differs looks alike. None, which
        stands for a number that was zero or not finite, is drawn as a blank.
        """
        bars = ASCII_BARS if self.ascii_only else BARS
        known = [value for value in values if value is not None]
        low, high = min(known, default=0.0), max(known, default=0.0)
        scale = (len(bars) - 1) / max(high - low, least)
        cells = (_middle(group) for group in _groups(values, columns))
        return Text("".join(" " if cell is None else bars[round((cell - low) * scale)] for cell in cells), style="cyan")

    def bar(self, share: float, columns: int, colour: str) -> Text:
        """A share between 0 and 1 as a bar."""
        return Text(("#" if self.ascii_only else "█") * round(min(max(share, 0.0), 1.0) * columns), style=colour)


def _groups(values: Sequence[float | None], columns: int) -> Iterator[Sequence[float | None]]:
    """The values in order, in at most `columns` groups whose sizes differ by at most one."""
    count = min(len(values), columns)
    for i in range(count):
        yield values[i * len(values) // count : (i + 1) * len(values) // count]


def _middle(group: Sequence[float | None]) -> float | None:
    known = sorted(value for value in group if value is not None)
    return known[len(known) // 2] if known else None
