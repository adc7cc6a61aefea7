"""``features`` and ``components`` as files for other tools: Parquet, CSV or NumPy's ``.npy``.

One data file of the table is in memory at a time. What is written appears all at once, under its
final name.
"""

from __future__ import annotations

import tempfile
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pomona.columns import matrix_of
from pomona.errors import StorageError, TableError, UsageError
from pomona.schema import COMPONENTS, FEATURES, MODEL
from pomona.storage import Location, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pomona.storage.table import Table

Format = Literal["parquet", "csv", "npy"]
FORMATS = get_args(Format)

_VECTORS = (FEATURES, COMPONENTS)
_SLICE = 1_024
"""Rows that are turned into text, or into columns, at a time."""
_KEYS = ".keys.csv"
"""What the file beside an ``.npy`` ends in."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: the file, and the keys beside an ``.npy``.
        rows: their number.
        dimension: values of each.
        bytes: of all files.
    """

    files: tuple[Location, ...]
    rows: int
    dimension: int
    bytes: int


def export_table(
    table: Table, model: str | None, target: Location, fmt: Format, *, force: bool = False
) -> Exported:
    """Write the rows of a table as one file.

    Args:
        table: ``features`` or ``components``.
        model: the rows to write, by their ``model`` column; None where it has none.
        target: the file.
        fmt: ``parquet`` (columns as in the table), ``csv`` (a column for each value, named
            ``features_0`` and so on) or ``npy`` (float32 [n, d]; the other columns, in the same
            order, in a CSV beside it that ends in ``.keys.csv``).
        force: whether files that are there are replaced.

    Raises:
        TableError: the table is absent, damaged or has no such rows.
        UsageError: a file is there already.
        StorageError: it cannot be written.
    """
    vector = next(name for name in _VECTORS if name in table.schema.names)
    rows = _rows(table, model)
    first = next(_batches(table, model), None) if rows else None
    if first is None:
        raise TableError(f"{table.location} has no rows.", "Run `pomona run INPUT OUTPUT` first.")
    dimension = matrix_of(first[vector].slice(0, 1)).shape[1]
    files = [target]
    if fmt == "npy":
        files.append(target.parent.join(target.name.removesuffix(".npy") + _KEYS))
    for file in files:
        if not force and open_store(file.parent).exists(file.name):
            raise UsageError(f"{file} is there already.", "Give --force to replace it.")
    batches = _batches(table, model)
    with _unpublished(files) as (paths, publish):
        if fmt == "parquet":
            _write_parquet(paths[0], batches, table.schema)
        elif fmt == "csv":
            _write_csv(paths[0], batches, vector, dimension)
        else:
            _write_npy(paths[0], paths[1], batches, vector, (rows, dimension))
        size = sum(path.stat().st_size for path in paths)
        publish(force)
    return Exported(tuple(files), rows, dimension, size)


def _rows(table: Table, model: str | None) -> int:
    if model is None:
        return table.rows()
    columns = (batch[MODEL] for batch in table.batches([MODEL]))
    return sum(pc.sum(pc.equal(column, model)).as_py() or 0 for column in columns)


def _batches(table: Table, model: str | None) -> Iterator[pa.Table]:
    """The rows, one data file at a time."""
    for batch in table.batches():
        rows = batch if model is None else batch.filter(pc.equal(batch[MODEL], model))
        if rows.num_rows:
            yield rows.select(table.schema.names)


def _write_parquet(path: Path, batches: Iterator[pa.Table], schema: pa.Schema) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_table(batch.cast(schema))


def _write_csv(path: Path, batches: Iterator[pa.Table], vector: str, dimension: int) -> None:
    names = [f"{vector}_{i}" for i in range(dimension)]
    writer = None
    try:
        for batch in batches:
            for at in range(0, batch.num_rows, _SLICE):
                piece = batch.slice(at, _SLICE)
                columns = np.ascontiguousarray(matrix_of(piece[vector]).T)
                flat = piece.drop_columns([vector])
                for name, values in zip(names, columns, strict=True):
                    flat = flat.append_column(name, pa.array(values))
                writer = writer or pyarrow.csv.CSVWriter(path, flat.schema)
                writer.write_table(flat)
    finally:
        if writer is not None:
            writer.close()


def _write_npy(
    path: Path, keys: Path, batches: Iterator[pa.Table], vector: str, shape: tuple[int, int]
) -> None:
    """The matrix, whose size stands in front, and the other columns beside it."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    writer = None
    try:
        with path.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for batch in batches:
                stream.write(matrix_of(batch[vector]).astype("<f4", copy=False).tobytes())
                flat = batch.drop_columns([vector])
                writer = writer or pyarrow.csv.CSVWriter(keys, flat.schema)
                writer.write_table(flat)
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _unpublished(
    files: list[Location],
) -> Iterator[tuple[list[Path], Callable[[bool], None]]]:
    """Local files to write to, and what puts them where they belong; else they are removed."""
    local = files[0].scheme == "file"
    folder = Path(files[0].parent.path if local else tempfile.gettempdir())
    paths = [folder / f".{uuid.uuid4().hex}.tmp" for _ in files]

    def publish(force: bool) -> None:
        # The keys first: whoever finds the matrix finds them too.
        for path, file in reversed(list(zip(paths, files, strict=True))):
            if local:
                path.replace(file.path)
            else:
                _send(path, file, force)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield paths, publish
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"Cannot write {files[0]}: {str(error)[:200]}", "Check the disk and your permissions."
        ) from error
    finally:
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _send(path: Path, file: Location, force: bool) -> None:
    from pomona.storage.multipart import send_in_parts

    sent = send_in_parts(str(path), file, create=not force, attributes={})
    if sent is None:
        raise UsageError(f"{file} is there already.", "Give --force to replace it.")
