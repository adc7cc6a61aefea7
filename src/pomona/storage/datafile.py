"""One Parquet file of a table, written by a worker and described for the commit."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pomona.storage.store import Store


@dataclass(frozen=True)
class DataFile:
    """What a commit has to know of a data file.

    Attributes:
        path: relative to the table's folder.
        size: in bytes.
        rows: number of rows.
        stats: Delta's statistics of the file, as JSON.
    """

    path: str
    size: int
    rows: int
    stats: str


def write_datafile(store: Store, table: pa.Table | pa.RecordBatch, name: str) -> DataFile:
    """Write rows as one Parquet file that no table names yet.

    Strings are dictionary-encoded and compressed with zstd; lists of floats are written plain,
    since they do not shrink (7 % for features, at four times the time).

    Args:
        store: of the table's folder.
        table: the rows, one row group.
        name: goes into the file's name, for people who look.

    Raises:
        StorageError: the file cannot be written.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    lists = {field.name for field in table.schema if pa.types.is_list(field.type)}
    flat = [field.name for field in table.schema if field.name not in lists]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(1, table.num_rows),
        use_dictionary=flat,
        write_statistics=flat,
        compression={
            **dict.fromkeys(flat, "zstd"),
            **{f"{name}.list.element": "none" for name in lists},
        },
        column_encoding={f"{name}.list.element": "PLAIN" for name in lists},
    )
    data = memoryview(sink.getvalue()).cast("B")  # Arrow's bytes are signed; obstore's are not
    path = f"part-{name}-{uuid.uuid4().hex}.parquet"
    store.write(path, data)
    return DataFile(path, data.nbytes, table.num_rows, _statistics(table, flat))


def _statistics(table: pa.Table, columns: list[str]) -> str:
    """Delta's per-file statistics: row count, and smallest, largest and nulls of flat columns."""
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in columns:
        column = table.column(name)
        nulls[name] = column.null_count
        if column.null_count < len(column):
            bounds = pc.min_max(column).as_py()
            low[name], high[name] = bounds["min"], bounds["max"]
    return json.dumps(
        {"numRecords": table.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}
    )


def now_ms() -> int:
    """Milliseconds since the epoch, as Delta's log has them."""
    return time.time_ns() // 1_000_000
