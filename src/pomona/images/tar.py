"""The images in a tar shard, addressed by offset: a tar is never unpacked.

Shards may be WebDataset's: a member ``key.cls`` next to ``key.jpg`` gives its label.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pomona.images.sniffing import (
    OTHER_IMAGE_EXTENSIONS,
    SUPPORTED_EXTENSIONS,
    extension,
    sniff,
)
from pomona.schema import Reason
from pomona.storage import Changed, NotFound
from pomona.storage.positioned import PositionedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pomona.storage.store import Skipped, Store

_WINDOW = 1 << 20
_MAX_METADATA = 1 << 20
"""A long name or extended header that claims more than this is hostile or broken."""
_MAX_LABEL = 256
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """One image inside a tar, or the place where the tar cannot be read on.

    Attributes:
        path: readable name, safe as a key: relative, no ``..``, UTF-8.
        offset: of the content, in bytes from the start of the tar.
        size: of the content, in bytes, as far as it is there.
        label: from a ``.cls`` member, if there is one.
        reason: set where the member, or the rest of the tar, cannot be read.
        message: why.
    """

    path: str
    offset: int
    size: int
    label: str | None = None
    reason: Reason | None = None
    message: str | None = None


def index(store: Store, key: str, size: int, etag: str, skipped: Skipped) -> Iterator[Member]:
    """The images of one tar, in the order of their last appearance.

    Members that are links, devices, sparse, hidden or without a name, and those that are no
    images, are left out and counted. A tar that is damaged, ends too early, or changes meanwhile
    gives the members found so far, and one entry with an empty path for the rest. Memory grows
    with the number of members.

    Args:
        store: where the tar lies.
        key: the tar.
        size: of the tar, in bytes; -1 for a link to nothing.
        etag: the version to read.
        skipped: told of each member left out.

    Raises:
        NotPermitted: the storage refuses.
        ReadFailed: the storage fails.
    """
    contents = _Contents(skipped)
    stream = _Window(store, key, etag, max(size, 0))
    damage = None
    try:
        if size < 0:
            raise NotFound(key)
        damage = _walk(stream, size, contents)
    except NotFound:
        damage = _damage(Reason.VANISHED, 0, "the tar is not there any more")
    except Changed:
        damage = _damage(Reason.CHANGED, 0, "the tar was overwritten while it was listed")
    yield from contents.labelled()
    if damage is not None:
        yield damage


@dataclass
class _Contents:
    """Images and labels found so far; a later member of the same name replaces an earlier one."""

    skipped: Skipped
    images: dict[str, Member] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def add(self, stream: _Window, info: tarfile.TarInfo, size: int) -> Member | None:
        """Take in a member; the damage, if the tar ends inside it."""
        path = safe_name(info.name)
        if info.isdir():
            return None
        if not path or not info.isreg() or info.issparse():
            self.skipped("tar member that is no ordinary file", path)
            return None
        there = min(info.size, max(0, size - info.offset_data))
        cut = there < info.size
        if extension(path) == "cls" and info.size <= _MAX_LABEL and not cut:
            text = stream.at(info.offset_data, info.size).decode("utf-8", "replace")
            self.labels[path.rpartition(".")[0]] = text.strip()
        elif _is_image(stream, info, path, self.skipped):
            self.images.pop(path, None)
            why = f"the tar ends inside this member of {info.size:,} bytes"
            fault = (Reason.TRUNCATED, why) if cut else (None, None)
            self.images[path] = Member(path, info.offset_data, there, None, *fault)
            return None
        return _damage(Reason.TRUNCATED, info.offset_data, f"ends inside {path}") if cut else None

    def labelled(self) -> Iterator[Member]:
        """Every image, with the label of the ``.cls`` beside it."""
        for path, image in self.images.items():
            label = self.labels.get(path.rpartition(".")[0]) or self.labels.get(_sample(path))
            yield replace(image, label=label) if label else image


def _walk(stream: _Window, size: int, contents: _Contents) -> Member | None:
    """Visit every header; what is wrong with the tar, if anything."""
    at = 0
    try:
        # Headers only: "r:" refuses compressed tars, whose members have no offset.
        with tarfile.open(
            fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape"
        ) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]
                if info.size < 0 or archive.offset <= at:
                    return _damage(Reason.CORRUPT, at, "a member has a negative size")
                at = archive.offset
                damage = contents.add(stream, info, size)
                if damage is not None or info.offset_data + info.size > size:
                    return damage  # none where the member itself is listed as cut
                if at > size:
                    break
            return _check_end(stream, archive.offset, size)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        compression = _compression(stream.at(0, 6))
        if at == 0 and compression is not None:
            return _damage(Reason.CORRUPT, 0, f"{compression} data: decompress it to a plain tar")
        return _damage(Reason.CORRUPT, at, " ".join(str(error).split())[:150])
    except RecursionError:
        return _damage(Reason.CORRUPT, at, "headers that only announce further headers")


def safe_name(name: str) -> str:
    """A member's name as a key: no root, no ``.`` segment, ``..`` spelled ``%2E%2E``, UTF-8."""
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    segments = [part for part in name.replace("\0", "").split("/") if part not in ("", ".")]
    return "/".join("%2E%2E" if part == ".." else part for part in segments)


def _is_image(stream: _Window, info: tarfile.TarInfo, path: str, skipped: Skipped) -> bool:
    if any(part.startswith(".") for part in path.split("/")):
        skipped("hidden", path)
        return False
    kind = extension(path)
    if kind in SUPPORTED_EXTENSIONS or kind in OTHER_IMAGE_EXTENSIONS:
        return True
    if sniff(stream.at(info.offset_data, min(32, info.size)))[0] is not None:
        return True
    skipped("not an image", path)
    return False


def _sample(path: str) -> str:
    """WebDataset's name of a sample: the path up to the first dot of its last segment."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _compression(head: bytes) -> str | None:
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)


def _check_end(stream: _Window, offset: int, size: int) -> Member | None:
    tail = stream.at(offset, tarfile.BLOCKSIZE)
    if not tail:
        return _damage(Reason.TRUNCATED, offset, "the tar has no end mark; members may be missing")
    if tail.strip(b"\0"):
        return _damage(Reason.CORRUPT, offset, "no valid header; what follows cannot be found")
    if stream.at(offset, _WINDOW).strip(b"\0"):
        return _damage(
            Reason.CORRUPT, offset, "data behind the end mark: are these two tars in one?"
        )
    return None


def _damage(reason: Reason, offset: int, message: str) -> Member:
    return Member("", offset, 0, reason=reason, message=f"at byte {offset:,}: {message}")


class _Window(PositionedFile):
    """A seekable view of a stored file that reads ahead one window at a time."""

    def __init__(self, store: Store, key: str, etag: str, size: int) -> None:
        super().__init__(size)
        self._store, self._key, self._etag = store, key, etag
        self._start, self._data = 0, b""

    def at(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer at the end of the file."""
        length = max(0, min(length, self._size - offset))
        if not length:
            return b""
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._data):
            wanted = min(max(length, _WINDOW), self._size - offset)
            self._data = self._store.read_range(self._key, offset, wanted, etag=self._etag)
            self._start, begin = offset, 0
        return self._data[begin : begin + length]

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_METADATA or size < 0:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        data = self.at(self._position, size)
        self._position += len(data)
        return data
