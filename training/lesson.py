"""The views on disk as batches of pictures, labels and what the teacher said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

SHARES = {"fruits360": 0.2, "varieties": 0.2, "grocery": 0.25, "tiny": 0.35}
"""What part of a batch comes from which data set."""
FILMED = ("fruits360", "varieties")
"""Data sets made in a studio."""
CROP = (80, 112)
"""Side of the part of a stored view that is shown, in pixels."""


class Batch(NamedTuple):
    """Pictures float32 [n, 3, size, size]; source, kind and fine label int64 [n], the last two -1
    where nothing is said; the teacher's components float32 [n, 256]."""

    pictures: Tensor
    source: Tensor
    kind: Tensor
    fine: Tensor
    taught: Tensor


class Mixed(NamedTuple):
    """Pictures of which a part is another's: float32 [n, 3, size, size]; the other's number in the
    batch, int64 [n]; and how much of each picture is its own, 0 to 1."""

    pictures: Tensor
    other: Tensor
    own: float


def mixed(batch: Batch, random: Generator) -> Mixed:
    """Pastes a box of another picture of the batch into each, as in CutMix, Yun et al. 2019,
    https://arxiv.org/abs/1905.04899. A fifth to four fifths of the picture stay."""
    side = batch.pictures.shape[2]
    high, wide = (round(side * np.sqrt(random.uniform(0.2, 0.8))) for _ in range(2))
    top, left = random.integers(0, side - high + 1), random.integers(0, side - wide + 1)
    other = torch.from_numpy(random.permutation(len(batch.pictures)))
    pictures = batch.pictures.clone()
    box = (slice(None), slice(None), slice(top, top + high), slice(left, left + wide))
    pictures[box] = batch.pictures[other][box]
    return Mixed(pictures, other, 1.0 - high * wide / side**2)


@dataclass(frozen=True)
class Lesson:
    """All views.

    Attributes:
        images: uint8 [n, 112, 112, 3] of each folder, left on disk; the rest is of all folders.
        source: int64 [n].
        kind: int64 [n], index into ``kinds`` or -1.
        fine: int64 [n], index into ``fines`` or -1.
        taught: float16 [n, 256].
        kinds: names of the kinds, sorted.
        fines: data set and finest label, sorted.
        sources: names of the data sets.
    """

    images: tuple[NDArray[np.uint8], ...]
    source: NDArray[np.int64]
    kind: NDArray[np.int64]
    fine: NDArray[np.int64]
    taught: NDArray[np.float16]
    kinds: tuple[str, ...]
    fines: tuple[tuple[int, str], ...]
    sources: tuple[str, ...]

    def mask(self) -> Tensor:
        """float32 [sources, fines]: 0 where a label is of a data set, -inf elsewhere."""
        mask = torch.full((len(self.sources), len(self.fines)), -torch.inf)
        for column, (source, _) in enumerate(self.fines):
            mask[source, column] = 0.0
        return mask

    def filmed(self) -> Tensor:
        """int64 [sources]: 1 for those made in a studio."""
        return torch.tensor([int(name in FILMED) for name in self.sources])

    def batch(self, size: int, side: int, random: Generator) -> Batch:
        """``size`` views drawn at random, ``side`` pixels high and wide."""
        rows = np.concatenate(
            [
                random.choice(self._rows[number], round(size * SHARES[name]))
                for number, name in enumerate(self.sources)
            ]
        )
        crop = int(random.integers(CROP[0], CROP[1] + 1))
        parts = []
        for row in rows:
            top, left = random.integers(0, CROP[1] - crop + 1, 2)
            folder = int(np.searchsorted(self._starts, row, side="right")) - 1
            view = self.images[folder][row - self._starts[folder]]
            part = view[top : top + crop, left : left + crop]
            parts.append(part[:, ::-1] if random.random() < 0.5 else part)
        shown = torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2)
        pictures = functional.interpolate(shown, (side, side), mode="bilinear", antialias=True)
        gain = random.uniform(0.9, 1.1, (len(rows), 1)) * random.uniform(0.96, 1.04, (len(rows), 3))
        lit = pictures.float() * torch.from_numpy(gain.astype(np.float32))[:, :, None, None]
        return Batch(
            lit.clamp_(0.0, 255.0).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(self.source[rows]),
            torch.from_numpy(self.kind[rows]),
            torch.from_numpy(self.fine[rows]),
            torch.from_numpy(self.taught[rows].astype(np.float32)),
        )

    @cached_property
    def _rows(self) -> list[NDArray[np.int64]]:
        """The views of each data set."""
        return [np.flatnonzero(self.source == number) for number in range(len(self.sources))]

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """The first row of each folder's views."""
        return np.cumsum([0, *(len(images) for images in self.images[:-1])])


def read_lesson(folders: list[Path]) -> Lesson:
    """What ``views.py`` wrote into the folders.

    Raises:
        ValueError: they were made from different data sets.
    """
    tables = [json.loads((folder / "views.json").read_text()) for folder in folders]
    sources = tables[0]["sources"]
    if any(table["sources"] != sources for table in tables):
        raise ValueError("the folders of views hold other data sets")
    source, kind, fine = (
        [value for table in tables for value in table[column]]
        for column in ("source", "kind", "fine")
    )
    pairs = list(zip(source, fine, strict=True))
    kinds = sorted({name for name in kind if name is not None})
    fines = sorted({pair for pair in pairs if pair[1] is not None})
    kind_numbers = {name: number for number, name in enumerate(kinds)}
    fine_numbers = {pair: number for number, pair in enumerate(fines)}
    return Lesson(
        images=tuple(np.load(folder / "images.npy", mmap_mode="r") for folder in folders),
        source=np.array(source, np.int64),
        kind=np.array([kind_numbers.get(name, -1) for name in kind], np.int64),
        fine=np.array([fine_numbers.get(pair, -1) for pair in pairs], np.int64),
        taught=np.concatenate([np.load(folder / "components.npy") for folder in folders]),
        kinds=tuple(kinds),
        fines=tuple(fines),
        sources=tuple(sources),
    )
