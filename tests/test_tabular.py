from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pomona.errors import StorageError, TableError, UsageError
from pomona.schema import COMPONENTS_TABLE, FEATURES_TABLE
from pomona.storage import Location, open_store
from pomona.storage.table import Table
from pomona.tabular import export_table
from tests.command import pomona
from tests.tables import PATHS, VALUES, write_features


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("path")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return write_features(tmp_path / "out")


def test_parquet_has_the_tables_columns(table: Table, tmp_path: Path) -> None:
    done = export_table(table, "m", Location.parse(tmp_path / "x.parquet"), "parquet")
    assert (done.rows, done.dimension, len(done.files)) == (5, 7, 1)
    found = _sorted(pl.read_parquet(tmp_path / "x.parquet"))
    assert found.columns == FEATURES_TABLE.names
    assert found["path"].to_list() == PATHS
    np.testing.assert_array_equal(np.array(found["features"].to_list(), np.float32), VALUES)
    assert found["label"].null_count() == 1


def test_csv_has_a_column_for_each_value(table: Table, tmp_path: Path) -> None:
    export_table(table, "m", Location.parse(tmp_path / "x.csv"), "csv")
    names = [f"features_{i}" for i in range(7)]
    types = dict.fromkeys(names, pl.Float32)
    found = _sorted(pl.read_csv(tmp_path / "x.csv", schema_overrides=types))
    assert found.columns == [*FEATURES_TABLE.names[:-1], *names]
    assert found["path"].to_list() == PATHS
    np.testing.assert_array_equal(found.select(names).to_numpy(), VALUES)
    assert found["label"].to_list() == [
        "Apfel, rot",
        None,
        "Apfel, rot",
        "Apfel, rot",
        "Apfel, rot",
    ]


def test_npy_has_its_keys_beside_it(table: Table, tmp_path: Path) -> None:
    done = export_table(table, "m", Location.parse(tmp_path / "new" / "x.npy"), "npy")
    matrix = np.load(tmp_path / "new" / "x.npy", mmap_mode="r")
    assert (matrix.dtype, matrix.shape) == (np.float32, (5, 7))
    keys = pl.read_csv(tmp_path / "new" / "x.keys.csv")
    order = [PATHS.index(path) for path in keys["path"].to_list()]
    np.testing.assert_array_equal(matrix, VALUES[order])
    assert keys.columns == FEATURES_TABLE.names[:-1]
    assert sorted(f.name for f in (tmp_path / "new").iterdir()) == ["x.keys.csv", "x.npy"]
    assert done.bytes == sum(f.stat().st_size for f in (tmp_path / "new").iterdir())


def test_what_is_there_stays_unless_forced(table: Table, tmp_path: Path) -> None:
    (tmp_path / "x.keys.csv").write_text("mine")
    target = Location.parse(tmp_path / "x.npy")
    with pytest.raises(UsageError, match=r"x\.keys\.csv is there already"):
        export_table(table, "m", target, "npy")
    assert not (tmp_path / "x.npy").exists()
    export_table(table, "m", target, "npy", force=True)
    assert (tmp_path / "x.keys.csv").read_text() != "mine"


def test_a_failure_leaves_what_was_there(table: Table, tmp_path: Path) -> None:
    target = Location.parse(tmp_path / "x.csv")
    export_table(table, "m", target, "csv")
    before = (tmp_path / "x.csv").read_bytes()
    last = max(table.files(), key=lambda file: file.path)
    path = Path(table.location.path) / last.path
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(TableError):
        export_table(table, "m", target, "csv", force=True)
    assert (tmp_path / "x.csv").read_bytes() == before
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


def test_a_folder_that_cannot_be_made_is_one_clear_error(table: Table, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write"):
        export_table(table, "m", Location.parse(tmp_path / "file" / "x.csv"), "csv")


def test_no_rows_are_told(tmp_path: Path) -> None:
    empty = Table(Location.parse(tmp_path / "components"), COMPONENTS_TABLE)
    with pytest.raises(TableError, match="no table"):
        export_table(empty, None, Location.parse(tmp_path / "x.csv"), "csv")
    empty.create()
    with pytest.raises(TableError, match="no rows"):
        export_table(empty, None, Location.parse(tmp_path / "x.csv"), "csv")


@pytest.mark.parametrize("name", ["x.npy", "y.csv"])
def test_into_a_bucket_all_at_once(table: Table, bucket: Any, tmp_path: Path, name: str) -> None:
    target = Location.parse(f"s3://orchard/deep/{name}")
    fmt: Any = name.partition(".")[2]
    done = export_table(table, "m", target, fmt)
    objects = {item.key: item.get()["Body"].read() for item in bucket.objects.all()}
    assert objects.keys() == {f"deep/{file.name}" for file in done.files}
    export_table(table, "m", Location.parse(tmp_path / name), fmt)
    assert objects[f"deep/{name}"] == (tmp_path / name).read_bytes()
    with pytest.raises(UsageError, match="already"):
        export_table(table, "m", target, fmt)


def test_the_command_finds_file_format_and_model(table: Table, tmp_path: Path) -> None:
    output = tmp_path / "out"
    ledger = {"status": "done", "steps": ["embed"], "model": "m"}
    open_store(output).write("runs/1.json", json.dumps(ledger).encode())
    done = pomona("export-table", "features", output, tmp_path, "--format", "npy", "--json")
    told = json.loads(done.stdout)
    assert told["files"][0] == str(tmp_path / "features.npy")
    assert (told["rows"], told["dimension"], told["model"]) == (5, 7, "m")
    for arguments, why in [
        (("features", output, tmp_path, "--format", "npy"), "--force"),
        (("features", output, output / "features"), "inside the table"),
        (("features", output, tmp_path / "x.csv", "--format", "npy"), "ends in .csv"),
        (("rejects", output, tmp_path / "x"), "features, components"),
    ]:
        failed = pomona("export-table", *arguments)
        assert (failed.returncode, why in failed.stderr) == (2, True), failed.stderr
