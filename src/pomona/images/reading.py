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
from pomona.storage import Changed, NotFound, NotPermitted, ReadFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pomona.storage import Store


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
    columns = [
        rows.column(name).to_pylist()
        for name in (PATH, ETAG, SIZE, ADDRESS, CONTAINER, OFFSET, REASON, MESSAGE)
    ]
    for path, etag, size, address, container, offset, reason, message in zip(*columns, strict=True):
        if reason is not None:
            yield RejectedImage(Reason(reason), message or "")
            continue
        try:
            if size >= 0:
                check_size(size, limits)
            if container is None:
                data = store.read(address or path, etag=etag, limit=limits.max_bytes + 1)
            else:
                data = store.read_range(container, offset, size, etag=etag.rpartition(":")[0])
        except RejectedImage as rejected:
            yield rejected
        except NotFound:
            yield RejectedImage(Reason.VANISHED, "it was listed, but is not there any more")
        except NotPermitted as error:
            yield RejectedImage(Reason.UNREADABLE, f"reading is refused: {error}")
        except Changed:
            yield RejectedImage(Reason.CHANGED, "it was overwritten after the listing")
        except ReadFailed as error:
            yield RejectedImage(Reason.READ_FAILED, str(error)[:200])
        else:
            if len(data) < size:
                data = b""
                yield RejectedImage(Reason.TRUNCATED, "the file ends before its listed size")
            else:
                yield data
