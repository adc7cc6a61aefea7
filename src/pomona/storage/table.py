"""A Delta table under OUTPUT: workers write data files, the driver commits them.

A file that no commit names does not exist for any reader, so a task that ran twice or a run that
died leaves nothing that could be counted.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pomona.errors import PomonaError, TableError
from pomona.storage import NotFound, NotPermitted, ReadFailed, answers, open_store
from pomona.storage.datafile import DataFile, now_ms, write_datafile
from pomona.storage.delta import delta_options
from pomona.storage.lock import ensure_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

    from pomona.storage.location import Location
    from pomona.storage.store import Store

_KEEP_LOG = {"delta.logRetentionDuration": "interval 7 days"}


class Table:
    """One table, at its newest version.

    Attributes:
        location: the table's folder.
        schema: of its rows.
    """

    def __init__(self, location: Location, schema: pa.Schema) -> None:
        self.location = location
        self.schema = schema
        self._delta: DeltaTable | None = None
        self._options: dict[str, str] | None = None

    @property
    def store(self) -> Store:
        """The store of the table's folder."""
        return open_store(self.location)

    def exists(self) -> bool:
        """Whether the table has been created."""
        return self.store.exists("_delta_log")

    def create(self) -> None:
        """Create the table, empty, unless it is there.

        Raises:
            TableError: a table of other columns is there, or the folder cannot be written.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        try:
            if not self.exists():
                self._options = delta_options(self.location)
                self._delta = DeltaTable.create(
                    self.location.uri,
                    self.schema,
                    mode="ignore",
                    configuration=_KEEP_LOG,
                    storage_options=self._options,
                )
            self._check_columns()
        except (DeltaError, OSError) as error:
            raise self._failure("create", error) from error

    @property
    def version(self) -> int:
        """The number of the newest commit."""
        return self._open().version()

    def files(self) -> list[DataFile]:
        """The data files of the newest version, sorted by name."""
        actions = pa.table(self._open().get_add_actions(flatten=False)).select(
            ["path", "size_bytes", "num_records"]
        )
        found = [
            DataFile(row["path"], row["size_bytes"], row["num_records"], "")
            for row in actions.to_pylist()
        ]
        return sorted(found, key=lambda file: file.path)

    def rows(self) -> int:
        """The number of rows of the newest version, from the log alone."""
        return sum(file.rows for file in self.files())

    def read(self, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one data file.

        Raises:
            TableError: the log names the file but it is gone or damaged.
        """
        return read_datafile(self.store, file, columns)

    def distinct(self, column: str) -> set[str]:
        """The values of a string column, from the log where each file has only one."""
        actions = pa.table(self._open().get_add_actions(flatten=True))
        lows, highs = (actions[f"{bound}.{column}"].to_pylist() for bound in ("min", "max"))
        found: set[str] = set()
        for path, low, high in zip(actions["path"].to_pylist(), lows, highs, strict=True):
            same = low is not None and low == high
            values = [low] if same else self.read(path, [column])[column].unique().to_pylist()
            found.update(values)
        return found

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows, one data file at a time."""
        for file in self.files():
            yield self.read(file.path, columns)

    def commit(
        self,
        added: Iterable[DataFile],
        *,
        removed: Iterable[str] = (),
        overwrite: bool = False,
    ) -> int:
        """Add and remove data files in one transaction.

        Args:
            added: files that lie in the table's folder.
            removed: files that the newest version names.
            overwrite: whether every file of the newest version is removed.

        Returns:
            The version that the table has now.

        Raises:
            TableError: the commit was refused; the table is as it was.
        """
        from deltalake.exceptions import DeltaError
        from deltalake.transaction import AddAction, RemoveAction

        ensure_held(self.location)
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                path=file.path,
                size=file.size,
                partition_values={},
                modification_time=now_ms(),
                data_change=True,
                stats=file.stats,
            )
            for file in added
        ]
        if not overwrite:
            actions += [
                RemoveAction(path=path, data_change=True, deletion_timestamp=now_ms())
                for path in removed
            ]
        if not actions and not overwrite:
            return self.version
        try:
            delta = self._open()
            delta.create_write_transaction(
                actions,
                mode="overwrite" if overwrite else "append",
                schema=delta.schema(),
                partition_by=[],
            )
            delta.update_incremental()
            return delta.version()
        except (DeltaError, OSError) as error:
            raise self._failure("commit to", error) from error

    def without(
        self, file: str, unwanted: Callable[[pa.Table], pa.ChunkedArray]
    ) -> DataFile | None:
        """Write a copy of a data file that lacks some rows; None where nothing is left.

        Args:
            file: a file of the newest version.
            unwanted: gives a boolean column, true for the rows to leave out.
        """
        rows = self.read(file)
        kept = rows.filter(pc.invert(unwanted(rows)))
        return write_datafile(self.store, kept, "kept") if kept.num_rows else None

    def compact(self, target_bytes: int) -> dict[str, int]:
        """Rewrite small files into large ones, and delete files that the table does not name.

        Nothing else may be writing: a file that was written but not yet committed goes too.

        Returns:
            Counts: ``files_before``, ``files_after``, ``files_deleted``.
        """
        from deltalake.exceptions import DeltaError

        try:
            delta = self._open()
            before = len(delta.file_uris())
            delta.optimize.compact(target_size=target_bytes)
            delta.create_checkpoint()
            deleted = delta.vacuum(
                retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True
            )
            return {
                "files_before": before,
                "files_after": len(delta.file_uris()),
                "files_deleted": len(deleted),
            }
        except (DeltaError, OSError) as error:
            raise self._failure("compact", error) from error

    def _open(self) -> DeltaTable:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        options = delta_options(self.location)
        if self._delta is None or options != self._options:
            if not self.exists():
                raise self._absent()
            try:
                self._delta = DeltaTable(self.location.uri, storage_options=options)
                self._options = options
            except TableNotFoundError as error:
                raise self._absent() from error
            except (DeltaError, OSError, ValueError) as error:
                raise self._failure("open", error) from error
        return self._delta

    def _check_columns(self) -> None:
        names = {field["name"] for field in json.loads(self._open().schema().to_json())["fields"]}
        missing = [name for name in self.schema.names if name not in names]
        if missing:
            raise TableError(
                f"The table {self.location} has no column {missing[0]!r}.",
                "It was not written by this version of Pomona; choose another OUTPUT.",
            )

    def _absent(self) -> TableError:
        return TableError(
            f"There is no table {self.location}.", "Run `pomona run INPUT OUTPUT` first."
        )

    def _failure(self, verb: str, error: Exception) -> PomonaError:
        if self.location.scheme == "s3":
            return answers.failure(verb, f"the table {self.location}", error)
        text = " ".join(str(error).split())[:300]
        return TableError(
            f"Cannot {verb} the table {self.location}: {text}",
            "Check the disk and your permissions there; what was committed before is intact.",
        )


def read_datafile(store: Store, file: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one Parquet file of a table.

    Raises:
        TableError: the file is gone, unreadable or damaged.
    """
    try:
        with store.open(file) as stream:
            return pq.read_table(
                stream, columns=None if columns is None else list(columns), use_threads=False
            )
    except (NotFound, NotPermitted, ReadFailed, pa.ArrowException, OSError) as error:
        raise TableError(
            f"Cannot read {store.root}/{file}: {str(error)[:200]}",
            "The log names this file; restore it, or choose another OUTPUT and run again.",
        ) from error
