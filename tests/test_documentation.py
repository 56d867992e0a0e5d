"""What the documentation shows works: its Python runs, its commands parse, its files and anchors exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from unstick import REMEDIES, RULES, parse_remedy
from unstick.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "code",
    [pytest.param(code, id=f"{page.name}-{i}") for page in PAGES for i, code in enumerate(blocks(page, "python"))],
)
def test_python_blocks_run(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "<documentation>", "exec"), {"__name__": "documentation"})
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_toml_blocks_parse(page: Path) -> None:
    for text in blocks(page, "toml"):
        tomllib.loads(text)


def commands() -> list[str]:
    lines = [line.strip().removeprefix("$ ") for page in PAGES for line in page.read_text().splitlines()]
    shown = [line.split("  #")[0] for line in lines if line.startswith("unstick ")]
    return [line for line in shown if line.split()[1] in cli.commands]


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    """Click accepts the options and arguments of each command that is shown; remedies among them exist. What follows
    -- is for a script."""
    _, name, *arguments = shlex.split(line.partition(" -- ")[0])
    command = cli.commands[name]
    context = command.make_context(name, list(arguments))
    for remedy in context.params.get("remedies", ()):
        parse_remedy(remedy)


def test_some_commands_are_shown() -> None:
    assert len(commands()) > 5


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists() or (ROOT / target).exists(), target


def test_no_placeholder_is_left() -> None:
    assert "<!--" not in (ROOT / "README.md").read_text()


def test_every_rule_and_remedy_says_what_to_read() -> None:
    for entry in (*RULES, *REMEDIES):
        assert re.search(r"(19|20)\d\d", entry.reading), entry
