"""Whether workers elsewhere see what the driver sees: the same files, and the service of a bucket.

A local path may be a share that every machine has mounted, so it is tried rather than forbidden.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pomona.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pomona.storage.location import Location

_BYTES = 1 << 16
_MARK = ".pomona-sight-"
_PATIENCE = 10
"""Seconds that a worker's request is tried again here: a service out of reach is told soon."""


@dataclass(frozen=True)
class Sight:
    """What a worker has to see; small and picklable.

    Attributes:
        name: ``INPUT`` or ``OUTPUT``.
        location: as the user named it.
        file: of a local location, a file that the driver sees; empty on S3.
        digest: of its first bytes.
        writes: whether the worker has to write beside it.
    """

    name: str
    location: Location
    file: str = ""
    digest: str = ""
    writes: bool = False

    def look(self) -> None:
        """Look, on the worker.

        Raises:
            UsageError: it is not what the driver sees.
            StorageError: the service of the bucket cannot be reached, or the credentials fail.
        """
        if self.location.scheme == "file":
            self._look_at_file()
        else:
            self._look_into_bucket()

    def _look_at_file(self) -> None:
        here = socket.gethostname()
        try:
            same = _digest(Path(self.file)) == self.digest
        except OSError:
            same = False
        if not same:
            raise UsageError(
                f"{self.name} is not on every machine: the worker {here} does not see what the "
                f"driver sees at {self.location}.",
                "Give s3://, or a folder that every worker has mounted at the same path.",
            )
        if self.writes:
            try:
                Path(f"{self.file}-{uuid.uuid4().hex}").touch(exist_ok=False)
            except OSError as error:
                raise UsageError(
                    f"{self.name} cannot be written by the worker {here}: {self.location}: "
                    f"{error.strerror}.",
                    "Let the workers' user write there, or give s3://.",
                ) from error

    def _look_into_bucket(self) -> None:
        from pomona.storage import open_store

        options = self.location.options
        assert options is not None
        hasty = replace(options, retry_seconds=min(_PATIENCE, options.retry_seconds))
        try:
            open_store(replace(self.location, options=hasty)).exists(_MARK)
        except StorageError as error:
            raise StorageError(
                f"The worker {socket.gethostname()} does not reach {self.name}: {error.what}",
                f"On that machine: {error.fix}",
            ) from error


@contextmanager
def sights(source: Location | None, output: Location) -> Iterator[list[Sight]]:
    """What workers have to see of INPUT and OUTPUT; marks in a local OUTPUT are gone afterwards.

    Args:
        source: INPUT, where there is one.
        output: OUTPUT; a local one exists already.

    Raises:
        StorageError: a local OUTPUT cannot be written.
    """
    found = []
    if source is not None:
        found.append(_of_input(source))
    if output.scheme != "file":
        yield [*found, Sight("OUTPUT", output)]
        return
    mark = Path(output.path) / f"{_MARK}{uuid.uuid4().hex}"
    try:
        mark.write_text(uuid.uuid4().hex, encoding="ascii")
        yield [*found, Sight("OUTPUT", output, str(mark), _digest(mark), writes=True)]
    except OSError as error:
        raise StorageError(
            f"OUTPUT cannot be written: {output}: {error.strerror}.",
            "Choose a folder that you may write to.",
        ) from error
    finally:
        for left in mark.parent.glob(f"{mark.name}*"):
            with suppress(OSError):
                left.unlink()


def _of_input(source: Location) -> Sight:
    """A sight of a local INPUT is its first file; an INPUT without any is the listing's matter."""
    if source.scheme != "file":
        return Sight("INPUT", source)
    for file in _files(Path(source.path)):
        with suppress(OSError):
            return Sight("INPUT", source, str(file), _digest(file))
    return Sight("INPUT", source, source.path)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, below, names in os.walk(path):
        below.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(_BYTES)).hexdigest()
