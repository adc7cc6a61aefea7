"""INPUT changes between runs; every test goes on where the one before it ended."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pomona.samples import write_samples
from tests.command import facts, pomona

_COUNT = 90


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("increment")
    write_samples(folder / "in", count=_COUNT, processes=1)
    return folder / "in", folder / "out"


def _files(images: Path) -> list[Path]:
    return sorted(images.rglob("*.jpg"))


def _features(output: Path) -> pl.DataFrame:
    return pl.read_delta(str(output / "features")).sort("path")


def _balance(found: dict[str, int]) -> tuple[int, int, int]:
    assert found["listed"] == found["embedded"] + found["rejected"] + found["unchanged"]
    return found["embedded"], found["rejected"], found["unchanged"]


def test_first_run(place: tuple[Path, Path]) -> None:
    images, output = place
    assert _balance(facts("run", images, output)) == (_COUNT, 0, 0)


def test_nothing_to_do_starts_no_spark(place: tuple[Path, Path]) -> None:
    images, output = place
    found = facts("run", images, output)
    assert _balance(found) == (0, 0, _COUNT)
    assert found["seconds"]["start"] == 0
    assert "java" not in found["peak_bytes"]


def test_new_images_alone_are_embedded(place: tuple[Path, Path]) -> None:
    images, output = place
    before = _features(output)
    shutil.copy(_files(images)[0], images / "Training" / "new.jpg")
    assert _balance(facts("run", images, output)) == (1, 0, _COUNT)
    after = _features(output)
    assert after.filter(pl.col("path") != "Training/new.jpg").equals(before)
    assert pl.read_delta(str(output / "components")).height == _COUNT + 1


def test_a_changed_image_replaces_its_row(place: tuple[Path, Path]) -> None:
    images, output = place
    before = _features(output)
    Image.fromarray(np.full((100, 80, 3), 200, np.uint8)).save(images / "Training" / "new.jpg")
    assert _balance(facts("run", images, output)) == (1, 0, _COUNT)
    after = _features(output)
    row = after.filter(pl.col("path") == "Training/new.jpg")
    assert row.height == 1
    assert row["width"][0] == 80
    assert after.height == before.height


def test_an_image_that_breaks_moves_to_the_rejects(place: tuple[Path, Path]) -> None:
    images, output = place
    (images / "Training" / "new.jpg").write_bytes(b"\xff\xd8 no more")
    assert _balance(facts("run", images, output)) == (0, 1, _COUNT)
    assert _features(output).height == _COUNT
    rejects = pl.read_delta(str(output / "rejects"))
    assert rejects["path"].to_list() == ["Training/new.jpg"]


def test_a_reject_is_not_tried_again_until_asked(place: tuple[Path, Path]) -> None:
    images, output = place
    found = facts("run", images, output)
    assert _balance(found) == (0, 0, _COUNT + 1)
    assert found["unchanged_rejected"] == 1
    assert _balance(facts("run", images, output, "--retry-rejects")) == (0, 1, _COUNT)
    assert pl.read_delta(str(output / "rejects")).height == 1


def test_a_mended_image_leaves_the_rejects(place: tuple[Path, Path]) -> None:
    images, output = place
    shutil.copy(_files(images)[0], images / "Training" / "new.jpg")
    assert _balance(facts("run", images, output)) == (1, 0, _COUNT)
    assert pl.read_delta(str(output / "rejects")).height == 0
    assert _features(output).height == _COUNT + 1


def test_deleted_images_stay_until_pruned(place: tuple[Path, Path]) -> None:
    images, output = place
    (images / "Training" / "new.jpg").unlink()
    _files(images)[3].unlink()
    found = facts("run", images, output)
    assert _balance(found) == (0, 0, _COUNT - 1)
    assert (found["gone"], found["pruned"]) == (2, 0)
    assert _features(output).height == _COUNT + 1
    found = facts("run", images, output, "--prune")
    assert (found["gone"], found["pruned"]) == (2, 2)
    left = {path.relative_to(images).as_posix() for path in _files(images)}
    assert _features(output).height == _COUNT - 1
    assert set(_features(output)["path"]) == left
    assert pl.read_delta(str(output / "components")).height == _COUNT - 1


def test_another_precision_is_another_model_beside_the_first(place: tuple[Path, Path]) -> None:
    images, output = place
    model = facts("run", images, output)["model"]
    other = "fp32" if model.endswith("bf16") else "bf16"
    found = facts("run", images, output, "--precision", other)
    assert _balance(found) == (_COUNT - 1, 0, 0)
    assert set(_features(output)["model"]) == {model, found["model"]}
    # The reduced matrix is that of the run's own model.
    assert pl.read_delta(str(output / "components")).height == _COUNT - 1


def test_int8_stays_near_and_keeps_its_network(place: tuple[Path, Path]) -> None:
    images, output = place
    found = facts("embed", images, output, "--precision", "int8")
    assert _balance(found) == (_COUNT - 1, 0, 0)
    assert any("cosine distance of int8 to fp32" in why for why in found["choices"])
    rows = _features(output)
    exact = rows.filter(pl.col("model").str.ends_with("fp32"))["features"].to_numpy()
    rough = rows.filter(pl.col("model") == found["model"])["features"].to_numpy()
    a, b = np.stack(list(exact)), np.stack(list(rough))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert 0.95 < cosines.min() < 1
    (kept,) = (output / "models" / "network").glob("*.onnx")
    stamp = kept.stat().st_mtime_ns
    os.utime(_files(images)[0])
    assert _balance(facts("embed", images, output, "--precision", "int8"))[0] == 1
    assert kept.stat().st_mtime_ns == stamp


def test_compact_keeps_the_rows_and_drops_what_no_table_names(place: tuple[Path, Path]) -> None:
    images, output = place
    before = _features(output).sort("path", "model")
    (output / "features" / "part-orphan-0.parquet").write_bytes(b"left by a run that died")
    found = facts("compact", output)
    assert found["features"]["files_after"] <= found["features"]["files_before"]
    on_disk = {path.name for path in (output / "features").glob("*.parquet")}
    assert len(on_disk) == found["features"]["files_after"]
    assert _features(output).sort("path", "model").equals(before)
    assert _balance(facts("embed", images, output, "--precision", "int8"))[0] == 0


def test_too_many_rejects_end_with_their_own_code(place: tuple[Path, Path]) -> None:
    images, output = place
    (images / "Test" / "broken.jpg").write_bytes(b"GIF89a")
    done = pomona("run", images, output, "--max-rejects", "0")
    assert done.returncode == 3
    assert "1 of" in done.stderr
    assert pomona("run", images, output, "--max-rejects", "1").returncode == 0


def test_a_damaged_tar_prunes_nothing(place: tuple[Path, Path], tmp_path: Path) -> None:
    images, _ = place
    (tmp_path / "in").mkdir()
    shard = tmp_path / "in" / "shard.tar"
    with tarfile.open(shard, "w") as archive:
        for path in [path for path in _files(images) if path.name != "broken.jpg"][:40]:
            archive.add(path, arcname=path.name + "-" + path.parent.name + ".jpg")
    run = ("embed", tmp_path / "in", tmp_path / "out", "--precision", "fp32")
    assert _balance(facts(*run)) == (40, 0, 0)
    shard.write_bytes(shard.read_bytes()[: 10 * 4_096])
    done = pomona(*run, "--prune", "--max-rejects", "100%")
    assert done.returncode == 0, done.stderr
    assert "nothing pruned" in done.stderr
    # The member that was cut in two is a reject now; those behind it keep their rows.
    assert len(set(_features(tmp_path / "out")["path"])) == 39
