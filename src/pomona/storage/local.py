"""The local file system as a :class:`~pomona.storage.store.Store`.

Plain system calls, not an object-store client: opening and reading a 5 kB file takes 10 us here
against 125 us (docs/decisions/0002).
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pomona.errors import InputError, StorageError
from pomona.storage.store import (
    LISTING,
    Changed,
    NotFound,
    NotPermitted,
    Outcome,
    ReadFailed,
    Skipped,
    Status,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pomona.storage.location import Location

_BATCH = 16_384


class LocalStore:
    """Files below one directory."""

    def __init__(self, root: Location) -> None:
        self._root = root

    @property
    def root(self) -> Location:
        """The directory that keys are relative to."""
        return self._root

    def scan(self, skipped: Skipped) -> Iterator[pa.RecordBatch]:
        """Walk the tree, names sorted within each directory.

        Hidden files and directories, links to directories and links that leave the root are
        left out and counted; a link to nothing is listed with size -1, so that it becomes a
        reject rather than a silent drop.

        Raises:
            InputError: a directory that may not be listed.
        """
        columns: tuple[list[Any], ...] = ([], [], [], [])
        for entry in _walk(os.fsencode(self._root.path), skipped):
            for column, value in zip(columns, entry, strict=True):
                column.append(value)
            if len(columns[0]) >= _BATCH:
                yield _batch(columns)
                columns = ([], [], [], [])
        if columns[0]:
            yield _batch(columns)

    def read(self, key: str | bytes, *, etag: str | None = None, limit: int = -1) -> bytes:
        """The content of a file; ``etag`` is compared with the file that was opened."""
        with _Opened(self._file(key)) as descriptor:
            status = os.fstat(descriptor)
            if etag is not None and etag_of(status) != etag:
                raise Changed(str(key))
            # Never a buffer of the limit's size: the kernel would have to clear it.
            size = status.st_size if limit < 0 else min(limit, status.st_size)
            return _read(descriptor, size)

    def read_many(self, wanted: Iterable[Wanted]) -> Iterator[bytes | Outcome]:
        """One read after the other: at 10 us each there is nothing to hide.

        A file that ranges are wanted of stays open until another one's turn comes.
        """
        with ExitStack() as held:
            name: str | bytes | None = None
            descriptor = -1
            for key, etag, start, length in wanted:
                try:
                    if start is None:
                        data = self.read(key, etag=etag, limit=length)
                    else:
                        if key != name:
                            name = None
                            held.close()
                            descriptor = held.enter_context(_Opened(self._file(key)))
                            name = key
                        data = _read_range(descriptor, key, start, length, etag)
                except (NotFound, NotPermitted, Changed, ReadFailed) as outcome:
                    yield outcome
                else:
                    yield data

    def read_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """``length`` bytes from ``start``, fewer where the file ends."""
        with _Opened(self._file(key)) as descriptor:
            return _read_range(descriptor, key, start, length, etag)

    def open(self, key: str) -> pa.NativeFile:
        """A file for reading at any position."""
        try:
            return pa.OSFile(os.fsdecode(self._file(key)), "rb")
        except FileNotFoundError:
            raise NotFound(key) from None
        except OSError as error:
            raise ReadFailed(f"{error.strerror or error}") from error

    def stat(self, key: str) -> Status | None:
        """Size and version of a file; None where there is none, or something else."""
        try:
            status = os.stat(self._file(key))  # noqa: PTH116
        except OSError:
            return None
        return Status(status.st_size, etag_of(status)) if stat.S_ISREG(status.st_mode) else None

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write under a temporary name, then rename."""
        path = self._file(key)
        temporary = path.rsplit(b"/", 1)[0] + b"/." + uuid.uuid4().hex.encode() + b".tmp"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            with open(temporary, "wb") as stream:  # noqa: PTH123
                stream.write(data)
            os.replace(temporary, path)  # noqa: PTH105
        except OSError as error:
            if os.path.exists(temporary):  # noqa: PTH110
                os.unlink(temporary)  # noqa: PTH108
            raise StorageError(
                f"Cannot write {os.fsdecode(path)}: {error.strerror or error}.", _advice(error)
            ) from error

    def delete(self, key: str) -> None:
        """Remove a file; that it is gone already is no error."""
        try:
            os.unlink(self._file(key))  # noqa: PTH108
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(
                f"Cannot remove {os.fsdecode(self._file(key))}: {error.strerror}.", _advice(error)
            ) from error

    def exists(self, key: str) -> bool:
        """Whether the file or directory is there."""
        return os.path.exists(self._file(key))  # noqa: PTH110

    def is_folder(self, key: str) -> bool:
        """Whether the directory is there."""
        return os.path.isdir(self._file(key))  # noqa: PTH112

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in ``folder``, sorted; none where it is absent."""
        try:
            found = os.listdir(self._file(folder))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError(
                f"Cannot list {os.fsdecode(self._file(folder))}: {error.strerror}.", _advice(error)
            ) from error
        return sorted(os.fsdecode(name) for name in found if not name.startswith(b"."))

    def _file(self, key: str | bytes) -> bytes:
        return os.path.join(os.fsencode(self._root.path), os.fsencode(key))  # noqa: PTH118


def etag_of(status: os.stat_result) -> str:
    """A tag that changes with the content: modification time (ns) and size, in hexadecimal."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


class _Opened:
    """A descriptor for reading, its failures told in the store's terms."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def __enter__(self) -> int:
        name = os.fsdecode(self._path)
        try:
            # Non-blocking, so that a named pipe put in the place of a file cannot hang a worker.
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(name) from None
        except PermissionError as error:
            raise NotPermitted(f"{error.strerror}") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotFound(name) from None
            raise ReadFailed(f"{error.strerror or error}") from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise Changed(f"{name} is not a regular file any more")
        return self._descriptor

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)


def _read_range(
    descriptor: int, key: str | bytes, start: int, length: int, etag: str | None
) -> bytes:
    if etag is not None and etag_of(os.fstat(descriptor)) != etag:
        raise Changed(os.fsdecode(key))
    os.lseek(descriptor, start, os.SEEK_SET)
    return _read(descriptor, length)


def _read(descriptor: int, length: int) -> bytes:
    try:
        data = os.read(descriptor, length)
        if len(data) == length or not data:
            return data
        # One call gives at most 2 GiB, and may give less.
        parts = [data]
        missing = length - len(data)
        while missing and (data := os.read(descriptor, missing)):
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)
    except OSError as error:
        raise ReadFailed(f"{error.strerror or error}") from error


def _walk(root: bytes, skipped: Skipped) -> Iterator[tuple[str, str, int, bytes | None]]:
    real_root = os.path.realpath(root).rstrip(b"/") + b"/"
    pending = [b""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root + b"/" + folder if folder else root) as found:
                # Not the entries, which hold a kilobyte each: a folder may have millions.
                entries = sorted(entry.name + _kind(entry) for entry in found)
        except OSError as error:
            place = os.fsdecode(root + b"/" + folder)
            raise InputError(
                f"Cannot list {place}: {error.strerror}.",
                "Check that it is a folder that you may read and enter.",
            ) from error
        folders = []
        for entry in entries:
            name, kind = folder + entry[: -len(_FOLDER)], entry[-len(_FOLDER) :]
            if entry.startswith(b"."):
                skipped("hidden", os.fsdecode(name))
            elif kind == _FOLDER:
                folders.append(name + b"/")
            else:
                yield from _file_entry(root, name, kind == _LINK, real_root, skipped)
        pending.extend(reversed(folders))


# No name holds a zero byte, so that names with these behind them sort as names do.
_FOLDER, _LINK, _OTHER = b"\0d", b"\0l", b"\0f"


def _kind(entry: os.DirEntry[bytes]) -> bytes:
    if entry.is_symlink():
        return _LINK
    return _FOLDER if entry.is_dir(follow_symlinks=False) else _OTHER


def _file_entry(
    root: bytes, name: bytes, is_link: bool, real_root: bytes, skipped: Skipped
) -> Iterator[tuple[str, str, int, bytes | None]]:
    readable, file = os.fsdecode(name), root + b"/" + name
    try:
        if is_link:
            target = os.path.realpath(file)
            if not (target + b"/").startswith(real_root):
                skipped("link that leaves the folder", readable)
                return
            if os.path.isdir(target):  # noqa: PTH112
                skipped("link to a folder", readable)
                return
        status = os.stat(file)  # noqa: PTH116
    except OSError:
        path, address = _names(name)
        yield path, "", -1, address
        return
    if not stat.S_ISREG(status.st_mode):
        skipped("not a regular file", readable)
        return
    path, address = _names(name)
    yield path, etag_of(status), status.st_size, address


def _names(name: bytes) -> tuple[str, bytes | None]:
    try:
        return name.decode("utf-8"), None
    except UnicodeDecodeError:
        return name.decode("utf-8", "backslashreplace"), name


def _batch(columns: tuple[list[Any], ...]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, LISTING, strict=True)], schema=LISTING
    )


def _advice(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "Free some disk space, then run the same command again: it goes on where it was."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose an OUTPUT that you may write to, or change its permissions."
    return "Check the path and the disk, then run the same command again."
