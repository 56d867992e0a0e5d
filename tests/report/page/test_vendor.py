"""What a page inlines is what the packages hold that package.json names."""

from __future__ import annotations

from pathlib import Path

import pytest

from report.page.conftest import package
from unstick.report.page import HERE, LIBRARIES

FILES = {
    "vega.min.js": "vega/build",
    "vega-lite.min.js": "vega-lite/build",
    "vega-embed.min.js": "vega-embed/build",
    "sortable.min.js": "sortable-tablesort/dist",
    "sortable.a11y.min.js": "sortable-tablesort/dist",
}
VENDOR = HERE / "vendor"


def test_every_inlined_file_is_known() -> None:
    assert set(FILES) == set(LIBRARIES) == {path.name for path in VENDOR.glob("*.js")}


@pytest.mark.parametrize("name", FILES)
def test_inlined_files_are_those_of_their_packages(name: str) -> None:
    assert (VENDOR / name).read_bytes() == package(f"{FILES[name]}/{name}").read_bytes(), "make vendor"


@pytest.mark.parametrize("name", [*sorted({Path(folder).parts[0] for folder in FILES.values()}), "d3-scale"])
def test_their_licences_are_kept(name: str) -> None:
    licence = package(f"{name}/LICENSE").read_text(encoding="utf-8")
    assert f"== {name}\n\n{licence}" in (VENDOR / "LICENSES.txt").read_text(encoding="utf-8"), "make vendor"
