"""A browser, and pages in it that keep quiet."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

from unstick.report.page import page as written

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "The tests of the HTML report open it in Chromium, which is missing: "
    "`apt-get install chromium`, or `python -m playwright install chromium`."
)
MODULES = Path(__file__).parents[3] / "node_modules"
MISSING_PACKAGE = (
    "The tests of the HTML report need {}, a package of Node.js, which is missing: "
    "`make test` or `npm ci --ignore-scripts` installs it."
)
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")

FAILED = """for (const kind of ["error", "unhandledrejection"])
  addEventListener(kind, () => { document.documentElement.dataset.failed = kind; });"""
DRAWN = """document.documentElement.dataset.failed ||
  [...document.querySelectorAll("figure.chart")].every((figure) =>
    Number(figure.dataset.drawn) === Math.floor(figure.querySelector(".drawing").clientWidth))"""
"""Each chart fills its place; or one never will, and nobody needs to wait for it."""

PATIENCE = 120_000
"""Milliseconds for what takes one on an idle machine."""


def executable(playwright: Playwright) -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), playwright.chromium.executable_path)
    if not Path(found).exists():
        pytest.fail(MISSING, pytrace=False)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module: while Playwright is on, nothing else in this process can run an event loop."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable(playwright), args=list(QUIET))
        yield started
        started.close()


def package(path: str) -> Path:
    """A file of an npm package."""
    if not (MODULES / path).exists():
        pytest.fail(MISSING_PACKAGE.format(path.split("/")[0]), pytrace=False)
    return MODULES / path


class Opened:
    """A report in the browser, and what it did that it must not."""

    def __init__(self, page: Page, file: Path) -> None:
        self.page, self.noise = page, []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.noise.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.noise.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self._asked(request.url, file.as_uri()))
        page.on("websocket", lambda socket: self.noise.append(f"socket: {socket.url}"))
        page.set_default_timeout(PATIENCE)
        page.add_init_script(FAILED)
        page.goto(file.as_uri())
        self.drawn()

    def _said(self, message: ConsoleMessage) -> None:
        self.noise.append(f"console {message.type}: {message.text}")

    def _asked(self, url: str, own: str) -> None:
        if url != own:
            self.noise.append(f"request: {url}")

    def drawn(self) -> None:
        self.page.wait_for_function(DRAWN)

    def resized(self, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": 900})
        self.drawn()

    def marks(self, name: str, chart: str = "") -> list[dict[str, Any]]:
        """The rows that the marks of a layer were drawn from, in one chart or in all."""
        return self.page.evaluate(
            """([chart, name]) => [...document.querySelectorAll(`${chart} .${name}_marks > *`)]
              .map((mark) => mark.__data__.datum)""",
            [f"#{chart}" if chart else "", name.replace("-", "_")],
        )  # type: ignore[no-any-return]

    def count(self, selector: str) -> int:
        return self.page.locator(selector).count()


Show = Callable[..., Opened]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Opens documents. Whatever else a test is about: no page may say something on the console, fail, or ask for
    anything but itself."""
    opened: list[Opened] = []

    def open_document(document: dict[str, Any], *, width: int = 1200, theme: Any = "light") -> Opened:
        file = tmp_path / f"{len(opened)}.html"
        file.write_text(written(document), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        opened.append(Opened(page, file))
        return opened[-1]

    yield open_document
    noise = [line for each in opened for line in each.noise]
    for each in opened:
        each.page.close()
    assert noise == []
