"""Smooth random fields in space: what makes one apple differ from the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]

_SIDE = 16
_MASK = _SIDE - 1


class Noise:
    """Value noise on a periodic 16 x 16 x 16 lattice, drawn once from ``rng``.

    The field is defined in space and not on a picture, so it has no seam and turns with the
    fruit.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._table = rng.uniform(-1, 1, _SIDE**3).astype(np.float32)
        self._offset = rng.uniform(0, _SIDE, 3).astype(np.float32)

    def at(self, points: Floats, frequency: ArrayLike) -> Floats:
        """Give the field at ``points`` (..., 3), as float32 of shape (...) in [-1, 1].

        ``frequency`` is in lattice cells per unit of length: one number, or one for each of
        the three axes (unequal numbers draw streaks).
        """
        place = points * np.asarray(frequency, dtype=np.float32) + self._offset
        cell = np.floor(place)
        part = place - cell
        part *= part * (3 - 2 * part)
        low = cell.astype(np.int32) & _MASK
        high = (low + 1) & _MASK
        x, y, z = part[..., 0], part[..., 1], part[..., 2]
        planes = []
        for i in (low[..., 0] * _SIDE**2, high[..., 0] * _SIDE**2):
            rows = []
            for j in (low[..., 1] * _SIDE, high[..., 1] * _SIDE):
                near, far = self._table[i + j + low[..., 2]], self._table[i + j + high[..., 2]]
                rows.append(near + (far - near) * z)
            planes.append(rows[0] + (rows[1] - rows[0]) * y)
        field: Floats = planes[0] + (planes[1] - planes[0]) * x
        return field

    def cloud(self, points: Floats, frequency: ArrayLike, octaves: int = 3) -> Floats:
        """Add up several octaves of the field, each half as strong as the one before."""
        scale = np.asarray(frequency, dtype=np.float32)
        total = self.at(points, scale)
        for octave in range(1, octaves):
            total += self.at(points, scale * 2.03**octave) * np.float32(0.5**octave)
        return total


def ramp(value: Floats, low: float, high: float) -> Floats:
    """Step smoothly from 0 at ``low`` to 1 at ``high`` (which may be the lesser one)."""
    part = np.clip((value - low) / (high - low), 0, 1).astype(np.float32)
    step: Floats = part * part * (3 - 2 * part)
    return step
