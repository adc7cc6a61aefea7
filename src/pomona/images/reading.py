"""The bytes of listed images, one after the other, each failure turned into a reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pomona.images.decoding import DecodeLimits, RejectedImage, check_size
from pomona.schema import (
    ADDRESS,
    CONTAINER,
    ETAG,
    MESSAGE,
    OFFSET,
    PATH,
    REASON,
    SIZE,
    Reason,
)
from pomona.storage import Changed, NotFound, NotPermitted, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pomona.storage import Outcome, Store


def read_images(
    store: Store, rows: pa.RecordBatch, limits: DecodeLimits
) -> Iterator[bytes | RejectedImage]:
    """Read every image of some manifest rows, in order.

    The size is checked before anything is read, and the version against the listed one.

    Args:
        store: INPUT's.
        rows: of the manifest.
        limits: what is too large to be read.

    Yields:
        The file's bytes, or why there are none.
    """
    names = (PATH, ETAG, SIZE, ADDRESS, CONTAINER, OFFSET, REASON, MESSAGE)
    listed = list(zip(*(rows.column(name).to_pylist() for name in names), strict=True))
    known = [_known(size, reason, text, limits) for _, _, size, *_, reason, text in listed]
    outcomes = store.read_many(
        Wanted(address or path, etag, None, limits.max_bytes + 1 if size < 0 else size + 1)
        if container is None
        else Wanted(container, etag.rpartition(":")[0], offset, size)
        for (path, etag, size, address, container, offset, *_), rejected in zip(
            listed, known, strict=True
        )
        if rejected is None
    )
    for (_, _, size, *_), rejected in zip(listed, known, strict=True):
        yield _judged(next(outcomes), size) if rejected is None else rejected


def _known(
    size: int, reason: str | None, message: str | None, limits: DecodeLimits
) -> RejectedImage | None:
    """Why a row is not read at all."""
    if reason is not None:
        return RejectedImage(Reason(reason), message or "")
    try:
        if size >= 0:
            check_size(size, limits)
    except RejectedImage as rejected:
        return rejected
    return None


def _judged(outcome: bytes | Outcome, size: int) -> bytes | RejectedImage:
    """Bytes as they are, anything else as the reject that it means."""
    if isinstance(outcome, bytes):
        if len(outcome) < size:
            return RejectedImage(Reason.TRUNCATED, "the file ends before its listed size")
        return outcome
    if isinstance(outcome, NotFound):
        return RejectedImage(Reason.VANISHED, "it was listed, but is not there any more")
    if isinstance(outcome, NotPermitted):
        return RejectedImage(Reason.UNREADABLE, f"reading is refused: {outcome}")
    if isinstance(outcome, Changed):
        return RejectedImage(Reason.CHANGED, "it was overwritten after the listing")
    return RejectedImage(Reason.READ_FAILED, str(outcome)[:200])
