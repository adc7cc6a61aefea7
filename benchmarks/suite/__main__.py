"""All benchmarks in one command: measured in rounds, a table at the end, a JSON that is kept.

    make bench              # about 25 minutes on two cores
    make bench QUICK=1      # a few minutes: one round over few images; nothing is kept

Each part writes its own JSON to ``.bench/parts`` when it is done. A part that fails is named and
the others go on; the same command then measures only what is missing. When every part is there,
``benchmarks/results/VERSION-DATE.json`` is written and the parts are removed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.suite.bench import ROOT, Bench
from benchmarks.suite.measuring import BenchmarkError, machine
from benchmarks.suite.parts import PARTS
from benchmarks.suite.table import markdown, print_table, replace_between

from pomona import __version__

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.suite", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round over few images")
    parser.add_argument("--again", action="store_true", help="measure parts that are there already")
    parser.add_argument("--parts", help="only these, with commas: " + ",".join(PARTS))
    parser.add_argument("--partial", action="store_true", help="write a result without some parts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench")
    asked = parser.parse_args()
    if not asked.data.is_dir():
        parser.error(f"there are no photographs: {asked.data} (--data)")
    bench = Bench(asked.work.resolve(), asked.data.resolve(), asked.quick, asked.rounds)
    bench.work.mkdir(parents=True, exist_ok=True)
    # What the chain and the peers put into temporary folders lies on the same disk as the images.
    (bench.work / "tmp").mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(bench.work / "tmp")
    about = {
        "version": __version__,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "quick": asked.quick,
        "machine": machine(),
    }
    folder = bench.work / ("quick" if asked.quick else "parts")
    folder.mkdir(exist_ok=True)
    names = asked.parts.split(",") if asked.parts else list(PARTS)
    begin = time.monotonic()
    for name in names:
        _measure(bench, name, folder / f"{name}.json", about, again=asked.again)
    found = {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    parts = {name: found[name] for name in PARTS if name in found}
    result = {**about, "minutes": (time.monotonic() - begin) / 60, "parts": parts}
    print_table(result)
    failed = [name for name in PARTS if "error" in parts.get(name, {"error": ""})]
    if failed and not asked.partial:
        print(
            f"\nnot measured: {', '.join(failed)}; the same command tries them again, and with "
            "--partial the result is written without what fails"
        )
        return 1
    place = bench.work / "quick.json" if asked.quick else _place(about)
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(result, indent=1) + "\n")
    for name in PARTS:
        (folder / f"{name}.json").unlink(missing_ok=True)
    print(f"\n{place}")
    if not asked.quick:
        _redraw(result, place)
    return 0


def _redraw(result: dict[str, Any], file: Path) -> None:
    """Bring the README's picture and the tables of two pages up to date."""
    replace_between(PAGE, markdown(result))
    subprocess.run([sys.executable, ROOT / "benchmarks" / "picture.py", file], cwd=ROOT, check=True)
    recorded = result["parts"].get("scale", {"error": "not measured"})
    if "error" not in recorded:
        costs = ROOT / "benchmarks" / "scale" / "recorded.json"
        costs.write_text(json.dumps(recorded, indent=1) + "\n")
        subprocess.run([sys.executable, "-m", "benchmarks.scale", "--write"], cwd=ROOT, check=True)


def _measure(bench: Bench, name: str, file: Path, about: dict[str, Any], *, again: bool) -> None:
    work, share = PARTS[name]
    if file.exists() and not again:
        there = json.loads(file.read_text())
        if "error" not in there and there["commit"] == about["commit"]:
            print(f"{name}: there already", flush=True)
            return
    print(f"{name}: {' '.join((work.__doc__ or '').split())}", flush=True)
    bench.begin(share)
    begin = time.monotonic()
    try:
        found = work(bench)
    except BenchmarkError as error:
        found = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - one broken part does not stop the rest
        traceback.print_exc()
        found = {"error": str(BenchmarkError(f"{type(error).__name__}: {error}"))}
    found |= {"commit": about["commit"], "took": round(time.monotonic() - begin, 1)}
    file.write_text(json.dumps(found, indent=1))
    told = f"failed: {found['error']}" if "error" in found else f"{found['took']:.0f} s"
    print(f"  {told}", flush=True)


def _place(about: dict[str, Any]) -> Path:
    """A new name: VERSION-DATE, with a number behind it from the second of a day on."""
    stem = f"{about['version']}-{about['date']}"
    taken = len(list(RESULTS.glob(f"{stem}*.json")))
    return RESULTS / (f"{stem}.{taken + 1}.json" if taken else f"{stem}.json")


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    raise SystemExit(main())
