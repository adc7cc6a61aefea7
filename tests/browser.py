"""A page as people see it: in headless Chromium, on a desktop, on a phone and in the dark."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

REQUIRED = "POMONA_BROWSER"
"""Set to ``required``, tests without Chromium fail."""
KEPT = "POMONA_SCREENSHOTS"
"""A folder for the screenshots; by default they go with the test's other files."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
MOST = 3_000_000
VIEWS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {
        "viewport": {"width": 375, "height": 740},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, or a skipped test where there is none; a failed one in CI."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        message = "no Chromium was found (apt-get install chromium)"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, file: Path, view: str = "desktop") -> Iterator[Page]:
    """A page, once its map is drawn; that it is quiet and fits is checked when it is left."""
    context = browser.new_context(**VIEWS[view])
    page = context.new_page()
    page.set_default_timeout(15_000)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("file:", "data:"))
            else faults.append(f"request: {request.url}")
        ),
    )
    page.goto(file.resolve().as_uri())
    if page.locator("#chart").count():
        page.wait_for_selector("#chart[data-drawn]")
    yield page
    assert faults == []
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= page.evaluate("document.documentElement.clientWidth"), f"{file}: {view}"
    context.close()


def look_at(browser: Browser, file: Path, name: str) -> None:
    """Open a report in every view, check it, and take a screenshot of each."""
    assert file.stat().st_size < MOST
    folder = Path(os.environ.get(KEPT) or file.parent / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        with opened(browser, file, view) as page:
            page.wait_for_timeout(200)
            page.screenshot(path=folder / f"{name}-{view}.png", full_page=True)
