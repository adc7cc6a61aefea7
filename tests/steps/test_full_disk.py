from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from pomona.samples import write_samples
from tests.command import facts, pomona


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    write_samples(tmp_path / "in", count=600, processes=1)
    run = ("run", tmp_path / "in", small_disk / "out", "--precision", "fp32")
    done = pomona(*run, "--task-images", "50", "--chunk-tasks", "2")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Free some disk space" in done.stderr
    assert "Traceback" not in done.stderr
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    found = facts(*run)
    assert found["listed"] == 600 == found["embedded"] + found["unchanged"]
    assert pl.read_delta(str(small_disk / "out" / "features")).n_unique("path") == 600
