"""Runs that are killed, stopped or started twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pomona.samples import write_faults, write_samples
from tests.command import Started, facts, gone, pomona

_FINE = ("--precision", "fp32", "--task-images", "12", "--chunk-tasks", "2", "--max-rejects", "50%")
"""Many small commits, so that there is something between them."""
_IMAGES, _FAULTS = 480, 10


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_samples(folder / "good", count=_IMAGES, processes=1)
    write_faults(folder / "bad", per_kind=1)
    return folder


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    output = tmp_path_factory.mktemp("whole") / "out"
    found = facts("run", images, output, *_FINE)
    assert found["embedded"] >= _IMAGES
    return _tables(output)


def _tables(output: Path) -> dict[str, pl.DataFrame]:
    engine = json.loads(max((output / "runs").glob("*.json")).read_text())["network"]["engine"]
    return {
        "features": pl.read_delta(str(output / "features")).sort("path"),
        "rejects": pl.read_delta(str(output / "rejects")).drop("run").sort("path"),
        "components": pl.read_delta(str(output / "components")).sort("path"),
        "engine": pl.DataFrame({"engine": [engine]}),
    }


def _commits(output: Path, table: str) -> int:
    return len(list((output / table / "_delta_log").glob("*.json")))


def _rows(output: Path) -> int:
    return pl.read_delta(str(output / "features")).height


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "before the first commit": lambda out: (
        bool(list((out / "features").glob("part-*"))) and _commits(out, "features") < 2
    ),
    "between two commits": lambda out: _commits(out, "features") >= 5,
    "while reducing": lambda out: bool(list((out / "components").glob("part-*"))),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again_it_ends_as_if_nothing_had_happened(
    moment: str, images: Path, whole: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    engine = ("--engine", whole["engine"]["engine"][0])
    run = Started("run", images, output, *_FINE, *engine)
    below: list[int] = []

    def seen() -> bool:
        if not MOMENTS[moment](output):
            return False
        below.extend(run.children())
        return True

    run.when(seen, signal.SIGKILL)
    assert run.end()[0] == -signal.SIGKILL
    assert below
    assert gone(below), "Java or a worker outlived the driver"
    kept = _rows(output)
    again = facts("run", images, output, *_FINE, *engine)
    assert again["listed"] == again["embedded"] + again["rejected"] + again["unchanged"]
    assert again["embedded"] == whole["features"].height - kept
    found = _tables(output)
    for name in ("features", "rejects", "components"):
        assert found[name].equals(whole[name]), name


@pytest.mark.parametrize("strike", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_ends_in_order_and_says_how_to_go_on(
    strike: signal.Signals, images: Path, whole: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = Started("run", images, output, *_FINE)
    run.when(lambda: _commits(output, "features") >= 4, strike)
    code, told = run.end()
    assert code == 130
    assert "run the same command again" in told
    assert "Traceback" not in told
    ledger = json.loads(next((output / "runs").glob("*.json")).read_text())
    assert ledger["status"] == "interrupted"
    kept = _rows(output)
    again = facts("run", images, output, *_FINE)
    assert again["embedded"] == whole["features"].height - kept


def test_a_second_run_on_the_same_output_is_refused_and_harms_nothing(
    images: Path, whole: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    first = Started("run", images, output, *_FINE)
    try:
        first.when(lambda: _commits(output, "features") >= 2, signal.SIGSTOP)
        second = pomona("run", images, output, *_FINE)
        assert second.returncode == 1
        assert "Another run is writing" in second.stderr
        assert str(first.pid) in second.stderr
    finally:
        first.when(lambda: True, signal.SIGCONT)
        code, told = first.end()
    assert code == 0, told
    assert _tables(output)["features"]["path"].equals(whole["features"]["path"])
