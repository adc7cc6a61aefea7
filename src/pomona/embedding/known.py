"""Which listed images the tables hold already.

Keys are compared by 128-bit digests in sorted arrays: 32 bytes an image, so that ten million known
images take a third of a gigabyte.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pomona.schema import ETAG, MODEL, PATH, REASON, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pomona.storage.table import Table

_DIGEST = "S16"
_LASTING = [str(reason) for reason in Reason if reason.lasting]


class Stale(NamedTuple):
    """Rows that a new version of their image replaces.

    Attributes:
        features: data file of the features table to the paths in it.
        rejects: data file of the rejects table to the paths in it.
    """

    features: dict[str, set[str]]
    rejects: dict[str, set[str]]


class KnownImages:
    """What the tables hold for one model.

    Args:
        features: the features table.
        rejects: the rejects table.
        model: rows of other models do not count.
        retry_rejects: whether lasting rejects do not count either.

    Attributes:
        unchanged_rejected: listed images that stand in ``rejects`` and stay there, of those that
            :meth:`unknown` has seen.
    """

    def __init__(
        self, features: Table, rejects: Table, model: str, *, retry_rejects: bool = False
    ) -> None:
        keys: list[NDArray[np.bytes_]] = []
        paths: list[NDArray[np.bytes_]] = []
        files: list[NDArray[np.int32]] = []
        rejected: list[NDArray[np.bytes_]] = []
        self._files: list[tuple[bool, str]] = []
        for table, is_features in ((features, True), (rejects, False)):
            columns = [PATH, ETAG, MODEL if is_features else REASON]
            for file in table.files():
                rows = table.read(file.path, columns)
                if is_features:
                    rows = rows.filter(pc.equal(rows[MODEL], model))
                    live = rows
                else:
                    live = rows.filter(pc.is_in(rows[REASON], pa.array(_LASTING)))
                    live = live.slice(0, 0) if retry_rejects else live
                digests = _digests(live[PATH].to_pylist(), live[ETAG].to_pylist())
                keys.append(digests)
                if not is_features:
                    rejected.append(digests)
                paths.append(_digests(rows[PATH].to_pylist()))
                files.append(np.full(rows.num_rows, len(self._files), np.int32))
                self._files.append((is_features, file.path))
        self._keys = _sorted(keys)
        self._rejected = _sorted(rejected)
        self.unchanged_rejected = 0
        all_paths = np.concatenate(paths) if paths else np.empty(0, _DIGEST)
        order = np.argsort(all_paths, kind="stable")
        self._paths = all_paths[order]
        self._file_of = np.concatenate(files)[order] if files else np.empty(0, np.int32)
        self._seen = np.zeros(len(self._paths), bool)

    @property
    def empty(self) -> bool:
        """Whether the tables hold nothing."""
        return not len(self._paths)

    @property
    def gone(self) -> int:
        """Known rows whose image none of the batches given to :meth:`unknown` listed."""
        return int((~self._seen).sum())

    def unknown(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of a manifest that are new, changed, or to be tried again.

        An image with several rows is among them too: a run that died between the commits of the
        two tables may leave the row of an older version behind.
        """
        for batch in batches:
            if self.empty:
                yield batch
                continue
            paths = batch.column(PATH).to_pylist()
            rows = self._see(_digests(paths))
            digests = _digests(paths, batch.column(ETAG).to_pylist())
            known = _member(self._keys, digests) & (rows == 1)
            if len(self._rejected):
                self.unchanged_rejected += int((_member(self._rejected, digests) & known).sum())
            fresh = batch.filter(pa.array(~known))
            if fresh.num_rows:
                yield fresh

    def stale(self, batches: Iterable[pa.RecordBatch]) -> Stale:
        """The rows that the tables hold of these images, which are about to be replaced."""
        found = Stale({}, {})
        if self.empty:
            return found
        for batch in batches:
            paths = batch.column(PATH).to_pylist()
            digests = _digests(paths)
            first = np.searchsorted(self._paths, digests, side="left")
            last = np.searchsorted(self._paths, digests, side="right")
            for row in np.nonzero(last > first)[0]:
                for at in range(first[row], last[row]):
                    is_features, file = self._files[self._file_of[at]]
                    table = found.features if is_features else found.rejects
                    table.setdefault(file, set()).add(paths[row])
        return found

    def _see(self, digests: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Mark the rows of these paths as listed; the number of rows of each."""
        first = np.searchsorted(self._paths, digests, side="left")
        last = np.searchsorted(self._paths, digests, side="right")
        self._seen[first[last > first]] = True
        for row in np.nonzero(last - first > 1)[0]:
            self._seen[first[row] : last[row]] = True
        return last - first


class PathSet:
    """Paths, as digests; says which rows are not among them."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        parts = [_digests(batch.column(PATH).to_pylist()) for batch in batches]
        self._paths = _sorted(parts)

    def lacks(self, rows: pa.Table) -> pa.ChunkedArray:
        """A boolean column: true where the row's path is not in the set."""
        absent = ~_member(self._paths, _digests(rows[PATH].to_pylist()))
        return pa.chunked_array([pa.array(absent)])


def _digests(paths: Sequence[str], etags: Sequence[str] | None = None) -> NDArray[np.bytes_]:
    """One 16-byte digest a row, of the path, or of the path and the version tag."""
    if etags is None:
        joined = (blake2b(p.encode(), digest_size=16).digest() for p in paths)
    else:
        joined = (
            blake2b(f"{p}\0{e}".encode(), digest_size=16).digest()
            for p, e in zip(paths, etags, strict=True)
        )
    return np.frombuffer(b"".join(joined), dtype=_DIGEST)


def _sorted(parts: list[NDArray[np.bytes_]]) -> NDArray[np.bytes_]:
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, _DIGEST)


def _member(known: NDArray[np.bytes_], asked: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(asked), bool)
    at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    hit: NDArray[np.bool_] = known[at] == asked
    return hit
