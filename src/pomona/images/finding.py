"""Images that a table names, found again in INPUT: no listing, one read each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pomona.storage import NotFound, Wanted, open_store

if TYPE_CHECKING:
    from pomona.images.listing import Source

_IN_TAR = re.compile(r"(.*):([0-9a-f]+)\+([0-9a-f]+)", re.DOTALL)
"""The version tag of a tar's member: the tar's own, offset and size (see ``images.listing``)."""


class Finder:
    """Says how to read an image of which a table has path and version tag.

    Args:
        source: INPUT of the run that wrote the table.
        limit: bytes that are read of a file, at most.
    """

    def __init__(self, source: Source, limit: int) -> None:
        self._source, self._limit = source, limit
        self._store = open_store(source.root)
        self._is_file: dict[str, bool] = {}

    def find(self, path: str, etag: str) -> Wanted:
        """The read that gives the image's bytes, in the version that the table knows.

        Raises:
            NotFound: it should be in a tar, and no such tar is there.
            PomonaError: the storage refuses.
        """
        member = _IN_TAR.fullmatch(etag)
        if member is None:
            return Wanted(path, etag, None, self._limit)
        tag, offset, size = member.groups()
        return Wanted(self._tar_of(path), tag, int(offset, 16), min(int(size, 16), self._limit))

    def _tar_of(self, path: str) -> str:
        if self._source.is_tar and self._source.only is not None:
            return self._source.only
        segments = path.split("/")
        for count, segment in enumerate(segments[:-1], start=1):
            key = "/".join(segments[:count])
            if segment.lower().endswith(".tar") and self._known_file(key):
                return key
        raise NotFound(path)

    def _known_file(self, key: str) -> bool:
        if key not in self._is_file:
            self._is_file[key] = self._store.stat(key) is not None
        return self._is_file[key]
