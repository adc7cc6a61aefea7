"""Reading, writing and listing under one location, the same for every kind of storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pomona.storage.location import Location

LISTING = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("address", pa.binary()),
    ]
)
"""One listed file: its path below the root in readable UTF-8, a tag that changes when the content
does, its size in bytes (-1: a link to nothing), and the name to open it by where that is not
``path`` (a file name that is not UTF-8)."""


class Status(NamedTuple):
    """A file's size in bytes and its version tag."""

    size: int
    etag: str


class NotFound(Exception):  # noqa: N818 - one of the outcomes of a read, not a fault
    """The key does not exist."""


class NotPermitted(Exception):  # noqa: N818 - likewise
    """The storage refuses to give the bytes of the key."""


class Changed(Exception):  # noqa: N818 - likewise
    """The key holds another version than the one that was listed."""


class ReadFailed(Exception):  # noqa: N818 - likewise
    """The storage failed to deliver, also when asked again."""


Outcome = NotFound | NotPermitted | Changed | ReadFailed
"""What a read may come to instead of bytes."""


class Wanted(NamedTuple):
    """One read of many.

    Attributes:
        key: what to read.
        etag: the version that was listed; None takes any.
        start: where to begin, in bytes; None reads the whole object.
        length: how many bytes, at most.
    """

    key: str | bytes
    etag: str | None
    start: int | None
    length: int


class Skipped(Protocol):
    """Counts what a listing leaves out."""

    def __call__(self, why: str, path: str) -> None:
        """Take note of one file that is not listed."""


class Store(Protocol):
    """Bytes below one root; keys are relative, with ``/`` between segments.

    Reads raise :class:`NotFound`, :class:`NotPermitted`, :class:`Changed` or :class:`ReadFailed`;
    writes raise :class:`pomona.errors.StorageError`.
    """

    @property
    def root(self) -> Location:
        """The location that keys are relative to."""

    def scan(self, skipped: Skipped) -> Iterator[pa.RecordBatch]:
        """List every file below the root in a fixed order, as batches of :data:`LISTING`."""

    def read(self, key: str | bytes, *, etag: str | None = None, limit: int = -1) -> bytes:
        """The content of ``key``; at most ``limit`` bytes of it where given."""

    def read_many(self, wanted: Iterable[Wanted]) -> Iterator[bytes | Outcome]:
        """Read in order; what went wrong with one read takes its place.

        ``wanted`` is consumed ahead of what is handed out, by a bounded number of bytes.
        """

    def read_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """``length`` bytes of ``key`` from ``start`` (fewer where the file ends)."""

    def stat(self, key: str) -> Status | None:
        """Size and version of the file ``key``; None where there is none, or a folder."""

    def open(self, key: str) -> pa.NativeFile:
        """``key`` for reading at any position, as Parquet readers do."""

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write ``key`` so that readers see all of it or nothing."""

    def delete(self, key: str) -> None:
        """Remove ``key``; that it is gone already is no error."""

    def exists(self, key: str) -> bool:
        """Whether ``key`` can be found."""

    def is_folder(self, key: str) -> bool:
        """Whether ``key`` is a folder, or a prefix with something below it."""

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in ``folder`` (which ends in ``/``), sorted."""
