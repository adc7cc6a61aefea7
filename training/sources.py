"""The photographs that teach the network, with their labels, and what is held out of them.

Held out, and seen by no part of the training:

* of Fruits-360, one contiguous block of every run of frames, with a margin (``data.split_runs``);
* of the Fruits-360 varieties, whole varieties, none of which the early release shows as well;
* of Grocery, its own val part;
* of Tiny ImageNet, whole classes that are not fruit.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import taxonomy
from data import Pixels, members, read_photographs, split_runs

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20
HELD_OUT_VARIETIES = {"Apple": 5, "Cherry": 2, "Tomato": 3}
HELD_OUT_CLASSES = 20
IN_BOTH = ("Braeburn", "Golden", "Apple Red", "Cherry 1", "Cherry Rainier")
"""Varieties with such names may be the same fruits as those of the early release."""


@dataclass(frozen=True)
class Source:
    """Photographs of one data set.

    Attributes:
        name: of the data set.
        images: uint8 [h, w, 3] each.
        kinds: what each shows, see ``taxonomy``; None where nothing is said.
        fine: the finest label that the data set itself gives.
        training: whether the network may see it.
        held_out: whether it validates; a few do neither.
        fruit: whether its data set files it under fruit.
    """

    name: str
    images: list[Pixels]
    kinds: list[str | None]
    fine: list[str]
    training: list[bool]
    held_out: list[bool]
    fruit: list[bool]


def read_sources(folder: Path) -> list[Source]:
    """All four data sets of ``folder``."""
    return [
        read_fruits360(folder / "fruits360-33.tar"),
        read_varieties(folder / "fruits360-varieties.tar"),
        read_grocery(folder / "grocery.tar"),
        read_tiny(folder / "tiny-imagenet.tar"),
    ]


def read_fruits360(tar: Path) -> Source:
    """The early Fruits-360; frames in the margins train nobody and validate nothing."""
    photographs = read_photographs(tar)
    split = split_runs(photographs.runs, SEED)
    training, validation = np.zeros((2, len(photographs.labels)), bool)
    training[split.training] = validation[split.validation] = True
    fine = [photographs.classes[label] for label in photographs.labels]
    kinds: list[str | None] = [taxonomy.kind_of_fruits360(name) for name in fine]
    return Source(
        "fruits360",
        list(photographs.images),
        kinds,
        fine,
        training.tolist(),
        validation.tolist(),
        [True] * len(fine),
    )


def read_varieties(tar: Path) -> Source:
    """Fruits-360 varieties of three species."""
    found = sorted(members(tar), key=lambda member: str(member[0]))
    species = [path.parts[-3] for path, _ in found]
    varieties = [path.parts[-2] for path, _ in found]
    held_out = _held_out_varieties(sorted(set(zip(species, varieties, strict=True))))
    return Source(
        "varieties",
        [_decoded(content) for _, content in found],
        list(species),
        varieties,
        [variety not in held_out for variety in varieties],
        [variety in held_out for variety in varieties],
        [True] * len(found),
    )


def _held_out_varieties(varieties: list[tuple[str, str]]) -> set[str]:
    random = np.random.default_rng(SEED)
    held_out: set[str] = set()
    for species, count in HELD_OUT_VARIETIES.items():
        free = [name for kind, name in varieties if kind == species]
        free = [name for name in free if not any(part in name for part in IN_BOTH)]
        held_out.update(random.choice(free, count, replace=False).tolist())
    return held_out


def read_grocery(tar: Path) -> Source:
    """Smartphone photographs in shops; the finest label is the folder's name."""
    found = sorted(members(tar), key=lambda member: str(member[0]))
    return Source(
        "grocery",
        [_decoded(content) for _, content in found],
        [taxonomy.kind_of_grocery(path.parts[3]) for path, _ in found],
        [path.parts[-2] for path, _ in found],
        [path.parts[1] == "train" for path, _ in found],
        [path.parts[1] == "val" for path, _ in found],
        [path.parts[2] == "Fruit" for path, _ in found],
    )


def read_tiny(tar: Path) -> Source:
    """Everyday photographs of 64x64."""
    found = sorted(members(tar), key=lambda member: str(member[0]))
    names = [path.parts[-2] for path, _ in found]
    kinds = [taxonomy.kind_of_tiny(name) for name in names]
    free = sorted({n for n, kind in zip(names, kinds, strict=True) if kind == taxonomy.NOT_FRUIT})
    random = np.random.default_rng(SEED)
    held_out = set(random.choice(free, HELD_OUT_CLASSES, replace=False).tolist())
    return Source(
        "tiny",
        [_decoded(content) for _, content in found],
        kinds,
        names,
        [name not in held_out for name in names],
        [name in held_out for name in names],
        [kind not in (None, taxonomy.NOT_FRUIT) for kind in kinds],
    )


def _decoded(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))
