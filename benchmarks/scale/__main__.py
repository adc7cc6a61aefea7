"""What the model says of 2 to 512 cores and 10^5 to 10^9 images, as tables in Markdown.

python -m benchmarks.scale            # print them
python -m benchmarks.scale --write    # put them into docs/scaling.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scale.model import Costs, Forecast, Setup, forecast, work_seconds
from benchmarks.suite.table import replace_between

if TYPE_CHECKING:
    from collections.abc import Iterator

CORES = (2, 8, 32, 128, 512)
IMAGES = (10**5, 10**6, 10**7, 10**8, 10**9)
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
RECORDED = Path(__file__).with_name("recorded.json")

_LAYOUTS = {
    "objects, one prefix": {"layout": "objects"},
    "objects, 64 prefixes, 64 listers": {"layout": "objects", "prefixes": 64, "listers": 64},
    "tars": {"layout": "tars"},
    "tars, indexed by 64": {"layout": "tars", "prefixes": 64, "listers": 64},
}


def recorded() -> tuple[Costs, dict[str, dict[str, float]]]:
    """What was recorded: the costs, and runs on this many cores to compare with."""
    found = json.loads(RECORDED.read_text())
    return Costs(**found["costs"]), found["measured"]


def tables() -> Iterator[str]:
    """Line by line."""
    costs, measured = recorded()
    yield "Model against runs on the machine where its costs were recorded:\n"
    yield "| cores | measured | model | off by |"
    yield "|---:|---:|---:|---:|"
    for cores, run in measured.items():
        seconds, _ = work_seconds(Setup(int(cores), int(run["images"]), local=True), costs)
        off = seconds / run["seconds"] - 1
        yield f"| {cores} | {run['seconds']:.1f} s | {seconds:.1f} s | {off:+.0%} |"
    for name, how in _LAYOUTS.items():
        yield f"\n**{name}**\n"
        yield "| images | " + " | ".join(f"{cores} cores" for cores in CORES) + " |"
        yield "|---:|" + "---:|" * len(CORES)
        for images in IMAGES:
            cells = [_cell(forecast(Setup(cores, images, **how), costs)) for cores in CORES]  # type: ignore[arg-type]
            yield f"| {_power(images)} | " + " | ".join(cells) + " |"


def _cell(found: Forecast) -> str:
    bound = "" if found.bound == "tasks" else f" {found.bound}"
    return f"{_time(found.seconds)}, {found.efficiency:.0%}{bound}"


def _time(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * size:
            return (
                f"{seconds / size:.2g} {unit}"
                if seconds < 100 * size
                else f"{seconds / size:,.0f} {unit}"
            )
    return f"{seconds:.0f} s"


def _power(images: int) -> str:
    return f"10^{len(str(images)) - 1}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md")
    text = "\n".join(tables())
    if not parser.parse_args().write:
        print(text)
        return
    replace_between(PAGE, text)
    print(PAGE)


if __name__ == "__main__":
    main()
