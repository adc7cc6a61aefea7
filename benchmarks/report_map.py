"""How fluidly the report's map pans: frames a second in headless Chromium, by number of points.

    python benchmarks/report_map.py [POINTS...]

Writes pages of made-up points (131 labels, four axes, pictures among them), opens each in Chromium
without a graphics processor, drags the map for some seconds, and prints the frames that were drawn
a second and the processor time that one of them takes. Needs Chromium and Playwright for Python.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from pomona.ledger import SECONDS
from pomona.report.counts import Images, Rejects
from pomona.report.facts import SCHEMA, Gathered
from pomona.report.page import render
from pomona.report.points import Points, pictured
from pomona.report.thumbnails import Asked, read_pictures
from pomona.samples import write_samples

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
_SIZES = {"desktop": (1280, 900, 1), "phone": (375, 740, 2), "4k": (1920, 1080, 2)}
_DRAG = """async (pictures) => {
  const chart = document.getElementById("chart"), button = document.getElementById("pictures");
  if ((button.getAttribute("aria-pressed") === "true") !== pictures) button.click();
  const box = chart.getBoundingClientRect(), put = CanvasRenderingContext2D.prototype.putImageData;
  let drawn = 0;
  CanvasRenderingContext2D.prototype.putImageData = function (...a) {
    drawn += this.canvas === chart;
    return put.apply(this, a);
  };
  document.getElementById("zoom-in").click();
  const send = (type, x, y) => chart.dispatchEvent(new PointerEvent(type, {
    pointerId: 1, pointerType: "mouse", bubbles: true,
    clientX: box.left + x, clientY: box.top + y}));
  chart.setPointerCapture = () => {};
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  send("pointerdown", 200, 200);
  await frame();
  drawn = 0;
  const begin = performance.now();
  for (let n = 0; performance.now() - begin < 4000; n++) {
    send("pointermove", 200 + 90 * Math.sin(n / 9), 200 + 60 * Math.cos(n / 7));
    await frame();
  }
  const seconds = (performance.now() - begin) / 1000;
  send("pointerup", 200, 200);
  CanvasRenderingContext2D.prototype.putImageData = put;
  return [drawn, seconds];
}"""


def page_of(count: int, images: Path) -> str:
    rng = np.random.default_rng(0)
    middles = rng.normal(scale=2, size=(131, 4))
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.jpg"))
    labels = [f"Variety {n % 131}" for n in range(count)]
    paths = [f"Training/{label}/{n}_100.jpg" for n, label in enumerate(labels)]
    paths[: len(files)] = files
    values = middles[np.arange(count) % 131] + rng.normal(scale=0.5, size=(count, 4))
    points = Points(count, values.astype(np.float32), paths, labels, ["Training"] * count, ())
    spectrum = np.geomspace(5, 0.01, 100)
    shares = (spectrum / spectrum.sum()).tolist()
    found = points.neighbours() or (0.0, 0.0)
    facts = {
        "schema": SCHEMA,
        "run": dict.fromkeys(["run", "input", "ended", "verdict", "layout"], ""),
        "model": "made up",
        "counts": dict.fromkeys(["listed", "embedded", "rejected", "unchanged"], count),
        "seconds": dict.fromkeys([*SECONDS, "rest", "cores"], 0.0),
        "images": {"total": count, "labels": 131, "by_label": [], "by_split": {}},
        "reduction": {
            "k": 60, "dimension": 512, "directions": 100, "explained_variance": 0.95,
            "shares": shares, "axes": [],
        },
        "map": {
            "rows": count, "points": count, "sampled": False, "outdated": False,
            "same_label_next": found[0], "same_label_by_chance": found[1],
        },
        "recogniser": None,
        "rejects": {"total": 0, "by_reason": {}},
    }  # fmt: skip
    for name in ("peak_bytes", "choices", "skipped", "versions", "settings"):
        facts["run"][name] = {}
    gathered = Gathered(facts, Images(), Rejects(), points, spectrum, None, [], [], [])
    asked = [
        Asked(path, _etag(images / path)) for path in pictured(points, count) if path in set(files)
    ]
    mapped = read_pictures(str(images), asked, name="m", side=64, budget=850_000)
    none = read_pictures(str(images), [], name="f", side=96, budget=0)
    return render("benchmark", gathered, {"galleries": none, "rejects": none, "map": mapped})


def _etag(path: Path) -> str:
    from pomona.storage.local import etag_of

    return etag_of(path.stat())


def processor_seconds(browser: Browser) -> dict[str, float]:
    """Processor time so far: of the processes that run pages, and of all of them."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    pages = sum(one["cpuTime"] for one in found if one["type"] == "renderer")
    return {"page": pages, "all": sum(one["cpuTime"] for one in found)}


def measure(browser: Browser, page: Page, file: Path) -> str:
    page.goto(file.as_uri())
    page.wait_for_selector("#chart[data-drawn]")
    told = []
    for pictures in (False, True):
        before = processor_seconds(browser)
        frames, seconds = page.evaluate(_DRAG, pictures)
        spent = {who: now - before[who] for who, now in processor_seconds(browser).items()}
        told.append(
            f"{frames / seconds:5.1f} frames/s; processor time a frame: "
            f"{1000 * spent['page'] / frames:5.1f} ms in the page, "
            f"{1000 * spent['all'] / frames:5.1f} in all"
        )
    return f"\n{'':12}with pictures: ".join(told)


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]] or [10_000, 67_692, 100_000]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        images = Path(folder) / "images"
        write_samples(images, count=300, processes=1)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        print(f"Chromium {browser.version}, no graphics processor")
        for count in counts:
            file = Path(folder) / f"{count}.html"
            file.write_text(page_of(count, images), encoding="utf-8")
            print(f"{count:,} points, a page of {file.stat().st_size / 1e6:.2f} MB")
            for name, (width, height, scale) in _SIZES.items():
                page = browser.new_page(
                    viewport={"width": width, "height": height}, device_scale_factor=scale
                )
                print(f"  {name:8} {width} x {height} at {scale}: {measure(browser, page, file)}")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
