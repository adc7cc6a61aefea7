"""A folder of files that must be rejected, each for a known reason, to test a run with."""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pomona.errors import StorageError, UsageError
from pomona.samples import broken
from pomona.samples.cloud import condense
from pomona.samples.folder import open_folder, write_file
from pomona.samples.kinds import KINDS
from pomona.samples.render import draw
from pomona.samples.stage import set_stage
from pomona.schema import Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_BYTES = 64 * 2**20
"""What ``too_many_bytes`` means here; the files are a little larger."""

_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tiff")

_BROKEN: dict[Reason, broken.Variants] = {
    Reason.TRUNCATED: broken.TRUNCATED,
    Reason.NOT_AN_IMAGE: broken.NOT_AN_IMAGE,
    Reason.UNSUPPORTED_FORMAT: broken.UNSUPPORTED_FORMAT,
    Reason.CORRUPT: broken.CORRUPT,
    Reason.TOO_MANY_PIXELS: broken.TOO_MANY_PIXELS,
    Reason.ZERO_SIZED: broken.ZERO_SIZED,
}


def write_faults(directory: Path, *, per_kind: int = 10, seed: int = 0) -> dict[str, Reason]:
    """Write broken files into ``directory``, ``per_kind`` for every reason a file can show.

    A file is called ``<reason>/<number>_<variant>.<extension>``. The variants of a reason
    (formats, ways of being broken) follow each other, so that ten files of a kind show all of
    them. ``changed`` and ``read_failed`` are left out: a file at rest cannot show them.

    ``unreadable`` files have no permission bits. A process that runs as root can read them all
    the same, and finds a sound image. ``too_many_bytes`` files are sparse and take next to no
    room on the disk. ``vanished`` files are symbolic links to nothing.

    Beside them lies what must not be listed at all: a hidden file and a folder, a symbolic
    link to a file outside ``directory`` and one that leads back to ``directory`` itself.

    ``faults.json`` holds both: ``{"rejects": {path: reason}, "not_listed": [path]}``, with
    relative POSIX paths, sorted; it names itself among the latter.

    Args:
        directory: a folder that is empty or does not exist.
        per_kind: files for each reason, at least 1.
        seed: at least 0; the same seed gives the same bytes.

    Returns:
        The reason of each path, as under ``rejects``, sorted by path.

    Raises:
        UsageError: a number out of range, or ``directory`` is a file or not empty.
        StorageError: ``directory`` cannot be written to, or has no symbolic links.
    """
    for name, value, least in (("per_kind", per_kind, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(
                f"{name} is {value}, which is less than {least}.", f"Give {least} or more."
            )
    open_folder(directory)
    picture = _photographer(seed)
    rejects: dict[str, Reason] = {}
    for number in range(per_kind):
        for reason, variants in _BROKEN.items():
            variant, extension, make = variants[number % len(variants)]
            rng = _generator(seed, reason, number)
            path = f"{reason}/{number:03d}_{variant}.{extension}"
            write_file(directory / path, make(picture(number), rng))
            rejects[path] = reason
        jpeg = broken.encode(picture(number), "JPEG", quality=90)
        rejects |= _by_file_system(directory, number, seed, jpeg)
    not_listed = sorted(["faults.json", *_decoys(directory, picture(0))])
    rejects = dict(sorted(rejects.items()))
    record = {"not_listed": not_listed, "rejects": rejects}
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    write_file(directory / "faults.json", text.encode())
    return rejects


def _by_file_system(directory: Path, number: int, seed: int, jpeg: bytes) -> dict[str, Reason]:
    """Write the faults that are not in the bytes, one of each; ``jpeg`` is a sound image."""
    empty = f"{Reason.EMPTY}/{number:03d}.{_EXTENSIONS[number % len(_EXTENSIONS)]}"
    write_file(directory / empty, b"")
    large = f"{Reason.TOO_MANY_BYTES}/{number:03d}.jpg"
    write_file(directory / large, jpeg)
    beyond = _generator(seed, Reason.TOO_MANY_BYTES, number).integers(1, 2**20)
    closed = f"{Reason.UNREADABLE}/{number:03d}.jpg"
    write_file(directory / closed, jpeg)
    gone = f"{Reason.VANISHED}/{number:03d}.jpg"
    try:
        os.truncate(directory / large, MAX_BYTES + int(beyond))
        (directory / closed).chmod(0)
        (directory / gone).parent.mkdir(exist_ok=True)
        (directory / gone).symlink_to(f"gone-{number:03d}.jpg")
    except OSError as error:
        raise _refused(directory, error) from error
    return {
        empty: Reason.EMPTY,
        large: Reason.TOO_MANY_BYTES,
        closed: Reason.UNREADABLE,
        gone: Reason.VANISHED,
    }


def _decoys(directory: Path, picture: Image.Image) -> list[str]:
    """Write what a listing must pass over, and return the paths."""
    jpeg = broken.encode(picture, "JPEG", quality=90)
    hidden = [".hidden.jpg", ".hidden/000.jpg"]
    for path in hidden:
        write_file(directory / path, jpeg)
    links = {"leak.jpg": "/etc/hosts", "loop": "."}
    for path, target in links.items():
        try:
            (directory / path).symlink_to(target)
        except OSError as error:
            raise _refused(directory, error) from error
    return [*hidden, *links]


def _photographer(seed: int) -> Callable[[int], Image.Image]:
    """Take sound pictures to break: one fruit from all sides, chosen by the seed."""
    rng = np.random.default_rng(seed)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    fruit = kind.grow(rng)
    stage = set_stage(fruit, kind.pitch)
    cloud = condense(fruit, stage.scale)
    taken: dict[int, Image.Image] = {}

    def photograph(number: int) -> Image.Image:
        # A golden angle: however many are asked for, no two are alike.
        if number not in taken:
            taken[number] = Image.fromarray(draw(cloud, stage, 137.508 * number))
        return taken[number]

    return photograph


def _generator(seed: int, reason: Reason, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(reason.encode()), number])


def _refused(directory: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{directory} cannot hold a test file: {error.strerror}.",
        "Name a folder on a local disk that has symbolic links and sparse files.",
    )
