"""What is drawn, counted in the browser and held against the document."""

from __future__ import annotations

from typing import Any

import pytest

from report.measured import BLOCK, diagnosed, told, tried
from report.page.conftest import Opened, Show

LINE = "document.querySelector({!r}).getAttribute('d').match(/[ML]/g).length"


def network_counts(seen: dict[str, Any]) -> dict[str, int]:
    """How many marks each layer should have where every operation is shown."""
    norms = [(layer["backward"] or {}).get("norm") for layer in seen["layers"]]
    signals = [(layer["forward"] or {}).get("rms") for layer in seen["layers"]]
    return {
        "lane-operations": len(norms),
        "lane-names": len(norms),
        "forward-hover": len(norms),
        "gradient-hover": len(norms),
        "forward-points": sum(bool(signal) for signal in signals),
        "gradient-points": sum(bool(norm) for norm in norms),
        "gradient-gone": norms.count(0.0),
        "lost-parts": len(lost_parts(seen["path"])),
        "lost-zero": int(bool(lost_parts(seen["path"]))),
        "theory-line": int(seen["theory"] is not None),
    }


def lost_parts(path: list[dict[str, Any]]) -> set[tuple[int, str]]:
    """(place, kind) wherever something of that kind is lost between that place's output and the loss."""
    known = max((i for i, place in enumerate(path) if place["lost"] is None), default=0)
    return {
        (place["index"], kind)
        for i, place in enumerate(path)
        for kind in {later["lost_in"] for later in path[i + 1 :]}
        if i >= known and sum(later["lost"] for later in path[i + 1 :] if later["lost_in"] == kind) != 0
    }


def counted(opened: Opened, names: Any, chart: str = "network") -> dict[str, int]:
    return {name: len(opened.marks(name, chart)) for name in names}


@pytest.mark.parametrize(("count", "theory"), [(1, False), (2, True), (10, True), (100, False), (120, True)])
def test_every_operation_has_its_marks(count: int, theory: bool, show: Show) -> None:
    document = diagnosed(count, theory)
    expected = network_counts(document)
    assert counted(show(document), expected) == expected


def test_gradients_that_are_gone_or_not_known(show: Show) -> None:
    document = diagnosed(40, theory=False)
    for index, layer in enumerate(document["layers"]):
        layer["backward"] = [{"norm": 0.0}, {"norm": None}, None, layer["backward"]][index % 4]
        layer["forward"] = [{"rms": 0.0}, {"rms": None}, None, layer["forward"]][index // 4 % 4]
    for place in document["path"][:20]:
        place.update(lost=None, lost_in=None)
    expected = network_counts(document)
    assert (expected["gradient-gone"], expected["gradient-points"], expected["forward-points"]) == (10, 10, 8)
    assert 0 < expected["lost-parts"] < network_counts(diagnosed(40))["lost-parts"]
    assert counted(show(document), expected) == expected


def test_points_lie_at_the_measured_heights(show: Show) -> None:
    """Higher on the page is larger, by the same distance for each decade."""
    document = diagnosed(30)
    opened = show(document)
    heights = opened.page.evaluate(
        "[...document.querySelectorAll('.gradient_points_marks path')].map((mark) => [mark.__data__.datum.place,"
        " mark.getBoundingClientRect().y + mark.getBoundingClientRect().height / 2])"
    )
    place = dict(heights)
    decade = place[10] - place[0]
    assert decade > 20
    assert all(place[i] - place[0] == pytest.approx(decade * i / 10, abs=1.5) for i in range(30))


def test_large_networks_are_shown_by_module_first(show: Show) -> None:
    opened = show(diagnosed(300))
    modules = {layer["module"].split(".")[0] for layer in diagnosed(300)["layers"][:-1]}
    assert len(modules) == -(-299 // BLOCK)
    lanes = opened.marks("lane-operations")
    assert [row["name"] for row in lanes] == [*(f"block{i}" for i in range(len(modules))), "loss"]
    assert sum(row["end"] - row["start"] for row in lanes) == 300
    opened.page.get_by_label("Show").select_option(label="every operation")
    expected = network_counts(diagnosed(300))
    assert counted(opened, expected) == expected


def test_a_thousand_operations(show: Show) -> None:
    opened = show(diagnosed(1000))
    lanes = opened.marks("lane-operations")
    assert len(lanes) <= 80
    assert sum(row["end"] - row["start"] for row in lanes) == 1000
    opened.page.get_by_label("Show").select_option(label="every operation")
    expected = network_counts(diagnosed(1000))
    assert counted(opened, expected) == expected


@pytest.mark.parametrize(("count", "points"), [(1, 40), (5, 1), (5, 2), (60, 40)])
def test_each_trained_change_has_a_panel(count: int, points: int, show: Show) -> None:
    document = tried(count, points)
    trained = [trial for trial in document["trials"] if trial["curve"]["steps"]]
    opened = show(document)
    panels = opened.page.locator("#losses .cell > g")
    assert panels.count() == len(trained)
    texts = opened.page.locator("#losses svg text").all_text_contents()
    assert [text.split(":")[0] for text in texts if "change-" in text] == [trial["remedy"] for trial in trained]
    for layer in ("changed-median", "changed-spread", "unchanged-median", "unchanged-spread"):
        assert opened.count(f"#losses .{layer.replace('-', '_')}_marks path") == len(trained)
    assert len(opened.marks("hover", "losses")) == len(trained) * points
    if points > 1:
        assert opened.page.evaluate(LINE.format("#losses .changed_median_marks path")) == points
    assert counted(opened, ("before", "after", "shift", "nothing-lost"), "gradients") == {
        "before": len(trained),
        "after": len(trained),
        "shift": len(trained),
        "nothing-lost": 1,
    }


def test_names_that_begin_alike_keep_their_panels(show: Show) -> None:
    document = tried(4)
    for trial in document["trials"]:
        trial.update(remedy=f"{'long-name+' * 10}{trial['remedy']}", verdict="helps")
    opened = show(document)
    assert opened.count("#losses .cell > g") == 4
    assert len({row["change"] for row in opened.marks("after", "gradients")}) == 4


def test_the_loss_of_a_diagnosis(show: Show) -> None:
    document = diagnosed(10)
    document["curve"]["middle"][-3:] = document["curve"]["low"][-3:] = [None] * 3
    opened = show(document)
    assert opened.page.evaluate(LINE.format("#loss .changed_median_marks path")) == 37
    assert counted(opened, ("constant", "hover"), "loss") == {"constant": 1, "hover": 40}
    document["learning"]["constant_loss"] = None
    assert counted(show(document), ("constant",), "loss") == {"constant": 0}


def test_a_demo_has_all_charts_once(show: Show) -> None:
    opened = show(told())
    figures = opened.page.locator("figure.chart")
    assert [figure.get_attribute("id") for figure in figures.all()] == ["network", "loss", "losses", "gradients"]
    assert opened.count("figure.chart .drawing > svg") == 4
