"""The map in use: what a visitor does to it, by mouse, touch and keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.report.page import write_report
from pomona.samples import write_samples
from pomona.storage import Location
from tests.browser import opened
from tests.report.outputs import MODEL, Made

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Page

_FAR = "Plum/far/right & down.jpg"
_RIGHT, _BOTTOM = 14, 48
"""Where the outermost points lie, in pixels from the canvas' edges."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 pictures of four labels, and one image of which there is no picture, far out."""
    folder = tmp_path_factory.mktemp("map")
    write_samples(folder / "in", count=300, processes=1)
    rows = [
        row
        for batch in list_images(open_source(str(folder / "in")), SkippedFiles())
        for row in batch.select(["path", "etag"]).to_pylist()
    ]
    features = np.random.default_rng(1).normal(size=(len(rows), 2)).clip(-3, 3)
    features = np.vstack([features * [1, 0.5], [8, -4]])
    made = Made(
        [row["path"] for row in rows] + [_FAR],
        [f"Kind {n % 4}" for n in range(len(rows))] + ["Plum"],
        splits=["Training", "Test"] * 150 + ["Test"],
        features=features.astype(np.float32),
        etags=[row["etag"] for row in rows] + ["1-2"],
        k=2,
        input=str(folder / "in"),
    )
    write_report(Location.parse(made.write(folder / "out")), MODEL)
    return folder / "out" / "report.html"


def _drawn(page: Page) -> str:
    page.wait_for_timeout(400)  # the map rests, and is then drawn with soft edges
    return str(page.evaluate("document.getElementById('chart').toDataURL()"))


def _box(page: Page) -> FloatRect:
    page.locator("#chart").scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    box = page.locator("#chart").bounding_box()
    assert box is not None
    return box


def _moved(page: Page) -> bool:
    return page.locator("#zoom-whole").is_enabled()


def _at_far(box: FloatRect) -> tuple[float, float]:
    return box["x"] + box["width"] - _RIGHT, box["y"] + box["height"] - _BOTTOM


@pytest.mark.parametrize("pictures", [False, True])
def test_pointing_at_an_image_tells_of_it(browser: Browser, report: Path, pictures: bool) -> None:
    with opened(browser, report) as page:
        if not pictures:
            page.click("#pictures")
        page.mouse.move(*_at_far(_box(page)))
        page.wait_for_selector("#tip:not([hidden])")
        assert page.locator("#tip-label").text_content() == "Plum"
        assert page.locator("#tip-path").text_content() == _FAR
        assert "Test · axis 1: " in (page.locator("#tip-more").text_content() or "")
        assert page.locator("#tip-picture").is_hidden()  # its label has no picture at all
        page.mouse.move(5, 5)
        assert page.locator("#tip").is_hidden()


def test_a_picture_on_the_map_is_that_of_its_path(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        box = _box(page)
        x, y = box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.6
        for step in range(40):
            page.mouse.move(x + 3 * step, y)
            if page.locator("#tip-picture").is_visible():
                break
        assert page.locator("#tip-path").text_content() != _FAR
        pixels = page.evaluate(
            "Array.from(document.getElementById('tip-picture').getContext('2d')"
            ".getImageData(0, 0, 128, 128).data)"
        )
        assert np.ptp(np.array(pixels).reshape(-1, 4)[:, :3], axis=0).min() > 60


def test_wheel_drag_buttons_and_double_click(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        box = _box(page)
        whole = _drawn(page)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.wheel(0, -400)
        zoomed = _drawn(page)
        assert _moved(page)
        page.mouse.down()
        page.mouse.move(x + 80, y + 30, steps=4)
        page.mouse.up()
        page.mouse.move(5, 5)
        dragged = _drawn(page)
        page.click("#zoom-in")
        page.mouse.move(5, 5)
        nearer = _drawn(page)
        page.click("#zoom-out")
        page.mouse.move(5, 5)
        assert _drawn(page) == dragged
        page.mouse.dblclick(x, y)
        page.mouse.move(5, 5)
        assert len({whole, zoomed, dragged, nearer, _drawn(page)}) == 5
        page.click("#zoom-whole")
        page.mouse.move(5, 5)
        assert _drawn(page) == whole
        assert not _moved(page)


def test_a_page_that_scrolls_is_not_caught_by_the_map(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        box = _box(page)
        page.mouse.move(box["x"] + 100, box["y"] + 100)
        page.evaluate("window.scrollBy({top: 40, behavior: 'instant'})")
        page.wait_for_timeout(60)
        page.mouse.wheel(0, 60)
        page.wait_for_timeout(60)
        assert not _moved(page)


def test_the_keyboard_moves_and_chooses(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        page.focus("#chart")
        page.keyboard.press("+")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
        assert _moved(page)
        page.locator("#map-said", has_text="axis 1").wait_for(state="attached")
        label = page.locator("#tip-label").text_content()
        page.keyboard.press("Enter")
        pressed = page.locator("#labels button[aria-pressed=true]")
        assert [text.strip() for text in pressed.locator("bdi").all_text_contents()] == [label]
        page.keyboard.press("0")
        assert not _moved(page)


def test_labels_are_found_and_stand_out(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        page.click("#pictures")
        before = _drawn(page)
        page.fill("#label-search", "PLU")
        visible = page.locator("#labels li:visible")
        assert visible.all_text_contents() == ["Plum1"]
        visible.locator("button").click()
        page.mouse.move(5, 5)
        assert _drawn(page) != before
        page.click("#label-clear")
        page.mouse.move(5, 5)
        assert _drawn(page) == before
        page.fill("#label-search", "no such fruit")
        assert page.locator("#label-none").is_visible()
        page.select_option("#colour-by", "split")
        page.fill("#label-search", "")
        assert page.locator("#labels li").all_text_contents() == ["Test151", "Training150"]
        page.select_option("#axis-across", "1")
        assert _drawn(page) != before


def test_touch_taps_drags_and_pinches(browser: Browser, report: Path) -> None:
    with opened(browser, report, "phone") as page:
        box = _box(page)
        page.touchscreen.tap(*_at_far(box))
        page.wait_for_selector("#tip:not([hidden])")
        assert page.locator("#tip-label").text_content() == "Plum"
        fingers = page.context.new_cdp_session(page)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        def touch(kind: str, *points: tuple[float, float]) -> None:
            fingers.send(
                "Input.dispatchTouchEvent",
                {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]},
            )

        touch("touchStart", (x - 20, y), (x + 20, y))
        for reach in (30, 50, 80):
            touch("touchMove", (x - reach, y), (x + reach, y))
        touch("touchEnd")
        assert _moved(page)
        zoomed = _drawn(page)
        touch("touchStart", (x, y))
        for step in (20, 40, 60):
            touch("touchMove", (x + step, y))
        touch("touchEnd")
        assert _drawn(page) != zoomed
        assert page.evaluate("window.scrollX") == 0


def test_the_tab_key_goes_through_the_page_in_its_order(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        met: list[Any] = []
        while not met or met[-1][0] != "BODY":
            page.keyboard.press("Tab")
            met.append(
                page.evaluate(
                    "() => { const e = document.activeElement, s = getComputedStyle(e);"
                    "return [e.id || e.getAttribute('href') || e.tagName, s.outlineStyle]; }"
                )
            )
        names = [name for name, _ in met]
        wanted = [
            *("#report", "#map", "#images", "chart", "zoom-in", "zoom-out", "pictures"),
            *("axis-across", "axis-up", "colour-by", "label-search", "BUTTON", "SUMMARY"),
        ]
        places = [names.index(name) for name in wanted]
        assert places == sorted(places)
        assert [name for name, style in met[:-1] if style != "solid"] == []


def test_dark_and_print(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        light = _drawn(page)
        page.emulate_media(color_scheme="dark")
        assert _drawn(page) != light
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 23, 20)"
        page.emulate_media(media="print", color_scheme="light")
        assert page.locator("nav").is_hidden()
        assert page.locator("#chart").is_visible()
        assert page.locator(".side").is_hidden()


def test_without_a_script_the_figures_are_there(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("noscript").is_visible()
    assert page.locator("#map-tools").is_hidden()
    table = page.locator("#map details table")
    assert table.locator("tbody tr").count() == 5
    context.close()


def test_no_other_script_may_run(browser: Browser, report: Path, tmp_path: Path) -> None:
    page = report.read_text(encoding="utf-8")
    file = tmp_path / "struck.html"
    file.write_text(
        page.replace("</main>", "<script>window.struck = 1</script><img src='x.png'></main>"),
        encoding="utf-8",
    )
    tab = browser.new_page()
    tab.goto(file.as_uri())
    assert tab.evaluate("window.struck") is None
    assert tab.evaluate("document.querySelector('main img').naturalWidth") == 0
    tab.close()
