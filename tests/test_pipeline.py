"""The whole chain, by its command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import PCA

from pomona.reduction import load_pca
from pomona.samples import write_faults, write_samples
from pomona.storage import open_store
from tests.browser import chromium, look_at, opened
from tests.command import facts, pomona

_NO_OVERRIDE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Takes from root the right to read files whatever their permissions."""
_SHARED = Path(__file__).parents[2] / "shared" / "data"


def test_broken_files_of_every_kind_are_rejects_with_their_reason(tmp_path: Path) -> None:
    good, bad = tmp_path / "in" / "good", tmp_path / "in" / "bad"
    write_samples(good, count=1_000, processes=2)
    expected = write_faults(bad, per_kind=20)
    assert len(expected) >= 200
    run = ("run", tmp_path / "in", tmp_path / "out", "--max-rejects", "100%", "--json")
    done = pomona(*run, before=_NO_OVERRIDE if os.geteuid() == 0 else [])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["listed"] == found["embedded"] + found["rejected"] + found["unchanged"]
    rejects = pl.read_delta(str(tmp_path / "out" / "rejects"))
    reasons = dict(zip(rejects["path"], rejects["reason"], strict=True))
    assert reasons == {f"bad/{path}": str(reason) for path, reason in expected.items()}
    features = pl.read_delta(str(tmp_path / "out" / "features"))
    paths = {path.relative_to(tmp_path / "in").as_posix() for path in good.rglob("*.jpg")}
    assert set(features["path"]) == paths
    assert features["label"].null_count() == 0
    assert pl.read_delta(str(tmp_path / "out" / "components")).height == 1_000
    _look(tmp_path / "out", "samples")


def _look(output: Path, name: str) -> None:
    """What the report shows of a run, and screenshots of it."""
    facts = json.loads((output / "report.json").read_text())
    assert {found["problem"] for found in facts["pictures"].values()} == {""}
    with chromium() as browser:
        look_at(browser, output / "report.html", name)
        with opened(browser, output / "report.html") as page:
            told = page.locator("#rejects h2").text_content() or ""
            assert told.startswith(
                f"{facts['rejects']['total']:,}" if facts["rejects"]["total"] else "Every"
            )
            for reason, count in facts["rejects"]["by_reason"].items():
                assert f"{reason.replace('_', ' ')}: {count}" in page.inner_text("#rejects .tags")
            assert page.locator("#axes .pic:not(.none)").count() == 60
            assert page.locator("#labels li").count() == len(facts["images"]["by_label"])


@pytest.mark.skipif(
    not (_SHARED / "fruits360-33.tar").exists(), reason="the photographs are not here"
)
def test_the_photographs_of_33_fruits(tmp_path: Path) -> None:
    found = facts("run", _SHARED / "fruits360-33.tar", tmp_path / "out")
    assert (found["listed"], found["embedded"], found["rejected"]) == (15_506, 15_506, 0)
    assert found["layout"] == "{split}/{label}/{name}"
    features = pl.read_delta(str(tmp_path / "out" / "features"))
    assert features.height == features.n_unique("path") == 15_506
    assert features["label"].n_unique() == 33
    assert set(features["split"]) == {"Training"}
    assert set(features["features"].list.len()) == {512}
    reduced = pl.read_delta(str(tmp_path / "out" / "components"))
    assert set(reduced["components"].list.len()) == {found["components"]}
    assert found["explained_variance"] >= 0.95
    rows = np.stack(features["features"].to_list()).astype(np.float64)
    theirs = PCA(n_components=found["components"], svd_solver="full").fit(rows)
    ours, _ = load_pca(open_store(tmp_path / "out"), "models/pca/")
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-5)
    cosines = np.abs(np.sum(ours.components_ * theirs.components_, axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    _look(tmp_path / "out", "photographs")
    assert found["peak_bytes"]["worker"] < 1e9
    assert found["peak_bytes"]["driver"] + found["peak_bytes"]["java"] < 1.5e9
