import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from pomona.samples import write_faults, write_samples


def _pomona(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pomona", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def test_whole_chain_then_nothing_to_do(tmp_path: Path) -> None:
    write_samples(tmp_path / "in" / "good", count=120, processes=1)
    expected = write_faults(tmp_path / "in" / "bad", per_kind=2)
    first = _pomona("run", tmp_path / "in", tmp_path / "out", "--max-rejects", "100%", "--json")
    assert first.returncode == 0, first.stderr
    facts = json.loads(first.stdout)
    assert facts["listed"] == facts["embedded"] + facts["rejected"] + facts["unchanged"]
    features = pl.read_delta(str(tmp_path / "out" / "features"))
    assert set(features["path"]) >= {
        f"good/{path.relative_to(tmp_path / 'in' / 'good')}"
        for path in (tmp_path / "in" / "good").rglob("*.jpg")
    }
    assert pl.read_delta(str(tmp_path / "out" / "components")).height == facts["embedded"]
    rejects = pl.read_delta(str(tmp_path / "out" / "rejects"))
    found = dict(zip(rejects["path"], rejects["reason"], strict=True))
    # A file without permission is readable for root, and is then a good image.
    wrong = {
        path: (str(reason), found.get(f"bad/{path}"))
        for path, reason in expected.items()
        if str(reason) != "unreadable" and found.get(f"bad/{path}") != str(reason)
    }
    assert not wrong
    again = json.loads(
        _pomona("run", tmp_path / "in", tmp_path / "out", "--max-rejects", "100%", "--json").stdout
    )
    assert again["embedded"] == 0
    assert again["listed"] == again["rejected"] + again["unchanged"]


def test_a_wrong_path_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    done = _pomona("run", tmp_path / "absent", tmp_path / "out")
    assert done.returncode == 1
    assert "does not exist" in done.stderr
    assert len(done.stderr.splitlines()) <= 10
    assert not (tmp_path / "out").exists()
