"""Test images that training has seen already, found by their features.

An image is an *exact* duplicate where its features and those of a training image of the same
label are the same but for rounding; and a *near* one where they point almost the same way, or
somewhat the same way and the names say that one is the frame beside the other. Features are
compared as the classifier sees them, in standard units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pomona.recognition.splitting import MARGIN, frame_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NEAR = 0.96
"""Cosine from which two images count as nearly the same (docs/decisions/0008)."""
NEIGHBOUR = 0.85
"""Cosine from which they do where one is a frame beside the other by name."""
EXACT = 0.99999
"""Cosine from which they count as the same; rounding stays well above it."""
_BLOCK = 1_024
_SHOWN = 6
BINS = 50


class Pair(NamedTuple):
    """A test image and the training image that it resembles most."""

    cosine: float
    path: str
    training: str


@dataclass(frozen=True)
class Duplicates:
    """What was found for some test images; mergeable.

    Attributes:
        near: paths of near duplicates that are not exact ones.
        exact: paths of exact duplicates.
        images: test images that were compared.
        histogram: int64 [BINS], images by the cosine to their nearest training image, 0 to 1.
        pairs: some pairs, of the largest cosines.
    """

    near: frozenset[str]
    exact: frozenset[str]
    images: int
    histogram: NDArray[np.int64]
    pairs: tuple[Pair, ...]

    @classmethod
    def none(cls) -> Duplicates:
        """Of no images."""
        return cls(frozenset(), frozenset(), 0, np.zeros(BINS, np.int64), ())

    @classmethod
    def between(
        cls,
        training: NDArray[np.float32],
        training_paths: Sequence[str],
        test: NDArray[np.float32],
        test_paths: Sequence[str],
    ) -> Duplicates:
        """Compare images of one label.

        Args:
            training: [m, d], in standard units.
            training_paths: of their images.
            test: [n, d], likewise.
            test_paths: of their images.
        """
        if not len(test) or not len(training):
            return cls.none()
        known = _directions(training)
        best, at = np.empty(len(test), np.float32), np.empty(len(test), np.intp)
        for begin in range(0, len(test), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            cosines = _directions(test[block]) @ known.T
            at[block] = cosines.argmax(axis=1)
            best[block] = cosines.max(axis=1)
        exact = best >= EXACT
        beside = _neighbours(test_paths, [training_paths[index] for index in at.tolist()])
        near = ((best >= NEAR) | ((best >= NEIGHBOUR) & beside)) & ~exact
        largest = np.argsort(-best, kind="stable")[:_SHOWN].tolist()
        return cls(
            near=frozenset(test_paths[row] for row in np.flatnonzero(near).tolist()),
            exact=frozenset(test_paths[row] for row in np.flatnonzero(exact).tolist()),
            images=len(test),
            histogram=np.histogram(np.clip(best, 0, 1), BINS, (0, 1))[0].astype(np.int64),
            pairs=tuple(
                Pair(float(best[row]), test_paths[row], training_paths[int(at[row])])
                for row in largest
                if near[row] or exact[row]
            ),
        )

    def merge(self, other: Duplicates) -> Duplicates:
        """What was found for both."""
        return Duplicates(
            self.near | other.near,
            self.exact | other.exact,
            self.images + other.images,
            self.histogram + other.histogram,
            tuple(sorted((*self.pairs, *other.pairs), reverse=True)[: 4 * _SHOWN]),
        )


def _neighbours(paths: Sequence[str], others: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each pair is of one run of frames, at most the margin of a split apart."""
    found = []
    for path, other in zip(paths, others, strict=True):
        one, two = frame_of(path), frame_of(other)
        same_run = one is not None and two is not None and one[0] == two[0]
        found.append(same_run and abs(one[1] - two[1]) <= MARGIN)  # type: ignore[index]
    return np.array(found, np.bool_)


def _directions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
    directions: NDArray[np.float32] = rows / np.maximum(lengths, np.float32(1e-30))
    return directions
