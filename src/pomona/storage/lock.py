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

    from pomona.storage.location import Location

_NAME = ".lock"


@contextmanager
def writing(output: Location) -> Iterator[None]:
    """Hold OUTPUT for writing; the system lets go of it when the process ends, however it ends.

    Raises:
        BusyError: another process holds it.
        StorageError: OUTPUT cannot be created or written.
    """
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
