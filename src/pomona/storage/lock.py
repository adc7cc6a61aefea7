"""One writer at a time under an OUTPUT."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pomona.errors import BusyError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pomona.storage.lease import Lease
    from pomona.storage.location import Location

_NAME = ".lock"


_leases: dict[str, Lease] = {}
"""Leases that this process holds, by prefix."""


@contextmanager
def writing(output: Location) -> Iterator[None]:
    """Hold OUTPUT for writing.

    A folder is let go of by the system when the process ends, however it ends; a prefix of a
    bucket is held by a lease, which runs out.

    Raises:
        BusyError: another process holds it.
        StorageError: OUTPUT cannot be created or written, or its service knows no conditional
            put and the user has not vouched to be the sole writer.
    """
    with _lease(output) if output.options is not None else _folder_lock(output):
        yield


def ensure_held(location: Location) -> None:
    """Make sure that a lease taken for ``location``, or for what it lies below, still holds.

    Raises:
        BusyError: it was lost: nothing may be committed any more.
    """
    if location.options is None:
        return
    for prefix, lease in list(_leases.items()):
        if f"{location}/".startswith(f"{prefix}/"):
            lease.check()


@contextmanager
def _lease(output: Location) -> Iterator[None]:
    from pomona.storage.lease import Lease
    from pomona.storage.s3 import S3Store

    if output.options is not None and output.options.sole_writer:
        yield
        return
    lease = Lease(S3Store(output))
    lease.take()
    _leases[str(output)] = lease
    try:
        yield
    finally:
        del _leases[str(output)]
        lease.give_back()


@contextmanager
def _folder_lock(output: Location) -> Iterator[None]:
    folder = Path(output.path)
    existed = folder.exists()
    descriptor = _locked(folder, output)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        if not existed and os.listdir(folder) == [_NAME]:  # noqa: PTH208
            # The run failed before it wrote anything: leave no empty OUTPUT behind.
            (folder / _NAME).unlink()
            folder.rmdir()
        os.close(descriptor)


def _locked(folder: Path, output: Location) -> int:
    """A descriptor of the lock file, locked."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(
                f"OUTPUT cannot be written: {output}: {error.strerror}.",
                "Choose a folder that you may write to.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise BusyError(
                f"Another run is writing to {output} (process {holder}).",
                "Wait until it ends, or choose another OUTPUT.",
            ) from error
        # The file may have been removed between opening and locking it.
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
