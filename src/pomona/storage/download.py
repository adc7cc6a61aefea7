"""A prefix of a bucket into a folder: in parallel, checked, and going on where it stopped."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pomona.errors import InputError, StorageError
from pomona.storage import (
    Changed,
    NotFound,
    NotPermitted,
    ReadFailed,
    open_store,
    transfer,
)
from pomona.storage.checksum import proves_same, sha256_of_file
from pomona.storage.inspection import inspect
from pomona.storage.transfer import Budget, Outcome, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pomona.storage.location import Location
    from pomona.storage.store import Store
    from pomona.storage.transfer import Progress

_STAGING = ".pomona-download-"
_TRIES = 2
_RANGE = 8 << 20
"""Larger objects are read in ranges of so many bytes."""
_COPIES = 3
"""Of content, while it comes from the network's library to a file."""


class RemoteFile(NamedTuple):
    """An object to be fetched: path below the prefix, size in bytes, ETag."""

    path: str
    size: int
    etag: str


def download(
    source: Location, target: Location, progress: Progress, *, jobs: int = transfer.JOBS
) -> Transfer:
    """Fetch what lies below a prefix, and is not there yet, into a local folder.

    Files with the same content are left alone, others are replaced. A file appears under its name
    when it is whole and its checksum is right. Nothing is written outside of the folder, whatever
    the keys are: those that cannot be file names are left out and counted.

    Args:
        source: bucket and prefix, or the key of one object.
        target: a local folder; created.
        progress: told how far it is.
        jobs: objects at a time.

    Raises:
        InputError: there is nothing below the prefix.
        StorageError: the storage fails, or the folder cannot be written.
    """
    account = Transfer()
    store, listed = _listed(source, account)
    files = list(_fitting(listed, account))
    account.files = len(files)
    if not files and not account.left_out:
        raise InputError(f"There is nothing below {source}.", "Check the spelling.")
    folder = Path(target.path)
    staging = folder / f"{_STAGING}{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_orphans(folder)
        staging.mkdir()
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror}.", "Choose another folder."
        ) from error
    try:
        fetcher = _Fetcher(store, folder, staging)
        transfer.run(account, files, fetcher.fetch, progress, jobs)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return account


def _listed(source: Location, account: Transfer) -> tuple[Store, Iterator[RemoteFile]]:
    """The store and the objects in it; of one object, the store is what holds it."""
    if not source.is_root:
        above = open_store(source.parent)
        if not above.is_folder(source.name):
            status = above.stat(source.name)
            found = [] if status is None else [RemoteFile(source.name, status.size, status.etag)]
            return above, iter(found)
    store = open_store(source)
    batches = store.scan(account.leave_out)
    rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
    return store, (RemoteFile(row["path"], row["size"], row["etag"]) for row in rows)


def _fitting(files: Iterable[RemoteFile], account: Transfer) -> Iterator[RemoteFile]:
    """Files whose keys can be paths below a folder."""
    found = []
    folders: set[str] = set()
    for file in files:
        parts = file.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or not file.path.isprintable():
            account.leave_out("key that is no safe file name", file.path)
            continue
        found.append(file)
        folder = file.path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    for file in found:
        if file.path in folders:
            account.leave_out("key that is a folder as well", file.path)
        else:
            yield file


def _remove_orphans(folder: Path) -> None:
    """Remove what killed downloads into this folder left half done."""
    for staging in folder.glob(f"{_STAGING}[0-9]*"):
        owner = staging.name.removeprefix(_STAGING)
        if not owner.isdigit():
            continue
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(staging, ignore_errors=True)
        except OSError:
            continue


class _Fetcher:
    """What the workers do with one object."""

    def __init__(self, store: Store, folder: Path, staging: Path) -> None:
        self._store = store
        self._folder = folder
        self._real = os.path.realpath(folder)
        self._staging = staging
        self._budget = Budget()
        self._names = itertools.count()

    def fetch(self, file: RemoteFile) -> Outcome:
        """Fetch an object unless it is there."""
        path = self._folder / file.path
        part = self._staging / str(next(self._names))
        try:
            if path.is_dir():
                return _failed(file, "a folder of that name is there")
            if self._is_there(path, file):
                return Outcome("unchanged")
            path.parent.mkdir(parents=True, exist_ok=True)
            real = os.path.realpath(path.parent)
            if real != self._real and not real.startswith(self._real + os.sep):
                return _failed(file, f"a link leads out of the folder, to {real}")
            for _ in range(_TRIES):
                self._write(part, file)
                right = self._is_right(part, file)
                if right is not False:
                    part.replace(path)
                    return Outcome("moved", bytes=file.size, verified=right is True)
            return _failed(file, "other bytes arrived than are stored (its checksum differs)")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(
                    f"The disk of {self._folder} is full.",
                    "Free some space, then run the same command again: it goes on where it was.",
                ) from error
            return _failed(file, error.strerror or str(error))
        except NotFound:
            return _failed(file, "it was deleted after the listing")
        except Changed:
            return _failed(file, "it was overwritten after the listing")
        except NotPermitted:
            return _failed(file, "the storage refuses to give it (AccessDenied)")
        except ReadFailed as error:
            return _failed(file, str(error))

    def _write(self, part: Path, file: RemoteFile) -> None:
        with self._budget.take(_COPIES * min(file.size, _RANGE)), part.open("wb") as stream:
            if file.size <= _RANGE:
                stream.write(self._store.read(file.path, etag=file.etag))
                return
            for start in range(0, file.size, _RANGE):
                length = min(_RANGE, file.size - start)
                data = self._store.read_range(file.path, start, length, etag=file.etag)
                if len(data) != length:
                    raise ReadFailed(f"it ends after {start + len(data):,} of {file.size:,} bytes")
                stream.write(data)

    def _is_there(self, path: Path, file: RemoteFile) -> bool:
        return path.is_file() and self._is_right(path, file) is True

    def _is_right(self, path: Path, file: RemoteFile) -> bool | None:
        """Whether a local file is the object; None where the storage has no checksum of it."""
        if path.stat().st_size != file.size:
            return False
        if proves_same(path, file.size, file.etag):
            return True
        found = inspect(self._store.root.join(file.path))
        if found is None or not found.opaque:
            return False
        if found.sha256 is None:
            return None
        return sha256_of_file(path) == found.sha256


def _failed(file: RemoteFile, why: str) -> Outcome:
    return Outcome("failed", failed=((file.path, why),))
