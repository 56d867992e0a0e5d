"""The site that `make docs` builds: without a warning, complete, and with nothing from other hosts."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sphinx.util.inventory import InventoryFile

import unstick
import unstick.theory
from pages import DOCS, ROOT
from unstick.cases.kaylee import kaylee
from unstick.cli import main


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        folder / "doctrees",
        DOCS,
        folder / "html",
    ]
    built = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert built.returncode == 0, built.stderr
    return folder / "html"


FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "image": "href"}
"""Attributes whose address a browser fetches by itself, beside those of `link`."""


class Page(HTMLParser):
    """links: to other pages. loaded: addresses that a browser fetches by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "a":
            self.links.add(given.get("href", "").partition("#")[0])
        if tag == "link" and given.get("rel") not in ("index", "search", "next", "prev", "canonical"):
            self.loaded.append(given.get("href", ""))
        if (address := given.get(FETCHED.get(tag, ""))) is not None:
            self.loaded.append(address)


def test_every_page_is_reached_from_the_index(site: Path) -> None:
    reached: set[str] = set()
    waiting = {"index.html"}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= {
            link for link in Page(site / name).links if (site / link).is_file() and link.endswith(".html")
        } - reached
    assert {f"{page.stem}.html" for page in DOCS.glob("*.md")} <= reached


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    for page in site.glob("*.html"):
        assert [address for address in Page(page).loaded if re.match(r"(\w+:)?//", address)] == [], page.name
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']+", text) == [], sheet.name


def test_links_to_files_outside_of_docs_lead_to_copies(site: Path) -> None:
    copies = {path.name for path in (site / "_downloads").rglob("*.*")}
    outside = re.findall(r"\]\((\.\./[^)]+)\)", "".join(page.read_text() for page in DOCS.glob("*.md")))
    assert outside
    assert {Path(name).name for name in outside} == copies


@pytest.mark.parametrize("module", [unstick, unstick.theory], ids=lambda module: module.__name__)
def test_every_public_name_has_an_entry(site: Path, module: Any) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    entries = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    assert {f"{module.__name__}.{name}" for name in module.__all__} - entries == set()
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert not (thing.__doc__ or f"{name}(").startswith(f"{name}("), name  # as dataclasses without one have


def test_rules_and_remedies_are_all_there(site: Path) -> None:
    text = (site / "rules.html").read_text(encoding="utf-8")
    for entry in (*unstick.RULES, *unstick.REMEDIES):
        name = entry.id if isinstance(entry, unstick.Rule) else entry.names[0]
        assert f'<section id="{name}' in text, name


FREE = ("evidence", "numbers")
"""Fields whose own fields depend on the rule or the experiment."""


def fields(document: Any) -> Iterator[str]:
    """The names of all fields of a JSON document."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield name
            if name not in FREE:
                yield from fields(value)
    elif isinstance(document, list):
        for value in document:
            yield from fields(value)


COMMANDS = {
    "answer": ["check", "kaylee", "--steps=1", "--seeds=2", "--workers=1"],
    "rules": ["rules"],
    "remedies": ["remedies"],
    "theory": ["theory", "tanh"],
}


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """One of each kind, by schema; the diagnosis is long enough for experiments to be made."""
    made = [unstick.diagnose(kaylee(), steps=100).to_dict()]
    made.append(unstick.compare(made[0], made[0]).to_dict())
    made.append(unstick.try_remedies(kaylee(), ["relu"], steps=1, seeds=2, workers=1).to_dict())
    for command in COMMANDS.values():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert main([*command, "--json=-"]) == 0
        made.append(json.loads(printed.getvalue()))
    return {document["schema"]: document for document in made}


@pytest.mark.parametrize("kind", ["diagnosis", "trials", "answer", "comparison", "rules", "remedies", "theory"])
def test_every_field_of_a_document_is_described(documents: dict[str, Any], kind: str) -> None:
    document = documents[f"unstick/{kind}/1"]
    if kind in ("answer", "comparison"):  # what they rest on are documents of their own
        document = {key: None if key in ("trials", "before", "after") else value for key, value in document.items()}
    name, heading = ("theory.md", "The JSON document") if kind == "theory" else ("json.md", f"unstick/{kind}/1")
    sections = re.split(r"^## ", (DOCS / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = next(part for part in sections if heading in part.partition("\n")[0])
    text += next((part for part in sections if part.startswith("unstick/diagnosis")), "")  # "as above"
    described = set(re.findall(r"`\"?(\w+)\"?`", text)) | set(re.findall(r'"(\w+)"', text))
    assert set(fields(document)) - described - {"schema", "unstick", "python", "torch"} == set()


def test_nothing_is_described_that_no_document_has(documents: dict[str, Any]) -> None:
    page = (DOCS / "json.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
    described = {name for cell in first_cells for name in re.findall(r"\w+", cell)}
    assert described - {name for document in documents.values() for name in fields(document)} == set()
