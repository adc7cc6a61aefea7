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

    def wear(self, colour: ArrayLike, gloss: ArrayLike = 0.3, fuzz: ArrayLike = 0.0) -> Surface:
        """Give the whole sheet a colour (broadcast to its shape), a gloss and a fuzz."""
        self.colour = np.broadcast_to(np.asarray(colour, np.float32), self.points.shape)
        shape = self.points.shape[:2]
        self.gloss = np.broadcast_to(np.asarray(gloss, np.float32), shape)
        self.fuzz = np.broadcast_to(np.asarray(fuzz, np.float32), shape)
        return self

    def normals(self) -> Floats:
        """Unit vectors that point outwards, (rows, columns, 3) float32."""
        down = np.gradient(self.points, axis=0)
        if self.ring:
            across = np.roll(self.points, -1, axis=1) - np.roll(self.points, 1, axis=1)
        else:
            across = np.gradient(self.points, axis=1)
        out = np.empty_like(self.points)
        for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            out[..., a] = across[..., b] * down[..., c] - across[..., c] * down[..., b]
        out /= np.sqrt((out * out).sum(axis=-1, keepdims=True)) + np.float32(1e-12)
        return out

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
            points = points @ turn.T
        self.points = (points + np.asarray(to, np.float32)).astype(np.float32)
        return self

    def stamp(self, row: int, angle: float, radius: float) -> tuple[tuple[Floats, ...], Floats]:
        """The patch of the grid round one place, and how near its points are to it.

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
        near = 1 - np.sqrt((apart * apart).sum(axis=-1)) / np.float32(radius)
        return index, np.clip(near, 0, 1)


def paint(code: str) -> Floats:
    """The linear colour (3,) of a ``#rrggbb`` code, with a gamma of 2 so that it is cheap."""
    channels = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.square(np.array(channels, dtype=np.float32))


def mix(first: Floats, second: Floats, part: Floats) -> Floats:
    """``first`` where ``part`` (..., without the colour axis) is 0, ``second`` where it is 1."""
    blend: Floats = first + (second - first) * np.asarray(part, np.float32)[..., None]
    return blend


def turn_about(axis: int, degrees: float) -> Floats:
    """The 3 x 3 float32 matrix of a turn about axis 0, 1 or 2, anticlockwise."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    b, d = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((3, 3))
    matrix[axis, axis] = 1
    matrix[b, b] = matrix[d, d] = c
    matrix[b, d], matrix[d, b] = -s, s
    return matrix.astype(np.float32)
