"""Comparing bytes with an S3 ETag, without fetching the object.

Where the store does not encrypt with KMS, an ETag is the MD5 of the content; of an object that was
sent in parts it is the MD5 of the parts' MD5s, and a dash with their number. The part size is not
told, so the usual ones are tried.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MEBI = 1 << 20
PART = 16 * _MEBI
"""Size of the parts that we send; larger where there would be too many."""
_MOST_PARTS = 9_000
"""S3 takes 10,000."""
_USUAL_PARTS = tuple(size * _MEBI for size in (16, 8, 5, 64, 10, 15, 32, 100))
_MD5 = re.compile(r"^[0-9a-f]{32}$")
_PARTS = re.compile(r"^[0-9a-f]{32}-(\d+)$")
_BLOCK = 4 * _MEBI


def part_size(size: int) -> int:
    """The parts that a file of ``size`` bytes is sent in."""
    return max(PART, math.ceil(size / _MOST_PARTS / _MEBI) * _MEBI)


def md5_of(data: bytes | memoryview) -> str:
    """MD5 in hexadecimal, as an ETag has it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def etag_of_parts(digests: Iterable[str]) -> str:
    """The ETag of an object that was sent in parts, from the parts' MD5s."""
    parts = [bytes.fromhex(digest) for digest in digests]
    return f"{md5_of(b''.join(parts))}-{len(parts)}"


def etag_of_file(path: Path | str | bytes, part: int | None = None) -> str:
    """The ETag that a file would have, sent whole or in parts of ``part`` bytes."""
    with open(path, "rb") as stream:  # noqa: PTH123 - the path may be bytes
        if part is None:
            return hashlib.file_digest(stream, _new_md5).hexdigest()
        return etag_of_parts(_part_digests(stream, part))


def sha256_of_file(path: Path | str | bytes) -> str:
    """SHA-256 in hexadecimal, as we note it in the metadata of what we send."""
    with open(path, "rb") as stream:  # noqa: PTH123
        return hashlib.file_digest(stream, "sha256").hexdigest()


def proves_same(path: Path | str | bytes, size: int, etag: str) -> bool:
    """Whether the ETag proves that an object is this local file of ``size`` bytes.

    False where it differs, and where it does not tell: the object is encrypted with KMS, or was
    sent in parts of an unusual size.
    """
    if _MD5.match(etag):
        return etag_of_file(path) == etag
    found = _PARTS.match(etag)
    parts = _candidates(size, int(found.group(1))) if found else ()
    return any(etag_of_file(path, part) == etag for part in parts)


def _candidates(size: int, count: int) -> Iterator[int]:
    """Part sizes that cut ``size`` bytes into ``count`` parts, the usual ones first."""
    tried = set()
    even = math.ceil(size / max(1, count) / _MEBI) * _MEBI
    for part in (part_size(size), *_USUAL_PARTS, even):
        if part and part not in tried and max(1, math.ceil(size / part)) == count:
            tried.add(part)
            yield part


def _part_digests(stream: object, part: int) -> Iterator[str]:
    while True:
        digest, left, any_read = _new_md5(), part, False
        while left and (data := stream.read(min(_BLOCK, left))):  # type: ignore[attr-defined]
            digest.update(data)
            left -= len(data)
            any_read = True
        if not any_read:
            return
        yield digest.hexdigest()


def _new_md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
