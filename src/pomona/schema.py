"""The contract between the steps: reject reasons, column names and Arrow schemas.

Every table under OUTPUT and every batch that one step hands to the next is described here
and nowhere else.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa


class Reason(StrEnum):
    """Why an image was rejected: a closed list, documented in ``docs/rejects.md``."""

    EMPTY = "empty"
    """The file has no bytes."""
    TRUNCATED = "truncated"
    """The header is that of an image, the data ends too early."""
    NOT_AN_IMAGE = "not_an_image"
    """The bytes are not those of any image format, whatever the name says."""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """An image, but of a format or pixel type that is not decoded (HEIC, PSD, float TIFF...)."""
    CORRUPT = "corrupt"
    """A supported format whose data contradicts itself."""
    TOO_MANY_BYTES = "too_many_bytes"
    """Larger than ``max_bytes``."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header promises more than ``max_pixels``."""
    ZERO_SIZED = "zero_sized"
    """The header gives a width or height of zero."""
    UNREADABLE = "unreadable"
    """Reading is not permitted."""
    VANISHED = "vanished"
    """Listed, but gone when it was to be read (deleted, or a link to nothing)."""
    CHANGED = "changed"
    """Overwritten between listing and reading; the next run takes the new version."""
    READ_FAILED = "read_failed"
    """The storage failed to deliver the bytes although it was asked again."""

    @property
    def lasting(self) -> bool:
        """Whether the same bytes would be rejected again, so that a second run need not look."""
        return self not in _PASSING

    @property
    def stage(self) -> str:
        """The stage that finds it: ``read`` or ``decode``."""
        return "read" if self in _FOUND_READING else "decode"


_PASSING = frozenset({Reason.UNREADABLE, Reason.VANISHED, Reason.CHANGED, Reason.READ_FAILED})
_FOUND_READING = _PASSING | {Reason.EMPTY, Reason.TOO_MANY_BYTES}


PATH, ETAG, LABEL, SPLIT, GROUP = "path", "etag", "label", "split", "group"
WIDTH, HEIGHT, MODEL, FEATURES = "width", "height", "model", "features"
STAGE, REASON, MESSAGE, RUN = "stage", "reason", "message", "run"
COMPONENTS = "components"
SIZE, ADDRESS, CONTAINER, OFFSET = "size", "address", "container", "offset"

MANIFEST = pa.schema(
    [
        pa.field(PATH, pa.string(), nullable=False),
        pa.field(ETAG, pa.string(), nullable=False),
        pa.field(SIZE, pa.int64(), nullable=False),
        pa.field(ADDRESS, pa.binary()),
        pa.field(CONTAINER, pa.string()),
        pa.field(OFFSET, pa.int64()),
        pa.field(LABEL, pa.string()),
        pa.field(REASON, pa.string()),
        pa.field(MESSAGE, pa.string()),
    ]
)
"""One listed image: its path below INPUT (the key of every table), version tag and size in bytes;
the raw name to open it by where that is not the path; the tar that holds it and where in it; a
label that the listing found beside it; and the reject that the listing made of it, if any."""

FEATURES_TABLE = pa.schema(
    [
        pa.field(PATH, pa.string(), nullable=False),
        pa.field(ETAG, pa.string(), nullable=False),
        pa.field(LABEL, pa.string()),
        pa.field(SPLIT, pa.string()),
        pa.field(GROUP, pa.string()),
        pa.field(WIDTH, pa.int32(), nullable=False),
        pa.field(HEIGHT, pa.int32(), nullable=False),
        pa.field(MODEL, pa.string(), nullable=False),
        pa.field(FEATURES, pa.list_(pa.field("element", pa.float32())), nullable=False),
    ]
)
"""``features/``: one embedded image. Width and height are the upright original's, in pixels; the
features' length is the network's."""

REJECTS_TABLE = pa.schema(
    [
        pa.field(PATH, pa.string(), nullable=False),
        pa.field(ETAG, pa.string(), nullable=False),
        pa.field(STAGE, pa.string(), nullable=False),
        pa.field(REASON, pa.string(), nullable=False),
        pa.field(MESSAGE, pa.string(), nullable=False),
        pa.field(RUN, pa.string(), nullable=False),
    ]
)
"""``rejects/``: one image that could not be used. Stage is ``list``, ``read`` or ``decode``."""

COMPONENTS_TABLE = pa.schema(
    [
        pa.field(PATH, pa.string(), nullable=False),
        pa.field(LABEL, pa.string()),
        pa.field(SPLIT, pa.string()),
        pa.field(GROUP, pa.string()),
        pa.field(COMPONENTS, pa.list_(pa.field("element", pa.float32())), nullable=False),
    ]
)
"""``components/``: one row of the reduced matrix, in order of falling variance."""
