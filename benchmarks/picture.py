"""Draws the README's picture from the newest result: docs/images/speed.svg.

    python benchmarks/picture.py [RESULT.json]

One file for light and dark, without fonts or scripts, and readable on a phone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
WIDTH, LEFT, BAR, STEP = 520, 168, 22, 32
_STYLE = """
text { font: 15px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.head { font-weight: 600 }
.note { font-size: 12.5px; fill: #59636e }
.ours { fill: #c0392b }
.peer { fill: #8c959f }
.limit { fill: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .note { fill: #9198a1 }
  .ours { fill: #ff7b6b }
  .peer { fill: #656c76 }
  .limit { fill: #3d444d }
}
"""


class Bar(NamedTuple):
    """A labelled rate in images a second; ``kind`` is ours, peer or limit."""

    label: str
    rate: float
    kind: str


def groups(parts: dict[str, Any]) -> list[tuple[str, list[Bar]]]:
    """The bars of a result, under their headings; what was not measured is left out."""
    small = parts.get("embed100", {}).get("images_per_second", {})
    large = parts.get("notebook", {}).get("images_per_second", {})
    wanted = [
        (
            "MobileNetV2 at 100 px",
            small,
            [
                ("bare", "network alone", "limit"),
                ("loop", "plain loop", "limit"),
                ("chain", "Pomona", "ours"),
                ("daft", "Daft, our engine", "peer"),
                ("daft_onnxruntime", "Daft", "peer"),
                ("ray", "Ray, our engine", "peer"),
                ("ray_onnxruntime", "Ray Data", "peer"),
            ],
        ),
        (
            "MobileNetV2 at 224 px",
            large,
            [("at_224", "Pomona", "ours"), ("notebook", "Spark notebook", "peer")],
        ),
        ("The built-in network", large, [("built_in", "Pomona", "ours")]),
    ]
    found = []
    for heading, rates, names in wanted:
        bars = [Bar(label, rates[n]["median"], kind) for n, label, kind in names if n in rates]
        if bars:
            found.append((heading, bars))
    return found


def drawing(result: dict[str, Any]) -> str:
    """The picture of a result, as SVG."""
    about = result["machine"]
    shown = groups(result["parts"])
    most = max(bar.rate for _, bars in shown for bar in bars)
    parts, at = [], 8.0
    for heading, bars in shown:
        at += 20
        parts.append(f'<text class="head" x="0" y="{at:.0f}">{escape(heading)}</text>')
        at += 12
        for bar in bars:
            width = max(2.0, (WIDTH - LEFT - 62) * bar.rate / most)
            middle = at + BAR / 2 + 5
            end = LEFT - 10
            parts += [
                f'<text x="{end}" y="{middle:.0f}" text-anchor="end">{escape(bar.label)}</text>',
                f'<rect class="{bar.kind}" x="{LEFT}" y="{at:.0f}" rx="3" '
                f'width="{width:.1f}" height="{BAR}"/>',
                f'<text x="{LEFT + width + 8:.0f}" y="{middle:.0f}">{bar.rate:,.0f}</text>',
            ]
            at += STEP
        at += 6
    told = f"images a second on {about['cores']} cores of {about['processor']}"
    told += f"; Pomona {result['version']}, {result['date']}"
    parts.append(f'<text class="note" x="0" y="{at + 12:.0f}">{escape(told)}</text>')
    height = round(at + 24)
    described = "; ".join(
        f"{heading}: " + ", ".join(f"{bar.label} {bar.rate:,.0f}" for bar in bars)
        for heading, bars in shown
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>Images a second: {escape(described)}</title>\n"
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


def newest() -> Path:
    """The result of the latest day."""
    found = list((ROOT / "benchmarks" / "results").glob("*.json"))
    if not found:
        raise SystemExit("there is no result yet: make bench")
    return max(found, key=_age)


def _age(file: Path) -> tuple[str, int]:
    """Sorts results: by day, and 0.1.0-2026-11-24.2 after 0.1.0-2026-11-24."""
    date = json.loads(file.read_text())["date"]
    number = file.stem.partition(date)[2].removeprefix(".")
    return date, int(number or 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "speed.svg")
    asked = parser.parse_args()
    result = json.loads((asked.result or newest()).read_text())
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(drawing(result))
    print(asked.out)


if __name__ == "__main__":
    main()
