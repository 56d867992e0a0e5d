"""A report as HTML that loads nothing from elsewhere. rich escapes the text, the title is escaped here."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from .terminal import render

# rich fills these with str.format, hence the doubled braces; TITLE is replaced before that.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
body {{ margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: {foreground}; background: {background}; }}
pre {{ font: 0.9rem/1.4 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-x: auto; }}
{stylesheet}
</style>
</head>
<body>
<pre>{code}</pre>
</body>
</html>
"""
FRAGMENT = '<pre style="font-family: ui-monospace, Menlo, Consolas, monospace; line-height: 1.4">{code}</pre>'
WIDTH = 110


def page(document: Mapping[str, Any]) -> str:
    """A whole page."""
    title = html.escape(_title(document)).replace("{", "{{").replace("}", "}}")
    return _recorded(document).export_html(code_format=PAGE.replace("TITLE", title))


def fragment(document: Mapping[str, Any]) -> str:
    """A piece to be shown inside of another page, such as a notebook."""
    return _recorded(document).export_html(code_format=FRAGMENT, inline_styles=True)


def _recorded(document: Mapping[str, Any]) -> Console:
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        force_jupyter=False,  # there it would display what is to be returned
        legacy_windows=False,
    )
    console.print(render(document))
    return console


def _title(document: Mapping[str, Any]) -> str:
    target = document.get("target") or (document.get("diagnosis") or {}).get("target", "")
    return f"unstick: {target}" if target else "unstick"
