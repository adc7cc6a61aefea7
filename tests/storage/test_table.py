from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pomona.errors import TableError
from pomona.schema import FEATURES_TABLE, REJECTS_TABLE
from pomona.storage import Location
from pomona.storage.datafile import DataFile, write_datafile
from pomona.storage.table import Table

_AWKWARD = [
    "plain",
    "with space",
    "umlaut äöü",
    "quote'\"",
    "%41 +&?#",
    "tab\tand\nline",
    "雪" * 40,
]


def _rows(paths: list[str], model: str = "m") -> pa.Table:
    rows = [
        {
            "path": path,
            "etag": f"e{number}",
            "label": None if number % 2 else f"label {number}",
            "split": None,
            "group": None,
            "width": number,
            "height": 2 * number,
            "model": model,
            "features": [number / 3, -0.0, 1e-30],
        }
        for number, path in enumerate(paths)
    ]
    return pa.Table.from_pylist(rows, schema=FEATURES_TABLE)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(Location.parse(tmp_path / "features"), FEATURES_TABLE)
    table.create()
    return table


def _add(table: Table, rows: pa.Table) -> DataFile:
    file = write_datafile(table.store, rows, "test")
    table.commit([file])
    return file


def test_a_data_file_goes_into_a_bucket_as_it_goes_to_disk(bucket: Any, table: Table) -> None:
    remote = Table(Location.parse("s3://orchard/features"), FEATURES_TABLE)
    file = write_datafile(remote.store, _rows(_AWKWARD), "test")
    local = write_datafile(table.store, _rows(_AWKWARD), "test")
    sent = bucket.Object(f"features/{file.path}").get()["Body"].read()
    assert sent == (Path(table.location.path) / local.path).read_bytes()
    assert (file.size, file.rows) == (len(sent), len(_AWKWARD))


def test_readers_that_we_did_not_write_find_the_same_rows(table: Table) -> None:
    rows = _rows(_AWKWARD)
    _add(table, rows.slice(0, 4))
    _add(table, rows.slice(4))
    expected = rows.to_pylist()
    with_polars = pl.read_delta(str(table.location)).sort("width").to_dicts()
    assert with_polars == pl.from_arrow(rows).to_dicts()  # type: ignore[union-attr]
    log = sorted((Path(table.location.path) / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for file in log for line in file.read_text().splitlines()]
    named = [action["add"]["path"] for action in actions if "add" in action]
    with_pyarrow = [
        row for name in named for row in pq.read_table(f"{table.location}/{name}").to_pylist()
    ]
    assert with_pyarrow == expected


def test_statistics_are_true_and_serve_polars_filters(table: Table) -> None:
    _add(table, _rows(["a", "b"], "first"))
    _add(table, _rows(["y", "z"], "second"))
    assert table.distinct("model") == {"first", "second"}
    lazily = pl.scan_delta(str(table.location)).filter(pl.col("path") >= "y").collect()
    assert lazily["path"].to_list() == ["y", "z"]
    stats = [json.loads(s) for s in _log_stats(table)]
    assert {s["numRecords"] for s in stats} == {2}
    assert {s["nullCount"]["split"] for s in stats} == {2}


def _log_stats(table: Table) -> list[str]:
    log = sorted((Path(table.location.path) / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for file in log for line in file.read_text().splitlines()]
    return [action["add"]["stats"] for action in actions if "add" in action]


def test_a_file_that_no_commit_names_does_not_exist(table: Table) -> None:
    write_datafile(table.store, _rows(["orphan"]), "test")
    _add(table, _rows(["named"]))
    assert table.rows() == 1
    assert pl.read_delta(str(table.location))["path"].to_list() == ["named"]


def test_a_commit_replaces_files_in_one_transaction(table: Table) -> None:
    old = _add(table, _rows(["a", "b"]))
    new = write_datafile(table.store, _rows(["c"]), "test")
    version = table.commit([new], removed=[old.path])
    assert version == 2
    assert pl.read_delta(str(table.location))["path"].to_list() == ["c"]
    assert pl.read_delta(str(table.location), version=1)["path"].to_list() == ["a", "b"]


def test_without_copies_the_rows_that_stay(table: Table) -> None:
    file = _add(table, _rows(["a", "b", "c"]))
    kept = table.without(file.path, lambda rows: pa.chunked_array([[False, True, False]]))
    assert kept is not None
    assert table.read(kept.path)["path"].to_pylist() == ["a", "c"]
    assert table.without(file.path, lambda rows: pa.chunked_array([[True] * 3])) is None


def test_compact_joins_files_and_deletes_the_unnamed(table: Table) -> None:
    for number in range(6):
        _add(table, _rows([f"{number}"]))
    write_datafile(table.store, _rows(["orphan"]), "test")
    counts = table.compact(1 << 20)
    assert counts["files_before"] == 6
    assert counts["files_after"] == 1
    assert counts["files_deleted"] == 7
    assert sorted(pl.read_delta(str(table.location))["path"]) == ["0", "1", "2", "3", "4", "5"]
    assert Table(table.location, FEATURES_TABLE).rows() == 6


def test_a_lost_or_damaged_file_is_named(table: Table) -> None:
    file = _add(table, _rows(["a"]))
    path = Path(table.location.path) / file.path
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(TableError, match=file.path):
        table.read(file.path)
    path.unlink()
    with pytest.raises(TableError, match=file.path):
        table.read(file.path)


def test_a_table_of_other_columns_is_not_written_to(table: Table) -> None:
    with pytest.raises(TableError, match="no column 'stage'"):
        Table(table.location, REJECTS_TABLE).create()


def test_a_damaged_log_is_one_clear_error(table: Table) -> None:
    for file in (Path(table.location.path) / "_delta_log").glob("*.json"):
        file.write_text("no JSON")
    with pytest.raises(TableError, match="Cannot open"):
        Table(table.location, FEATURES_TABLE).rows()


def test_two_writers_that_remove_the_same_file_do_not_both_win(table: Table) -> None:
    file = _add(table, _rows(["a"]))
    other = Table(table.location, FEATURES_TABLE)
    assert other.rows() == 1
    table.commit([write_datafile(table.store, _rows(["b"]), "test")], removed=[file.path])
    with pytest.raises(TableError, match="Cannot commit"):
        other.commit([write_datafile(table.store, _rows(["c"]), "test")], removed=[file.path])
    assert pl.read_delta(str(table.location))["path"].to_list() == ["b"]
