"""Pages of data that nobody would wish for: right, readable, quiet, and never more than text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pomona.report.page import write_report
from pomona.report.text import shown
from pomona.storage import Location
from tests.browser import MOST, opened
from tests.report.outputs import MODEL, Made

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

_EVIL = [
    "<script>window.struck = 1</script>",
    "</script><img src=x onerror='window.struck=1'>",
    "\"'><svg onload=window.struck=1>",
    "</style><style>body{display:none}</style>",
    "{{ 7 * 7 }} {% raw %}",
    "تفاح أحمر",
    "תפוח \u202egpj.elppa",
    "a\x07b\x1b[31mc\td",
    "line\nbreak\u2028and\0nul".replace("\0", "\x01"),
    "🍏👨‍👩‍👧 müsli",
    "x" * 5_000,
    "&amp; &lt;b&gt;",
    "javascript:alert(1)",
    " ",
]
_REASONS = ["truncated", "corrupt", "not_an_image", "empty"]


def _evil() -> Made:
    labels = [label for label in _EVIL for _ in range(6)]
    paths = [f"{label}/{n}\n<b>.jpg" for n, label in enumerate(labels)]
    return Made(
        paths,
        list(labels),
        splits=[_EVIL[n % 3] for n in range(len(labels))],
        rejects=[
            (f"{label}.jpg", _REASONS[n % 4], f"message {label}") for n, label in enumerate(_EVIL)
        ],
        settings={"<b>name": "<i>value"},
        input="/no/such/<b>folder",
    )


def _classes(count: int, each: int, **more: Any) -> Made:
    labels = [f"Variety {n // each:04} of a long and winding name" for n in range(count * each)]
    return Made([f"{label}/{n}.jpg" for n, label in enumerate(labels)], list(labels), **more)


def _unlabelled(count: int, **more: Any) -> Made:
    return Made([f"{n}.jpg" for n in range(count)], [None] * count, **more)


_REJECTS = [(f"bad/{n}.jpg", _REASONS[n % 4], "the data ends early") for n in range(200)]
CASES: dict[str, tuple[Made, str, str]] = {
    "evil": (_evil(), "84 images of 14 labels", "14 labels, each of 6 images, in 3 splits"),
    "1000 classes": (
        _classes(1_000, 3), "3,000 images of 1,000 labels", "1,000 labels, each of 3 images",
    ),
    "1500 classes": (
        _classes(1_500, 2), "3,000 images of 1,500 labels", "1,500 labels, each of 2 images",
    ),
    "one class": (_classes(1, 40), "40 images of 1 label", "1 label, of 40 images"),
    "no labels": (_unlabelled(50), "50 images", "The images have no labels"),
    "only splits": (
        _unlabelled(50, splits=["Test", "Training"] * 25), "50 images", "The images have no labels",
    ),
    "nothing reduced": (_unlabelled(1, k=0), "1 image", "The images have no labels"),
    "one component": (
        _unlabelled(30, features=np.arange(90, dtype=np.float32).reshape(30, 3) * [1, 0, 0]),
        "30 images, described by 1 number each", "The images have no labels",
    ),
    "two images": (_classes(2, 1), "2 images of 2 labels", "2 labels, each of 1 image"),
    "only rejects": (
        _unlabelled(0, k=0, rejects=_REJECTS), "0 images", "The images have no labels",
    ),
    "nothing at all": (_unlabelled(0, k=0), "0 images", "The images have no labels"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_page_is_right_and_readable(browser: Browser, tmp_path: Path, name: str) -> None:
    made, title, labels_title = CASES[name]
    output = made.write(tmp_path / "out")
    write_report(Location.parse(output), MODEL)
    file = output / "report.html"
    assert file.stat().st_size < MOST
    facts = json.loads((output / "report.json").read_text())
    assert facts["images"]["total"] == len(made.paths)
    assert facts["rejects"]["total"] == len(made.rejects)
    named = {row["label"] for row in facts["images"]["by_label"]}
    assert named == {label for label in made.labels if label}
    for view in ("desktop", "phone"):
        with opened(browser, file, view) as page:
            assert page.locator("h1").inner_text().startswith(title)
            assert labels_title in str(page.locator("#images h2").text_content())
            assert page.evaluate("window.struck") is None
            # Every element is one of ours: none came out of a label or a path.
            assert page.locator("main b, main i, svg[onload], img[onerror]").count() == 0
            assert page.locator("script").count() == (2 if made.k else 0)
            body = page.evaluate("getComputedStyle(document.body).display")
            assert body == "block"
            listed = page.locator("#labels li").all_text_contents() if made.k else []
            if 1 < len(named) <= 1_000:
                assert len(listed) == len(named)
                for label in named:
                    assert any(text.startswith(shown(label, 80)) for text in listed)
            elif made.k and not named and not made.splits:
                assert len(listed) == 1
            assert not any(ord(c) < 32 for text in listed for c in text)


def test_letters_of_control_and_direction_are_written_out() -> None:
    assert shown("a\x07b\u202ec\td\n") == "a\\x07b\\u202ec\\x09d\\x0a"
    assert shown("תפוח 👨‍👩‍👧") == "תפוח 👨‍👩‍👧"
    assert len(shown("x" * 10_000, 50)) == 50
    assert shown("begin" + "x" * 100 + "end", 20) == "beginxxxx…xxxxxxxend"
