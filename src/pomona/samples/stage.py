"""Where a fruit stands before the camera, and what the camera looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pomona.samples.surface import then, turn_about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pomona.samples.noise import Floats
    from pomona.samples.surface import Surface

SIDE = 100
"""Width and height of an image in pixels, as in Fruits-360."""

FINE = 2
"""Canvas pixels per image pixel, in each direction: what smooths the edges."""

CANVAS = SIDE * FINE
_FILL = 0.95


@dataclass(frozen=True)
class Stage:
    """Where a fruit stands while it is turned: the lean, the camera and how close it may come.

    Attributes:
        points: (3, n) float32, some points of the fruit, by which the view is framed.
        lean: 3 x 3 turn of the fruit before it revolves about the vertical axis.
        pitch: 3 x 3 turn of the camera after it.
        zoom: how much closer than the widest frame asks for the camera may come: with 1 the
            fruit keeps its size and place through the whole turn.
        whole: window that holds the fruit in every frame.
    """

    points: Floats
    lean: Floats
    pitch: Floats
    zoom: float
    whole: Window

    @property
    def scale(self) -> float:
        """The most canvas pixels per unit of length that any frame has."""
        return self.whole.scale * self.zoom

    def view(self, degrees: float) -> Floats:
        """Give the 3 x 3 rotation of one frame."""
        return then(self.lean, turn_about(1, degrees), self.pitch)

    def window(self, degrees: float) -> Window:
        """Frame what the camera looks at."""
        if self.zoom == 1:
            return self.whole
        seen = _extent(self.points, self.view(degrees))
        close = Window.around(seen)
        return Window(close.x, close.y, min(close.scale, self.scale))


class Window(NamedTuple):
    """Middle of the image in units of length, and canvas pixels per unit."""

    x: float
    y: float
    scale: float

    @classmethod
    def around(cls, extent: tuple[float, float, float, float]) -> Window:
        """Make the window that is filled by left, right, bottom and top."""
        left, right, low, high = extent
        size = max(right - left, high - low)
        return cls((left + right) / 2, (low + high) / 2, CANVAS * _FILL / size)


def set_stage(
    surfaces: Sequence[Surface], pitch: float, *, lying: bool = False, zoom: float = 1.0
) -> Stage:
    """Stand a fruit up, or lay it on its side, and frame the whole turn.

    ``pitch`` is in degrees, how far the camera looks down.
    """
    # A third of the nodes each way is enough for a round body, but would miss the tip of a leaf.
    nodes = [s.points[:, ::2] if s.thin else s.points[::3, ::3] for s in surfaces]
    sample = np.concatenate([points.reshape(-1, 3) for points in nodes])
    points = np.ascontiguousarray(sample.T)
    lean = turn_about(2, 90) if lying else turn_about(2, 0)
    camera = turn_about(0, pitch)
    turns = [then(lean, turn_about(1, angle), camera) for angle in range(0, 360, 15)]
    frames = np.array([_extent(points, turn) for turn in turns])
    reach = float(np.abs(frames[:, :2]).max())
    whole = Window.around((-reach, reach, float(frames[:, 2].min()), float(frames[:, 3].max())))
    return Stage(points, lean, camera, zoom, whole)


def _extent(points: Floats, view: Floats) -> tuple[float, float, float, float]:
    """Measure left, right, bottom and top of the turned points."""
    x, y = turned(points, view[0]), turned(points, view[1])
    return float(x.min()), float(x.max()), float(y.min()), float(y.max())


def turned(vectors: Floats, by: Floats) -> Floats:
    """Apply one row of a rotation to vectors (3, n)."""
    # Written out: a matrix product may round differently with another number of threads, and
    # the same seed has to give the same bytes.
    result: Floats = vectors[0] * by[0] + vectors[1] * by[1] + vectors[2] * by[2]
    return result
