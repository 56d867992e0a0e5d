"""What the site takes from the code when it is built: docstrings, the rules, the remedies."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterable
from typing import Any

from sphinx.application import Sphinx

from unstick import REMEDIES, RULES


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-docstring", rewrite)
    app.connect("sphinx-click-process-description", align)
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}


def shorten(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> Any:
    """A default that a dataclass makes anew each time is no expression, and would spoil the whole signature."""
    return signature and signature.replace("<factory>", "..."), returns


def rewrite(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings name arguments and fields in running text ("steps: of each run. seed: of the first"). On the site
    these become a list."""
    names = thing.__annotations__ if inspect.isclass(thing) or inspect.isfunction(thing) else ()
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
    lines[:] = [line for text in paragraphs for line in _listed(" ".join(text.split()), names)]


def _listed(text: str, names: Iterable[str]) -> Iterable[str]:
    """A paragraph in reStructuredText, with an item for each of the names that begin a sentence and end in a colon."""
    named = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or r"(?!)"
    pieces = re.split(rf"(?:^|(?<=[.)\"]) )((?:{named})(?:, (?:{named}))*): |(?<=\.) (?=Raises )", text)
    yield from (_escaped(pieces[0]), "")
    for name, words in zip(pieces[1::2], pieces[2::2], strict=True):
        yield from (f"* ``{name}``: {_escaped(words)}",) if name else ("", _escaped(words))
    yield ""


def _escaped(text: str) -> str:
    """Outside of `code`, these characters are themselves, not markup."""
    return "`".join(part if i % 2 else re.sub(r"([*|_])", r"\\\1", part) for i, part in enumerate(text.split("`")))


def align(app: Sphinx, context: Any, lines: list[str]) -> None:
    """Lines that click is told not to wrap are set in columns, so they stay as they are."""
    grouped = itertools.groupby(list(lines), key=lambda line: line.startswith("| "))
    lines.clear()
    for apart, group in grouped:
        words = [line.removeprefix("| ") for line in group]
        lines += [".. code-block:: text", "", *(f"   {line}" for line in words), ""] if apart else words


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Puts the rules and the remedies, as Markdown, where a page says so. Files outside of docs/ that a page links to
    are copied to the site (`path:` is MyST's word for that)."""
    source[0] = source[0].replace("](../", "](path:../")
    for marker, text in {"```{rules}\n```": rules, "```{remedies}\n```": remedies}.items():
        if marker in source[0]:
            source[0] = source[0].replace(marker, text())


def rules() -> str:
    return "\n\n".join(_entry(f"`{rule.id}`", rule.title, _own(type(rule)), rule.reading) for rule in RULES)


def remedies() -> str:
    return "\n\n".join(
        _entry(
            ", ".join(f"`{name}`" for name in remedy.names),
            remedy.title,
            "For example " + ", ".join(f"`{example}`" for example in remedy.examples) + ".\n\n" + _own(remedy),
            remedy.reading,
        )
        for remedy in REMEDIES
    )


def _entry(name: str, title: str, text: str, reading: str) -> str:
    return f"### {name}\n\n*{title[0].upper()}{title[1:]}.*\n\n{text}\n\nRead: {reading}."


def _own(thing: type) -> str:
    """Its docstring, unless that is the signature which dataclasses get for want of one. A last paragraph with a year
    in it names the sources."""
    text = inspect.cleandoc(thing.__doc__ or "").replace("*", r"\*")
    if text.startswith(f"{thing.__name__}("):
        return ""
    *paragraphs, last = text.split("\n\n")
    return "\n\n".join((*paragraphs, f"Sources: {last}" if paragraphs and re.search(r"(19|20)\d\d", last) else last))
