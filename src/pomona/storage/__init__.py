"""Where data lies and how it is read, written and committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pomona.storage.local import LocalStore
from pomona.storage.location import Location
from pomona.storage.options import StorageOptions
from pomona.storage.store import (
    LISTING,
    Changed,
    NotFound,
    NotPermitted,
    Outcome,
    ReadFailed,
    Store,
    Wanted,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "LISTING",
    "Changed",
    "Location",
    "NotFound",
    "NotPermitted",
    "Outcome",
    "ReadFailed",
    "StorageOptions",
    "Store",
    "Wanted",
    "open_store",
]


def open_store(location: Location | str | Path) -> Store:
    """The store that holds ``location``, with keys relative to it.

    Raises:
        UsageError: the location's scheme is unknown.
        StorageError: the AWS settings cannot be read.
    """
    location = Location.parse(location)
    if location.scheme == "s3":
        from pomona.storage.s3 import S3Store

        return S3Store(location)
    return LocalStore(location)
