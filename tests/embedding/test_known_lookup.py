"""Looking up which images the tables hold, compared with sets and dictionaries."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from pomona.embedding.known import KnownImages, _Digests
from pomona.schema import FEATURES_TABLE, MANIFEST, REJECTS_TABLE
from pomona.storage import Location
from pomona.storage.datafile import write_datafile
from pomona.storage.table import Table

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "net@100px-fp32"
Rows = list[tuple[str, str]]


@pytest.mark.parametrize("heads", [40, 1_000])
def test_digests_are_found_by_both_of_their_halves(heads: int) -> None:
    """Few first halves, which many share, and many, of which most stand alone."""
    chance = np.random.default_rng(0)
    stored, asked = chance.integers(0, [heads, 9], (2, 500, 2)).astype(np.uint64)
    digests = _Digests([stored[:100], stored[100:100], stored[100:]])
    first, last = digests.find(asked)
    for row in range(len(asked)):
        where = np.nonzero((stored == asked[row]).all(axis=1))[0]
        assert sorted(digests.order[first[row] : last[row]]) == where.tolist()
    np.testing.assert_array_equal(digests.has(asked), last > first)


def test_no_digests_know_nothing() -> None:
    digests = _Digests([])
    assert len(digests) == 0
    assert not digests.has(np.zeros((3, 2), np.uint64)).any()
    assert digests.has(np.zeros((0, 2), np.uint64)).tolist() == []


def _tables(folder: Path, embedded: list[Rows], rejected: list[Rows]) -> tuple[Table, Table]:
    features = Table(Location.parse(folder / "features"), FEATURES_TABLE)
    rejects = Table(Location.parse(folder / "rejects"), REJECTS_TABLE)
    for table, files in ((features, embedded), (rejects, rejected)):
        table.create()
        for rows in files:
            common = {"path": "", "etag": "", "width": 1, "height": 1, "model": MODEL}
            common |= {"features": [0.0], "stage": "decode", "reason": "corrupt"}
            common |= {"message": "", "run": "r"}
            full = [{**common, "path": path, "etag": etag} for path, etag in rows]
            chosen = [{k: row.get(k) for k in table.schema.names} for row in full]
            data = pa.Table.from_pylist(chosen, schema=table.schema)
            table.commit([write_datafile(table.store, data, "test")])
    return features, rejects


def _batches(rows: Rows, size: int) -> list[pa.RecordBatch]:
    return [
        pa.RecordBatch.from_pylist(
            [{"path": path, "etag": etag, "size": 1} for path, etag in rows[begin : begin + size]],
            schema=MANIFEST,
        )
        for begin in range(0, len(rows), size)
    ]


def test_new_changed_gone_and_rejected_images_are_told_apart(tmp_path: Path) -> None:
    chance = random.Random(0)
    names = [f"{i}.jpg" for i in range(300)]
    held = [(name, str(chance.randrange(2))) for name in names[:200]]
    embedded, rejected = [held[:70], held[70:120]], [held[120:160], held[160:200]]
    listed = [(name, str(chance.randrange(2))) for name in names[50:]]
    known = KnownImages(*_tables(tmp_path, embedded, rejected), MODEL)
    fresh = [row for batch in known.unknown(_batches(listed, 64)) for row in batch.to_pylist()]
    expected = [row for row in listed if row not in held]
    assert [(row["path"], row["etag"]) for row in fresh] == expected
    assert known.gone == 50
    assert known.unchanged_rejected == len(set(listed) & set(held[120:]))
    stale = known.stale(_batches(expected, 64))
    paths = {path for path, _ in expected}
    for of_table, files in ((stale.features, embedded), (stale.rejects, rejected)):
        assert sorted(map(sorted, of_table.values())) == sorted(
            sorted(paths & {path for path, _ in rows}) for rows in files
        )


def test_where_nothing_is_replaced_nothing_is_looked_for(tmp_path: Path) -> None:
    held = [("a", "1"), ("b", "1")]
    known = KnownImages(*_tables(tmp_path, [held], []), MODEL)
    listed = [*held, ("c", "1")]
    (fresh,) = known.unknown(_batches(listed, 10))
    assert fresh.column("path").to_pylist() == ["c"]
    assert known.stale([fresh]) == ({}, {})


def test_an_image_with_two_rows_is_done_again_and_both_go(tmp_path: Path) -> None:
    known = KnownImages(*_tables(tmp_path, [[("a", "2")]], [[("a", "1")]]), MODEL)
    (fresh,) = known.unknown(_batches([("a", "2")], 10))
    assert fresh.num_rows == 1
    stale = known.stale([fresh])
    assert list(stale.features.values()) == list(stale.rejects.values()) == [{"a"}]
