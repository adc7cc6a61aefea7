"""The one thing every part of a fruit is made of: a grid of points with colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pomona.samples.noise import Floats


@dataclass
class Surface:
    """A curved sheet: rows x columns of points, with what is needed to light them.

    Lengths are in units of about half a fruit; the y axis is that of the stem, upwards.
    Colours are linear light with a gamma of 2 (see ``paint``).

    Attributes:
        points: (rows, columns, 3) float32.
        along: (rows, 1) float32, 0 at the first row and 1 at the last, by length.
        around: (1, columns) float32, the angle in radians of each column.
        colour: (rows, columns, 3) float32 in 0..1.
        gloss: (rows, columns) float32, 0 is dull and 1 is polished.
        fuzz: (rows, columns) float32, how much the rim is lit by down on the skin.
        ring: the last column is followed by the first one.
        thin: a leaf, seen from both sides.
    """

    points: Floats
    along: Floats
    around: Floats
    ring: bool = True
    thin: bool = False
    colour: Floats = field(init=False)
    gloss: Floats = field(init=False)
    fuzz: Floats = field(init=False)

    def __post_init__(self) -> None:
        shape = self.points.shape[:2]
        self.colour = np.full((*shape, 3), 0.5, dtype=np.float32)
        self.gloss = np.full(shape, 0.3, dtype=np.float32)
        self.fuzz = np.zeros(shape, dtype=np.float32)

    @property
    def belly(self) -> Floats:
        """(rows, 1): 1 half-way along, falling to 0 at both ends, where bumps would crease."""
        middle: Floats = np.sin(np.pi * np.clip(self.along, 0, 0.9999))
        return middle

    def wear(self, colour: ArrayLike, gloss: ArrayLike = 0.3, fuzz: ArrayLike = 0.0) -> Surface:
        """Give the whole sheet a colour (broadcast to its shape), a gloss and a fuzz."""
        self.colour[:] = colour
        self.gloss[:] = gloss
        self.fuzz[:] = fuzz
        return self

    def normals(self) -> Floats:
        """Give unit vectors that point outwards, (rows, columns, 3) float32."""
        down = np.gradient(self.points, axis=0)
        if self.ring:
            across = np.roll(self.points, -1, axis=1) - np.roll(self.points, 1, axis=1)
        else:
            across = np.gradient(self.points, axis=1)
        out = np.empty_like(self.points)
        for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            out[..., a] = across[..., b] * down[..., c] - across[..., c] * down[..., b]
        return unit(out)

    def swell(self, amount: Floats) -> Surface:
        """Move every point outwards by ``amount``, (rows, columns) or broadcast to it."""
        self.points = self.points + self.normals() * np.asarray(amount, np.float32)[..., None]
        return self

    def move(
        self, *, turn: Floats | None = None, scale: ArrayLike = 1.0, to: ArrayLike = (0, 0, 0)
    ) -> Surface:
        """Scale, then rotate by the 3 x 3 matrix ``turn``, then shift, in place."""
        points = self.points * np.asarray(scale, np.float32)
        if turn is not None:
            points = np.einsum("ij,...j->...i", turn, points)
        self.points = (points + np.asarray(to, np.float32)).astype(np.float32)
        return self

    def stamp(self, row: int, angle: float, radius: float) -> tuple[tuple[Floats, ...], Floats]:
        """Find the patch of the grid round one place, and how near its points are to it.

        Returns the index of the patch (for ``array[index]``) and, in the same shape, 1 at the
        place falling to 0 at ``radius``. It lets a hundred seeds be drawn without a pass over
        the whole grid for each.
        """
        rows, columns = self.points.shape[:2]
        column = round(angle / (2 * np.pi) * columns) % columns
        centre = self.points[row, column]
        step = np.abs(self.points[min(row + 1, rows - 1)] - self.points[max(row - 1, 0)]).max() / 2
        side = np.abs(self.points[row, (column + 1) % columns] - centre).max()
        tall = int(radius / max(step, 1e-4)) + 1
        wide = min(int(radius / max(side, 1e-4)) + 1, columns // 2)
        index = np.ix_(
            np.arange(max(row - tall, 0), min(row + tall + 1, rows)),
            np.arange(column - wide, column + wide + (wide < columns // 2)) % columns,
        )
        apart = self.points[index] - centre
        near = 1 - length(apart) / np.float32(radius)
        return index, np.clip(near, 0, 1)


def length(vectors: Floats) -> Floats:
    """Measure the lengths (...) of vectors (..., 3)."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    distance: Floats = np.sqrt(x * x + y * y + z * z)
    return distance


def unit(vectors: Floats) -> Floats:
    """Give the directions of vectors (..., 3), in the same shape."""
    direction: Floats = vectors / (length(vectors)[..., None] + np.float32(1e-12))
    return direction


def paint(code: str) -> Floats:
    """Give the linear colour (3,) of a ``#rrggbb`` code, with a gamma of 2."""
    channels = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.square(np.array(channels, dtype=np.float32))


def mix(first: Floats, second: Floats, part: Floats) -> Floats:
    """Blend two colours: ``first`` where ``part`` (without the last axis) is 0."""
    blend: Floats = first + (second - first) * np.asarray(part, np.float32)[..., None]
    return blend


def then(*turns: Floats) -> Floats:
    """Give the one 3 x 3 matrix that does the turns, the first one first."""
    whole = turns[0]
    for turn in turns[1:]:
        whole = np.asarray(turn @ whole, np.float32)
    return whole


def turn_about(axis: int, degrees: float) -> Floats:
    """Give the 3 x 3 float32 matrix of a turn about axis 0, 1 or 2, anticlockwise."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    b, d = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((3, 3))
    matrix[axis, axis] = 1
    matrix[b, b] = matrix[d, d] = c
    matrix[b, d], matrix[d, b] = -s, s
    return matrix.astype(np.float32)
