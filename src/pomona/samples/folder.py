"""Writing into a new folder: nothing of the user's is overwritten, no file is left half done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pomona.errors import StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def open_folder(directory: Path) -> None:
    """Create ``directory``, or take it as it is if it is empty.

    Raises:
        UsageError: it is a file, or there is something in it.
        StorageError: it cannot be created or read.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        occupied = next(directory.iterdir(), None)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"{directory} cannot be a folder: {error.filename} is a file.",
            "Name a folder that does not exist yet.",
        ) from error
    except OSError as error:
        raise StorageError(
            f"{directory} cannot be created: {error.strerror}.",
            "Name a folder under one that you may write to.",
        ) from error
    if occupied is not None:
        raise UsageError(
            f"{directory} is not empty: it holds {occupied.name}.",
            "Name a folder that does not exist yet, or empty this one.",
        )


def write_file(path: Path, content: bytes) -> None:
    """Write all of ``content`` to ``path`` or nothing; the folder of it is made if need be.

    Raises:
        StorageError: the disk is full or the place may not be written to.
    """
    # The leading dot keeps the unfinished file out of every listing of images.
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.",
            "Make room on the disk or name a folder that you may write to.",
        ) from error
