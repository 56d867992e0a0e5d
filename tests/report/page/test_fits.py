"""Nothing sticks out of a page, on a telephone, a wide screen or paper."""

from __future__ import annotations

from typing import Any

import pytest

from report.measured import answered, diagnosed, told, tried
from report.page.conftest import Show
from unstick.compare import compare

PAPER = 680
"""Pixels between the margins of a sheet of A4."""

TOLD = "(each) => `${each.tagName}.${each.getAttribute('class')} ${each.textContent.slice(0, 40)}`"
WIDER = f"""() => [...document.querySelectorAll("body, body *")].filter((each) => {{
  const box = each.getBoundingClientRect();
  const rolls = each.closest(".scroll, pre, svg, #vg-tooltip-element");
  return box.width && box.right > document.documentElement.clientWidth + 1 && (!rolls || rolls === each);
}}).map({TOLD})"""
"""What reaches beyond the window, other than inside of what can be rolled."""

CUT = f"""(paper) => {{
  document.body.style.width = `${{paper}}px`;
  const all = [...document.querySelectorAll("body *")];
  const right = document.body.getBoundingClientRect().right + 1;
  const rolls = all.filter((each) =>
    each.scrollWidth > each.clientWidth + 1 && !["visible", "clip"].includes(getComputedStyle(each).overflowX));
  const wide = all.filter((each) => each.getBoundingClientRect().width && each.getBoundingClientRect().right > right);
  return [...rolls, ...wide].map({TOLD});
}}"""
"""What would be lost at the edge of the paper. Printing lays out anew and runs no script: no chart is drawn again."""

CASES: dict[str, Any] = {
    "demo": told,
    "diagnosis": lambda: diagnosed(300),
    "trials": lambda: tried(60),
    "answer": answered,
    "comparison": lambda: compare(diagnosed(30), diagnosed(20)).to_dict(),
    "comparison of trials": lambda: compare(tried(6), tried(8)).to_dict(),
}


@pytest.mark.parametrize("kind", CASES)
def test_nothing_sticks_out(kind: str, show: Show) -> None:
    opened = show(CASES[kind](), width=1600)
    for width in (1600, 800, 380):
        opened.resized(width)
        for theme in ("light", "dark"):
            opened.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
            assert opened.page.evaluate(WIDER) == []


@pytest.mark.parametrize("kind", CASES)
def test_nothing_is_cut_on_paper(kind: str, show: Show) -> None:
    opened = show(CASES[kind](), theme="dark")
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate(CUT, PAPER) == []
    assert opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.get_by_role("button").count() == 0
    assert opened.page.pdf(format="A4").startswith(b"%PDF")
