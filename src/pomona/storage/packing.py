"""Small files as tar shards: what goes into which, and the bytes of one.

Shards are WebDataset's (files that differ in their extension alone stay together) and the same
files give the same bytes, so that a second run recognises what is there. A member keeps its path,
from which the chain reads label, split and group.
"""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_BLOCK = tarfile.BLOCKSIZE
_SHORT_NAME = 100
_LARGE = 4
"""A file larger than the shard's limit divided by this is sent by itself."""
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
SHARD_NAME = re.compile(r"^shard-\d{5,}\.tar$")


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to be sent.

    Attributes:
        path: below the folder, in readable UTF-8: its key or its member name.
        address: to open it by.
        size: in bytes.
    """

    path: str
    address: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Shard:
    """Files that are sent as one tar.

    Attributes:
        name: of the shard, below the target.
        files: its members, in order.
    """

    name: str
    files: tuple[LocalFile, ...]


def plan_shards(files: Iterable[LocalFile], limit: int) -> Iterator[Shard | LocalFile]:
    """Cut files, in their order, into shards of at most ``limit`` bytes; large ones stay files."""
    members: list[LocalFile] = []
    size = _end(0)
    count = 0
    for group in _groups(files, limit):
        if isinstance(group, LocalFile):
            yield group
            continue
        more = sum(_space(file) for file in group)
        if members and size + more > limit:
            yield Shard(f"shard-{count:05}.tar", tuple(members))
            members, size, count = [], _end(0), count + 1
        members += group
        size += more
    if members:
        yield Shard(f"shard-{count:05}.tar", tuple(members))


def build(shard: Shard, failed: Callable[[LocalFile, OSError], None]) -> bytes:
    """The bytes of a shard.

    Args:
        shard: what goes in.
        failed: told of each file that cannot be read; it is left out.
    """
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in shard.files:
            try:
                with open(file.address, "rb") as stream:  # noqa: PTH123 - the path is bytes
                    data = stream.read()
            except OSError as error:
                failed(file, error)
                continue
            member = tarfile.TarInfo(file.path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def _groups(files: Iterable[LocalFile], limit: int) -> Iterator[list[LocalFile] | LocalFile]:
    """Files of one sample together; a file that is not packed by itself."""
    sample, group = None, list[LocalFile]()
    for file in files:
        if file.size > limit // _LARGE or file.path.lower().endswith(_TARS):
            yield file
            continue
        folder, slash, name = file.path.rpartition("/")
        key = folder + slash + name.split(".")[0]
        if group and key != sample:
            yield group
            group = []
        sample = key
        group.append(file)
    if group:
        yield group


def _space(file: LocalFile) -> int:
    """Bytes that a member takes, at most."""
    name = file.path.encode()
    header = _BLOCK
    if len(name) > _SHORT_NAME or not file.path.isascii():
        header += _BLOCK + _rounded(len(name) + 64)
    return header + _rounded(file.size)


def _rounded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _end(size: int) -> int:
    """Bytes of the end mark, and of the record that it fills up."""
    return size + 2 * _BLOCK + tarfile.RECORDSIZE
