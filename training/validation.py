"""How the network's own names do on photographs held out of training, cheap enough to ask often.

Looked at, never used to choose weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from network import SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from data import Pixels
    from network import Network
    from sources import Source

EVERY = {"fruits360": 8, "varieties": 3, "grocery": 1, "tiny": 8}
"""Every so many held-out photographs of each data set are shown."""


@dataclass(frozen=True)
class Validation:
    """Sets of images uint8 [n, 96, 96, 3] and the numbers of their kinds, by name."""

    sets: dict[str, tuple[Pixels, NDArray[np.int64]]]

    @torch.inference_mode()
    def accuracies(self, network: Network) -> dict[str, float]:
        """Share of each set that the network names rightly."""
        network.eval()
        scores = {}
        for name, (images, kinds) in self.sets.items():
            named = [
                network(torch.from_numpy(images[start : start + 100])).logits.argmax(1).numpy()
                for start in range(0, len(images), 100)
            ]
            scores[name] = round(float((np.concatenate(named) == kinds).mean()), 4)
        return scores


def held_out(sources: list[Source]) -> dict[str, tuple[Pixels, NDArray[Any]]]:
    """Some of the photographs held out of each data set, 96x96, and their kinds, by its name."""
    sets = {}
    for source in sources:
        rows = [row for row, kept in enumerate(source.held_out) if kept][:: EVERY[source.name]]
        images = np.stack([resized(source.images[row]) for row in rows])
        sets[source.name] = (images, np.array([source.kinds[row] for row in rows]))
    return sets


def read_validation(folder: Path, kinds: tuple[str, ...]) -> Validation:
    """What ``views.py`` wrote of them into ``folder``."""
    numbers = {name: number for number, name in enumerate(kinds)}
    sets = {}
    for path in sorted(folder.glob("held-out-*.npz")):
        with np.load(path) as saved:
            own = np.array([numbers.get(kind, -1) for kind in saved["kinds"].tolist()], np.int64)
            sets[path.stem.removeprefix("held-out-")] = (saved["images"], own)
    return Validation(sets)


def resized(image: Pixels, size: int = SIZE) -> Pixels:
    """The image squeezed to a square."""
    picture = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture)
