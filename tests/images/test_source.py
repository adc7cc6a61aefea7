from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pomona.samples import write_faults

_COLUMNS = ["path", "etag", "label", "split", "group", "width", "height", "content", "reject"]


def _load(spark: SparkSession, folder: Path, **options: Any) -> Any:
    return spark.read.format("pomona.images").options(**options).load(str(folder))


def test_a_folder_is_read_in_partitions_with_labels_and_bytes(
    spark: SparkSession, photographs: Path
) -> None:
    found = _load(spark, photographs, partitionImages=50)
    assert found.columns == _COLUMNS
    assert found.rdd.getNumPartitions() == 5
    rows = {row.path: row for row in found.collect()}
    files = {str(file.relative_to(photographs)): file for file in photographs.rglob("*.jpg")}
    assert rows.keys() == files.keys()
    for path, row in rows.items():
        split, label, _ = path.split("/")
        assert (row.split, row.label, row.group) == (split, label, None)
        if row.reject is None:
            assert row.content == files[path].read_bytes()
            with Image.open(files[path]) as image:
                assert (row.width, row.height) == image.size
        else:
            assert (row.content, row.width, row.height) == (None, None, None)


def test_every_kind_of_broken_file_is_a_row_with_its_reason(
    spark: SparkSession, tmp_path: Path
) -> None:
    expected = write_faults(tmp_path / "faults", per_kind=3)
    rows = _load(spark, tmp_path / "faults", maxPixels=4_000_000).collect()
    reasons = {row.path: row.reject.reason for row in rows if row.reject is not None}
    assert reasons.items() <= {path: str(reason) for path, reason in expected.items()}.items()
    missing = set(expected) - set(reasons)
    assert all(expected[path].value in ("too_many_pixels", "unreadable") for path in missing)


def test_tars_are_read_without_being_unpacked(
    spark: SparkSession, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "shards").mkdir()
    for label in ("Lime", "Kiwi"):
        with tarfile.open(tmp_path / "shards" / f"{label}.tar", "w") as archive:
            archive.add(photographs / "Training" / label, f"Training/{label}")
    rows = _load(spark, tmp_path / "shards").collect()
    assert {row.label for row in rows} == {"Lime", "Kiwi"}
    assert {row.path.split("/")[0] for row in rows} == {"Lime.tar", "Kiwi.tar"}
    one = _load(spark, tmp_path / "shards" / "Kiwi.tar").collect()
    files = {f"Training/Kiwi/{f.name}": f for f in (photographs / "Training" / "Kiwi").iterdir()}
    assert {row.path: row.content for row in one} == {p: f.read_bytes() for p, f in files.items()}


def test_pixels_are_those_that_a_network_is_given(spark: SparkSession, photographs: Path) -> None:
    from pomona.images.decoding import DecodeLimits, decode
    from pomona.images.fitting import fit_square

    rows = _load(spark, photographs / "Test" / "Lime", content="pixels", size=32).collect()
    assert rows
    for row in rows:
        data = (photographs / "Test" / "Lime" / row.path).read_bytes()
        expected = np.empty((32, 32, 3), np.uint8)
        fit_square(decode(data, wanted=32, limits=DecodeLimits()).pixels, expected)
        found = np.frombuffer(row.pixels, np.uint8).reshape(32, 32, 3)
        np.testing.assert_array_equal(found, expected)


def test_a_listing_reads_nothing(spark: SparkSession, photographs: Path) -> None:
    rows = _load(spark, photographs, content="none", layout="{label}/{name}").collect()
    assert len(rows) == 233
    assert all(row.content is row.width is row.reject is row.split is None for row in rows)


def test_an_empty_folder_has_no_rows(spark: SparkSession, tmp_path: Path) -> None:
    assert _load(spark, tmp_path).collect() == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"layuot": "{name}"}, "no option layuot"),
        ({"layout": "{nmae}"}, "unknown part"),
        ({"content": "jpeg"}, "one of: bytes"),
        ({"content": "pixels"}, "go together"),
        ({"size": "32"}, "go together"),
        ({"maxBytes": "0"}, "above 0"),
        ({"path": "/nowhere/to/be/found"}, "does not exist"),
    ],
)
def test_mistakes_are_told_when_it_is_loaded(
    spark: SparkSession, photographs: Path, options: dict[str, str], told: str
) -> None:
    reader = spark.read.format("pomona.images").options(**{"path": str(photographs)} | options)
    with pytest.raises(PySparkException, match=told):
        reader.load()
