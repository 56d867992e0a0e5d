"""Names from the user's code are text wherever they stand, and break nothing."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from report import documents
from report.documents import poisoned
from report.measured import answered, diagnosed, told
from report.page.conftest import Opened, Show
from unstick.report.page import LONGEST
from unstick.report.page import page as written

NAMES = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"'><img src=x onerror=alert(1)>",
    "end of style": "</style><style>*{display:none}",
    "end of script": "</script><script>alert(1)</script>",
    "comment": "<!--<script>",
    "entity": "&lt;b&gt;&amp;",
    "right to left": "abc\u202efed\u2067ghi\u200f",
    "long": "x" * 10_000,
    "long with spaces": "wide words " * 1000,
    "emoji": "🧠👩‍🔬 नमस्ते 漢字",
    "new line": "one\ntwo\r\nthree\u2028four",
    "control": "a\x01\x02\x07\x1b[31mb\x7f",
    "jinja": "{{7*7}}{% raw %}{# #}",
    "javascript": "${alert(1)}`+alert(1)+`",
    "expression": "datum.x",
    "quoted expression": "\\'+alert(1)+'\"]",
    "field": "a[0].b\\.c",
    "prototype": "__proto__",
    "constructor": "constructor",
    "empty": "",
}

MARKS = ["rect", "symbol", "line", "area", "rule"]
COUNTS = """(marks) => [...document.querySelectorAll("figure.chart")].map((figure) =>
  [figure.id, ...marks.map((mark) => figure.querySelectorAll(`.role-mark.mark-${mark} > *`).length)])"""
"""How many marks of each sort a chart has."""


@pytest.fixture(scope="module")
def harmless(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same of a demo in which all names are the same word."""
    file = tmp_path_factory.mktemp("harmless") / "demo.html"
    file.write_text(written(poisoned(told(30, 5), "harmless")), encoding="utf-8")
    return Opened(browser.new_page(viewport={"width": 380, "height": 900}), file).page.evaluate(COUNTS, MARKS)


def parsed(name: str) -> str:
    """As a browser gives it back: cut where it is too long, and with one kind of line end."""
    shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    return shown.replace("\r\n", "\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_and_changes_no_chart(name: str, show: Show, harmless: Any) -> None:
    text = NAMES[name]
    opened = show(poisoned(told(30, 5), text), width=380)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 380
    assert opened.page.evaluate(COUNTS, MARKS) == harmless
    assert opened.page.locator("article h3 bdi").first.text_content() == parsed(text)
    assert opened.page.locator("table.sortable tbody tr:nth-child(2) td:first-child").text_content() == parsed(text)
    assert text in opened.page.title() or not text.isprintable() or len(text) > LONGEST


@pytest.mark.parametrize("make", [*documents.EVERY, answered], ids=lambda make: make.__name__)
def test_every_kind_of_document_takes_them_all(make: Any, show: Show) -> None:
    """All that could end an element, run, or be taken for a template, in one name."""
    text = "".join(part for part in NAMES.values() if len(part) < 100)
    opened = show(poisoned(make(), text), width=380)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 380
    assert (
        opened.page.evaluate("document.querySelectorAll('main script:not([type]), main img, main style').length") == 0
    )
    assert "<script>alert(1)</script>" in str(opened.page.locator("main").text_content())


def test_the_table_behind_a_chart_and_what_hovers_show_names_literally(show: Show) -> None:
    text = NAMES["attribute"]
    opened = show(poisoned(diagnosed(10), text))
    opened.page.locator("#network summary").click()
    assert opened.page.locator("#network tbody td").nth(1).text_content() == text
    opened.page.locator(".forward_hover_marks > *").first.hover()
    tip = opened.page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert tip.locator("td.value").first.text_content() == text
    assert tip.locator("img").count() == 0


def test_parts_with_such_names_can_be_chosen(show: Show) -> None:
    document = diagnosed(300)
    for layer in document["layers"][:-1]:
        layer["module"] = layer["module"].replace("block", "<img src=x onerror=alert(1)>'\"")
    opened = show(document)
    select = opened.page.get_by_label("Show")
    select.select_option(label="<img src=x onerror=alert(1)>'\"7")
    assert len(opened.marks("lane-operations")) == 12
