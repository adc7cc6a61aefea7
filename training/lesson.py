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
CROP = (80, 112)
"""Side of the part of a stored view that is shown, in pixels."""


class Batch(NamedTuple):
    """Pictures float32 [n, 3, size, size]; source, kind and fine label int64 [n], kind -1 where
    nothing is said; the teacher's components float32 [n, 256]."""

    pictures: Tensor
    source: Tensor
    kind: Tensor
    fine: Tensor
    taught: Tensor


@dataclass(frozen=True)
class Lesson:
    """All views.

    Attributes:
        images: uint8 [n, 112, 112, 3], left on disk.
        source: int64 [n].
        kind: int64 [n], index into ``kinds`` or -1.
        fine: int64 [n], index into ``fines``.
        taught: float16 [n, 256].
        kinds: names of the kinds, sorted.
        fines: data set and finest label, sorted.
        sources: names of the data sets.
    """

    images: NDArray[np.uint8]
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
            part = self.images[row, top : top + crop, left : left + crop]
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


def read_lesson(folder: Path) -> Lesson:
    """What ``views.py`` wrote into ``folder``."""
    table = json.loads((folder / "views.json").read_text())
    pairs = list(zip(table["source"], table["fine"], strict=True))
    kinds = sorted({kind for kind in table["kind"] if kind is not None})
    fines = sorted(set(pairs))
    kind_numbers = {None: -1} | {name: number for number, name in enumerate(kinds)}
    fine_numbers = {pair: number for number, pair in enumerate(fines)}
    images = np.load(folder / "images.npy", mmap_mode="r")
    return Lesson(
        images=images,
        source=np.array(table["source"], np.int64),
        kind=np.array([kind_numbers[kind] for kind in table["kind"]], np.int64),
        fine=np.array([fine_numbers[pair] for pair in pairs], np.int64),
        taught=np.load(folder / "components.npy"),
        kinds=tuple(kinds),
        fines=tuple(fines),
        sources=tuple(table["sources"]),
    )
