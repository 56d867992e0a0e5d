"""What a reader does with a page: sort, hover, choose, look up numbers, switch the colours."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator

from report.documents import trial, trials
from report.measured import BLOCK, diagnosed, layers, told, tried
from report.page.conftest import Opened, Show
from unstick.report.style import number

LOSSES = {"ten": 10.0, "two": 2.0, "minus": -1.5, "tiny": 1e-9, "huge": 1.5e12}


def _verdicts() -> dict[str, Any]:
    lost = {"before": 1.0, "difference": None, "interval": [None, None]}
    known = [trial(name, "helps", loss={**lost, "after": after}) for name, after in LOSSES.items()]
    return trials(*known, trial("unknown", "not-applicable", loss={**lost, "after": None}, seeds=0), recommended="two")


def _column(table: Locator, place: int) -> list[str]:
    return [cell.strip() for cell in table.locator(f"tbody td:nth-child({place})").all_inner_texts()]


def _names(opened: Opened) -> list[str]:
    return [name for name in _column(opened.page.locator("table.sortable"), 1) if name != "(unchanged)"]


def _press(header: Locator, key: str | None) -> None:
    if key is None:
        header.click()
    else:
        header.focus()
        header.press(key)


def _sort(header: Locator, key: str | None = None) -> None:
    header.evaluate(
        "() => { window.sorted = new Promise((done) => addEventListener('sort-end', done, {once: true})); }"
    )
    _press(header, key)
    header.evaluate("() => window.sorted.then(() => null)")


@pytest.mark.parametrize("key", [None, "Enter"])
def test_losses_sort_as_numbers_and_what_is_missing_comes_last(key: str | None, show: Show) -> None:
    opened = show(_verdicts())
    header = opened.page.get_by_role("columnheader", name="loss", exact=False).first
    rising = sorted(LOSSES, key=LOSSES.__getitem__)
    assert header.get_attribute("aria-sort") in (None, "none")
    for order, names in (("ascending", rising), ("descending", rising[::-1])):
        _sort(header, key)
        assert (header.get_attribute("aria-sort"), _names(opened)) == (order, [*names, "unknown"])


def test_a_sort_by_name_takes_the_mark_from_the_last_one(show: Show) -> None:
    opened = show(_verdicts())
    headers = opened.page.locator("table.sortable th")
    _sort(headers.nth(2))
    _sort(headers.nth(0))
    assert [header.get_attribute("aria-sort") for header in headers.all()] == ["ascending", *[None] * 5]
    assert _names(opened) == sorted([*LOSSES, "unknown"])


def test_verdicts_sort_from_good_to_bad(show: Show) -> None:
    document = tried(10)
    opened = show(document)
    _sort(opened.page.locator("table.sortable th").nth(1))
    words = [word.split(maxsplit=1)[-1] for word in _column(opened.page.locator("table.sortable"), 2) if word]
    order = ["fixes it", "helps", "no effect", "harms", "inconclusive", "not applicable"]
    assert words == sorted(words, key=order.index)
    assert len(set(words)) > 3


def test_headers_are_reached_by_the_keyboard(show: Show) -> None:
    opened = show(_verdicts())
    opened.page.locator("table.sortable th").first.focus()
    reached = opened.page.evaluate("document.activeElement.tagName + document.activeElement.textContent")
    assert reached.startswith("THchange")


def _tip(opened: Opened, mark: Locator) -> dict[str, str]:
    """What is shown while the mouse is over a mark."""
    mark.hover()
    tip = opened.page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    return dict(zip(tip.locator("td.key").all_inner_texts(), tip.locator("td.value").all_inner_texts(), strict=True))


@pytest.mark.parametrize("panel", ["forward", "gradient"])
def test_hovering_tells_an_operations_numbers(panel: str, show: Show) -> None:
    document = diagnosed(30)
    seen = document["layers"][17]
    opened = show(document)
    shown = _tip(opened, opened.page.locator(f".{panel}_hover_marks > *").nth(17))
    assert shown["module"] == seen["module"]
    assert shown["operation"] == seen["op"]
    assert shown["line"] == seen["source"]
    assert shown["shape"] == "64 × 32"
    assert float(shown["gradient norm"]) == pytest.approx(seen["backward"]["norm"], rel=0.01)
    assert float(shown["signal, rms"]) == pytest.approx(seen["forward"]["rms"], rel=0.01)
    place = next(place for place in document["path"] if place["index"] == 17)
    assert float(shown["decades lost here"].replace("−", "-")) == place["lost"]


def test_a_chosen_part_shows_its_operations_and_no_others(show: Show) -> None:
    opened = show(diagnosed(300))
    select = opened.page.get_by_label("Show")
    labels = select.locator("option").all_inner_texts()
    assert labels == ["the whole network, by module", "every operation", *(f"block{i}" for i in range(25))]
    for block in (0, 7, 24):
        select.select_option(label=f"block{block}")
        inside = [i for i in range(299) if i // BLOCK == block]
        for layer in ("lane-operations", "forward-points", "gradient-points", "gradient-hover"):
            assert [row["place"] for row in opened.marks(layer)] == inside
    opened.resized(700)
    assert [row["place"] for row in opened.marks("lane-operations")] == inside  # a narrower window forgets nothing
    assert select.locator("option:checked").inner_text() == "block24"


def test_small_networks_offer_no_choice(show: Show) -> None:
    assert show(diagnosed(120)).count(".choice select") == 0


def test_hovering_leaves_out_what_was_not_measured(show: Show) -> None:
    document = diagnosed(10, theory=False)
    document["layers"][4].update(backward={"norm": None}, source=None)
    opened = show(document)
    tip = _tip(opened, opened.page.locator(".gradient_hover_marks > *").nth(4))
    assert set(tip) == {"module", "operation", "shape", "signal, rms", "of it, between samples", "decades lost here"}


def _colours(opened: Opened) -> list[str]:
    return opened.page.evaluate(  # type: ignore[no-any-return]
        "['color', 'backgroundColor'].map((name) => getComputedStyle(document.documentElement)[name])"
    )


def _ink(opened: Opened) -> str:
    return opened.page.evaluate("getComputedStyle(document.querySelector('#network svg text')).fill")  # type: ignore[no-any-return]


@pytest.mark.parametrize("key", [None, "Enter", " "])
def test_the_button_switches_between_light_and_dark(key: str | None, show: Show) -> None:
    opened = show(diagnosed(10))
    before, ink = _colours(opened), _ink(opened)
    _press(opened.page.get_by_role("button", name="Switch to dark colours"), key)
    assert _colours(opened) != before
    assert _ink(opened) != ink
    _press(opened.page.get_by_role("button", name="Switch to light colours"), key)
    assert (_colours(opened), _ink(opened)) == (before, ink)


def test_a_page_begins_in_the_systems_colours_and_follows_them(show: Show) -> None:
    light, dark = show(diagnosed(10)), show(diagnosed(10), theme="dark")
    assert _colours(light) != _colours(dark)
    assert dark.page.get_by_role("button", name="Switch to light colours").count() == 1
    dark.page.emulate_media(color_scheme="light")
    dark.page.get_by_role("button", name="Switch to dark colours").wait_for()
    assert _colours(light) == _colours(dark)


def test_the_numbers_behind_a_chart_are_a_table(show: Show) -> None:
    document = diagnosed(300)
    opened = show(document)
    numbers = opened.page.locator("#network details")
    assert numbers.locator("tr").count() == 0
    for _ in range(3):  # opened, closed and opened again
        numbers.locator("summary").focus()
        numbers.locator("summary").press("Enter")
    numbers.locator("tbody tr").last.wait_for()
    headings = numbers.locator("thead th").all_inner_texts()
    assert numbers.locator("tbody tr").count() == len(layers(300))
    assert numbers.locator("thead tr").count() == 1
    cells = dict(zip(headings, numbers.locator("tbody tr").nth(17).locator("td").all_inner_texts(), strict=True))
    seen = document["layers"][17]
    assert (cells["#"], cells["module"], cells["kind"]) == ("17", seen["module"], seen["kind"])
    assert float(cells["gradient norm"]) == pytest.approx(seen["backward"]["norm"], rel=0.01)


def test_the_table_of_trials_has_the_numbers_of_the_document(show: Show) -> None:
    document = tried(5)
    opened = show(document)
    assert _names(opened) == [trial["remedy"] for trial in document["trials"]]
    shown = _column(opened.page.locator("table.sortable"), 3)[1:]
    assert shown == [number(trial["loss"]["after"]) if trial["seeds"] else "" for trial in document["trials"]]


def test_a_window_that_is_pulled_smaller_leaves_one_drawing_that_fits(show: Show) -> None:
    opened = show(told(300, 20))
    opened.page.evaluate(
        """async () => {
          for (const width of [900, 700, 500, 380, 1000, 450]) {
            document.body.style.width = `${width}px`;
            await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
          }
        }"""
    )
    opened.drawn()
    for chart in ("network", "loss", "losses", "gradients"):
        drawing = opened.page.locator(f"#{chart} .drawing")
        assert drawing.locator("svg.marks").count() == 1
        width = drawing.evaluate("(place) => place.clientWidth")
        assert width - 20 <= float(drawing.locator("svg.marks").get_attribute("width") or 0) <= width
    assert opened.page.get_by_label("Show").count() == 1
