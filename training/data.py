"""The photographs in memory, and the split by runs of frames.

In Fruits-360 a fruit turns in front of a camera and each frame becomes one file, so neighbouring
frames are nearly the same picture: a random split would test on what was trained on. Here one
contiguous block of every run is held out, and the frames next to it are used by nobody.
"""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

HELD_OUT = 0.15
"""Share of every run that validates."""
MARGIN = 4
"""Frames left unused on each side of a held-out block."""

_NAME = re.compile(r"(?P<axis>r\d*_)?(?P<frame>\d+)(_100)?\.jpg")

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Photographs:
    """Decoded photographs in order of class, run and frame.

    Attributes:
        images: uint8 [n, 100, 100, 3], RGB.
        labels: int64 [n], index into ``classes``.
        runs: int64 [n]; frames of one fruit turning about one axis share a number.
        frames: int64 [n], position in the turn, from the file name.
        classes: names of the classes, sorted.
    """

    images: Pixels
    labels: Indices
    runs: Indices
    frames: Indices
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Indices of the photographs to train on and to validate on; some are in neither."""

    training: Indices
    validation: Indices


def read_photographs(tar: Path) -> Photographs:
    """Reads ``<...>/<class>/<axis><frame>_100.jpg`` members of a tar.

    Raises:
        ValueError: the tar holds no such file, or a file of another name or size.
    """
    found: list[tuple[tuple[str, str, int], bytes]] = []
    for path, content in members(tar):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{tar}: {path} is not named like a frame, [r_]<number>_100.jpg")
        found.append(((path.parent.name, match["axis"] or "", int(match["frame"])), content))
    if not found:
        raise ValueError(f"{tar} holds no JPEG file")
    found.sort(key=lambda item: item[0])
    keys = [key for key, _ in found]
    classes = sorted({key[0] for key in keys})
    runs = sorted({key[:2] for key in keys})
    class_numbers = {name: number for number, name in enumerate(classes)}
    run_numbers = {run: number for number, run in enumerate(runs)}
    return Photographs(
        images=np.stack([simplejpeg.decode_jpeg(content) for _, content in found]),
        labels=np.array([class_numbers[key[0]] for key in keys], np.int64),
        runs=np.array([run_numbers[key[:2]] for key in keys], np.int64),
        frames=np.array([key[2] for key in keys], np.int64),
        classes=tuple(classes),
    )


def members(tar: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Path and content of every JPEG file of a tar, in the order of the tar."""
    with tarfile.open(tar) as archive:
        for member in archive:
            file = archive.extractfile(member)
            path = PurePosixPath(member.name)
            if file is not None and path.suffix.lower() in {".jpg", ".jpeg"}:
                yield path, file.read()


def split_runs(runs: Indices, seed: int) -> Split:
    """Holds out one contiguous block of every run, at a place that the seed decides.

    Args:
        runs: int64 [n], run of each photograph, with the frames of a run in order.
        seed: decides where in each run the block lies.
    """
    random = np.random.default_rng(seed)
    training, validation = [], []
    for run in np.unique(runs):
        frames = np.flatnonzero(runs == run)
        length = round(len(frames) * HELD_OUT)
        start = int(random.integers(0, len(frames) - length + 1))
        stop = start + length
        validation.append(frames[start:stop])
        training += [frames[: max(0, start - MARGIN)], frames[stop + MARGIN :]]
    return Split(np.concatenate(training), np.concatenate(validation))
