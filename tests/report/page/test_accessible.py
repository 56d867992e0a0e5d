"""axe-core, which knows the rules of WCAG 2 that a program can test, finds nothing serious."""

from __future__ import annotations

from typing import Any

import pytest

from report.measured import diagnosed, told, tried
from report.page.conftest import Opened, Show, package
from unstick.compare import compare

RUN = "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], resultTypes: ['violations']})"

CASES: dict[str, Any] = {
    "demo": told,
    "diagnosis": lambda: diagnosed(300),
    "trials": lambda: tried(60, points=4),
    "comparison": lambda: compare(diagnosed(30), diagnosed(20)).to_dict(),
}


def checked(opened: Opened) -> list[str]:
    opened.page.add_script_tag(content=package("axe-core/axe.min.js").read_text(encoding="utf-8"))
    found = opened.page.evaluate(RUN)
    assert len(found["passes"]) > 10
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"][:3]
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("kind", CASES)
def test_axe_finds_nothing_serious(kind: str, show: Show) -> None:
    opened = show(CASES[kind]())
    for numbers in opened.page.locator("details").all():
        numbers.locator("summary").click()
    assert checked(opened) == []
    opened.page.get_by_role("button", name="Switch to dark colours").click()
    assert checked(opened) == []


def test_axe_finds_what_is_wrong(show: Show) -> None:
    """What the other tests rely on."""
    opened = show(diagnosed(10))
    opened.page.evaluate("document.querySelector('h1').style.color = '#ddd'")
    assert any(line.startswith("color-contrast (serious)") for line in checked(opened))
