"""Surfaces sampled as points, so dense that no pixel of any view can fall between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.surface import length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pomona.samples.noise import Floats
    from pomona.samples.surface import Surface

# Canvas pixels between points. 1 / sqrt(2) would leave no pixel empty however the lattice is
# turned; the longest step of each row is counted for all of it, so a little more does too.
_SPACING = 0.8


@dataclass(frozen=True)
class Cloud:
    """A fruit as points.

    Attributes:
        points: (3, n) float32, in the order: closed surfaces, then leaves.
        normals: (3, n) float32.
        looks: (n, 8) float32: normal, colour, gloss, fuzz.
        closed: how many points belong to closed surfaces, whose back is never seen.
    """

    points: Floats
    normals: Floats
    looks: Floats
    closed: int


def condense(surfaces: Sequence[Surface], scale: float) -> Cloud:
    """Sample the surfaces densely enough for ``scale`` pixels per unit of length."""
    solid = [_dense(s, scale) for s in surfaces if not s.thin]
    leaves = [_dense(s, scale) for s in surfaces if s.thin]
    table = np.concatenate(solid + leaves)
    return Cloud(
        points=np.ascontiguousarray(table[:, :3].T),
        normals=np.ascontiguousarray(table[:, 3:6].T),
        looks=np.ascontiguousarray(table[:, 3:]),
        closed=sum(map(len, solid)),
    )


def _dense(surface: Surface, scale: float) -> Floats:
    """Give points, normals and looks between the nodes of one grid, (n, 11) float32."""
    grid = np.concatenate(
        [
            surface.points,
            surface.normals(),
            surface.colour,
            surface.gloss[..., None],
            surface.fuzz[..., None],
        ],
        axis=-1,
    )
    if surface.ring:
        grid = np.concatenate([grid, grid[:, :1]], axis=1)
    rows, columns = grid.shape[0] - 1, grid.shape[1] - 1
    per_pixel = scale / _SPACING
    down = _longest(np.diff(grid[..., :3], axis=0))
    across = _longest(np.diff(grid[..., :3], axis=1))
    steps = np.maximum(np.ceil(down * per_pixel), 1).astype(np.intp)
    row = np.repeat(np.arange(rows), steps)
    part = _count_up(steps) / np.repeat(steps, steps)
    lines = grid[row] + (grid[row + 1] - grid[row]) * part[:, None, None].astype(np.float32)
    widest = np.maximum(across[row], across[row + 1]) * columns
    counts = np.maximum(np.ceil(widest * per_pixel), 3).astype(np.intp)
    line = np.repeat(np.arange(len(lines)), counts)
    place = _count_up(counts) * np.repeat(columns / counts, counts)
    left = place.astype(np.intp)
    flat = lines.reshape(-1, lines.shape[-1])
    at = line * (columns + 1) + left
    near: Floats = flat.take(at, axis=0)
    between = (place - left).astype(np.float32)[:, None]
    far = flat.take(at + 1, axis=0)
    far -= near
    far *= between
    near += far
    return near


def _longest(steps: Floats) -> Floats:
    """Give the longest of each row of steps (rows,), but for a few very steep ones."""
    size = length(steps)
    longest: Floats = np.minimum(size.max(axis=1), 1.8 * size.mean(axis=1))
    return longest


def _count_up(lengths: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give 0, 1, ... n-1 for every n of ``lengths``, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
