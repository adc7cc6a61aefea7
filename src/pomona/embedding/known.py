"""Which listed images the tables hold already.

Keys are compared by 128-bit digests in sorted arrays: 37 bytes an image, so that ten million known
images take less than half a gigabyte.
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
        keys: list[NDArray[np.uint64]] = []
        paths: list[NDArray[np.uint64]] = []
        files: list[NDArray[np.int32]] = []
        rejected: list[NDArray[np.uint64]] = []
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
        self._keys = _Digests(keys)
        self._rejected = _Digests(rejected)
        self.unchanged_rejected = 0
        self._paths = _Digests(paths)
        self._file_of = np.concatenate(files)[self._paths.order] if files else np.empty(0, np.int32)
        self._seen = np.zeros(len(self._paths), bool)
        self._replaces = True

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
        replaces = False
        for batch in batches:
            if self.empty:
                yield batch
                continue
            paths = batch.column(PATH).to_pylist()
            first, last = self._paths.find(_digests(paths))
            self._see(first, last)
            known = last - first == 1
            rows = np.nonzero(known)[0]
            if len(rows):
                etags = batch.column(ETAG).to_pylist()
                digests = _digests([paths[row] for row in rows], [etags[row] for row in rows])
                known[rows] = self._keys.has(digests)
                if len(self._rejected):
                    same = self._rejected.has(digests) & known[rows]
                    self.unchanged_rejected += int(same.sum())
            replaces = replaces or bool(((last > first) & ~known).any())
            fresh = batch.filter(pa.array(~known))
            if fresh.num_rows:
                yield fresh
        self._replaces = replaces

    def stale(self, batches: Iterable[pa.RecordBatch]) -> Stale:
        """The rows that the tables hold of these images, which are about to be replaced.

        Args:
            batches: of what :meth:`unknown` gave.
        """
        found = Stale({}, {})
        if self.empty or not self._replaces:
            return found
        for batch in batches:
            paths = batch.column(PATH).to_pylist()
            first, last = self._paths.find(_digests(paths))
            for row in np.nonzero(last > first)[0]:
                for at in range(first[row], last[row]):
                    is_features, file = self._files[self._file_of[at]]
                    table = found.features if is_features else found.rejects
                    table.setdefault(file, set()).add(paths[row])
        return found

    def _see(self, first: NDArray[np.intp], last: NDArray[np.intp]) -> None:
        """Mark the rows of these paths as listed."""
        self._seen[first[last > first]] = True
        for row in np.nonzero(last - first > 1)[0]:
            self._seen[first[row] : last[row]] = True


class PathSet:
    """Paths, as digests; says which rows are not among them."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._paths = _Digests([_digests(batch.column(PATH).to_pylist()) for batch in batches])

    def lacks(self, rows: pa.Table) -> pa.ChunkedArray:
        """A boolean column: true where the row's path is not in the set."""
        absent = ~self._paths.has(_digests(rows[PATH].to_pylist()))
        return pa.chunked_array([pa.array(absent)])


class _Digests:
    """Digests in order, to look others up in: the first half finds, the second confirms.

    Attributes:
        order: for each digest in order, where it stood.
    """

    def __init__(self, parts: list[NDArray[np.uint64]]) -> None:
        both = np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)
        self.order = np.argsort(both[:, 0], kind="stable")
        head = both[self.order, 0]
        if (head[1:] == head[:-1]).any():
            self.order = np.lexsort((both[:, 1], both[:, 0]))
        self._head, self._tail = both[self.order, 0], both[self.order, 1]

    def __len__(self) -> int:
        return len(self._head)

    def find(self, asked: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where the digests equal to each of ``asked`` begin and end; the same where none is."""
        # In order, so that the search stays in one part of memory: five times as fast.
        order = np.argsort(asked[:, 0])
        first, last = np.empty((2, len(asked)), np.intp)
        first[order] = np.searchsorted(self._head, asked[order, 0], side="left")
        last[order] = np.searchsorted(self._head, asked[order, 0], side="right")
        for row in np.nonzero(last - first > 1)[0]:
            tails, begin = self._tail[first[row] : last[row]], first[row]
            first[row] = begin + np.searchsorted(tails, asked[row, 1], side="left")
            last[row] = begin + np.searchsorted(tails, asked[row, 1], side="right")
        one = np.nonzero(last - first == 1)[0]
        other = one[self._tail[first[one]] != asked[one, 1]]
        last[other] = first[other]
        return first, last

    def has(self, asked: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each of ``asked`` is among them."""
        first, last = self.find(asked)
        return last > first


def _digests(paths: Sequence[str], etags: Sequence[str] | None = None) -> NDArray[np.uint64]:
    """One digest a row, of the path, or of the path and the version tag: uint64 [n, 2]."""
    if etags is None:
        joined = (blake2b(p.encode(), digest_size=16).digest() for p in paths)
    else:
        joined = (
            blake2b(f"{p}\0{e}".encode(), digest_size=16).digest()
            for p, e in zip(paths, etags, strict=True)
        )
    return np.frombuffer(b"".join(joined), dtype=np.uint64).reshape(-1, 2)
