from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.browser import VIEWS, opened
from tests.command import facts, pomona
from tests.report.outputs import Made

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two OUTPUT folders: of 60 images 55 stay, 5 go, 7 come, 2 change, 3 change label."""
    folder = tmp_path_factory.mktemp("two")
    paths = [f"{n:02}.jpg" for n in range(60)]
    labels = [f"Kind {n % 3}" for n in range(60)]
    Made(
        paths,
        labels,
        rejects=[("bad/1.jpg", "truncated", "it ends"), ("bad/2.jpg", "empty", "nothing")],
        settings={"variance": 0.95, "model": "net"},
    ).write(folder / "before")
    labels[:3] = ["<b>New</b>"] * 3
    Made(
        paths[:55] + [f"new/{n}.jpg" for n in range(7)],
        labels[:55] + ["Kind 0"] * 7,
        etags=["3-4"] * 2 + ["1-2"] * 60,
        k=4,
        rejects=[("bad/1.jpg", "corrupt", "it lies"), ("bad/3.jpg", "empty", "nothing")],
        settings={"variance": 0.99, "model": "net"},
    ).write(folder / "after")
    return folder


def test_what_changed_is_counted(two: Path) -> None:
    found = facts("report", two / "after", "--compare", two / "before")
    assert json.loads((two / "after" / "comparison.json").read_text()) == found
    images, rejects = found["images"], found["rejects"]
    counts = {name: images[name]["count"] for name in images}
    # Two of the three that changed their label have a new version too.
    assert counts == {"came": 7, "went": 5, "new_version": 2, "relabelled": 3, "same": 52}
    assert images["went"]["examples"][0] == {"path": "55.jpg"}
    assert images["relabelled"]["examples"][1] == {
        "path": "01.jpg", "before": "Kind 1", "after": "<b>New</b>",
    }  # fmt: skip
    assert {name: rejects[name]["count"] for name in rejects} == {
        "came": 1, "went": 1, "other_reason": 1,
    }  # fmt: skip
    assert {"label": "<b>New</b>", "before": 0, "after": 3} in found["labels"]
    assert found["settings"] == [{"name": "variance", "before": 0.95, "after": 0.99}]
    numbers = {row["name"]: (row["before"], row["after"]) for row in found["numbers"]}
    assert numbers["images embedded"] == (60, 62)
    assert numbers["components"] == (3, 4)
    assert numbers["labels"] == (3, 4)


def test_the_page_of_a_comparison(browser: Browser, two: Path) -> None:
    done = pomona("report", two / "after", "--compare", two / "before")
    assert done.returncode == 0, done.stderr
    assert "7 came, 5 went, 2 changed and 3 changed label" in done.stdout
    assert "components: 3 -> 4" in done.stdout
    for view in VIEWS:
        with opened(browser, two / "after" / "comparison.html", view) as page:
            assert page.locator("h1").inner_text().startswith("7 came, 5 went")
            assert page.locator("main b").count() == 0
            table = page.locator("table.compare").first.inner_text()
            assert "images embedded\t60\t62\t+2" in table
            page.screenshot(path=two / f"comparison-{view}.png", full_page=True)


def test_comparing_with_nothing_says_so(two: Path, tmp_path: Path) -> None:
    done = pomona("report", two / "after", "--compare", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "There is no table" in done.stderr
    assert pomona("report", two / "after", "--compare", two / "after").returncode == 2


def test_the_page_is_opened(two: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    browser.chmod(0o755)
    done = pomona("report", two / "before", "--open", env={"BROWSER": str(browser)})
    assert done.returncode == 0, done.stderr
    assert told.read_text().strip() == (two / "before" / "report.html").as_uri()
    none = pomona(
        "report", two / "before", "--open", "-q", env={"BROWSER": "/none", "PATH": "/none"}
    )
    assert none.returncode == 1
    assert "No browser was found" in none.stderr
