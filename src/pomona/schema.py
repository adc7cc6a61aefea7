"""The contract between the steps: reject reasons, column names and Arrow schemas.

Every table under OUTPUT and every batch that one step hands to the next is described here
and nowhere else.
"""

from __future__ import annotations

from enum import StrEnum


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
