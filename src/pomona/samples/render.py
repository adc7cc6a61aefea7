"""From points to a picture: a depth buffer and light.

A fruit is sampled once; a view of it then is a rotation, a depth buffer and the shading of the
pixels that were hit. This suits NumPy: there is no loop over pixels or triangles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.noise import ramp
from pomona.samples.stage import CANVAS, FINE, SIDE, turned
from pomona.samples.surface import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomona.samples.cloud import Cloud
    from pomona.samples.noise import Floats
    from pomona.samples.stage import Stage, Window

_KEY = np.array([-0.46, 0.62, 0.64], np.float32)
_HALF = unit(_KEY + np.array([0, 0, 1], np.float32))
_FILLER = np.array([0.80, 0.05, 0.60], np.float32)


def draw(cloud: Cloud, stage: Stage, degrees: float) -> NDArray[np.uint8]:
    """Draw one frame, (100, 100, 3) uint8 on white."""
    view = stage.view(degrees)
    depth, winner = _splat(cloud, stage.window(degrees), view)
    hit = np.flatnonzero(winner >= 0)
    looks = cloud.looks.take(winner[hit], axis=0)
    light = _light(looks, view)
    light *= _openness(depth, hit, looks, view)[:, None]
    light += _shine(looks, view)[:, None]
    canvas = np.ones((CANVAS * CANVAS, 3), np.float32)
    canvas[hit] = np.minimum(light, 1)
    fine = canvas.reshape(CANVAS, CANVAS, 3)
    total = np.zeros((SIDE, SIDE, 3), np.float32)
    for i in range(FINE * FINE):
        total += fine[i // FINE :: FINE, i % FINE :: FINE]
    picture: NDArray[np.uint8] = (np.sqrt(total / FINE**2) * 255 + 0.5).astype(np.uint8)
    return picture


def _splat(cloud: Cloud, window: Window, view: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """Find depth and index of the nearest point of every canvas pixel (-1: none), flat arrays."""
    facing = turned(cloud.normals[:, : cloud.closed], view[2])
    seen = np.flatnonzero(facing > 0)
    leaves = np.arange(cloud.closed, cloud.points.shape[1])
    seen = np.concatenate([seen, leaves]).astype(np.int32)
    points = cloud.points.take(seen, axis=1)
    scale = np.float32(window.scale)
    right = np.float32(CANVAS / 2 - window.x * window.scale)
    down = np.float32(CANVAS / 2 + window.y * window.scale)
    x = right + turned(points, view[0] * scale)
    y = down - turned(points, view[1] * scale)
    z = turned(points, view[2])
    x, y = np.clip(x, 0, CANVAS - 1), np.clip(y, 0, CANVAS - 1)
    pixel = y.astype(np.int32) * np.int32(CANVAS) + x.astype(np.int32)
    depth = np.full(CANVAS * CANVAS, -np.inf, np.float32)
    np.maximum.at(depth, pixel, z)
    first = np.flatnonzero(z >= depth[pixel])
    winner = np.full(CANVAS * CANVAS, -1, np.int32)
    winner[pixel[first]] = seen[first]
    return depth, winner


def _light(looks: Floats, view: Floats) -> Floats:
    """Give the colours as lit by a window on the left, a fill on the right, a sky: (n, 3)."""
    x, y, z = _facing(looks, view)
    key = np.clip((x * _KEY[0] + y * _KEY[1] + z * _KEY[2] + 0.22) / 1.22, 0, None)
    fill = np.clip(x * _FILLER[0] + y * _FILLER[1] + z * _FILLER[2], 0, None)
    level = 0.80 * key + 0.16 * fill + 0.23 + 0.09 * y
    rim = looks[:, 7] * (1 - z) ** 2
    colour = looks[:, 3:6]
    lit: Floats = colour * level[:, None]
    lit += (rim * level)[:, None] * (0.5 * colour + 0.25)
    return lit


def _shine(looks: Floats, view: Floats) -> Floats:
    """Give the soft and the sharp reflection of the window, (n,)."""
    x, y, z = _facing(looks, view)
    toward = np.clip(x * _HALF[0] + y * _HALF[1] + z * _HALF[2], 0, None)
    soft = toward * toward
    soft *= soft
    soft *= soft
    soft *= soft  # to the 16th power
    sharp = np.clip((toward - 0.972) / 0.018, 0, 1)
    edge = (1 - z) ** 4
    gloss = looks[:, 6]
    shine: Floats = gloss * (0.16 * soft + 0.55 * gloss * sharp + 0.10 * edge)
    return shine


def _facing(looks: Floats, view: Floats) -> tuple[Floats, Floats, Floats]:
    """Turn the normals to the camera, those of a leaf seen from behind as well."""
    normals = looks[:, :3].T
    x, y, z = (turned(normals, view[i]) for i in range(3))
    sign = np.where(z < 0, np.float32(-1), np.float32(1))
    return x * sign, y * sign, z * sign


def _openness(depth: Floats, hit: NDArray[np.intp], looks: Floats, view: Floats) -> Floats:
    """Tell how much sky reaches each pixel: less where what is around it stands nearer."""
    covered = (depth > -np.inf).reshape(CANVAS, CANVAS)
    known = np.where(covered, depth.reshape(CANVAS, CANVAS), 0)
    share = _blur(covered.astype(np.float32)) + np.float32(1e-3)
    around = _blur(known) / share
    behind = np.clip(around.reshape(-1)[hit] - depth[hit], 0, 0.25)
    # At the outline the surroundings are always nearer; that is roundness, not a hollow.
    inside = ramp(_facing(looks, view)[2], 0.1, 0.6)
    openness: Floats = 1 - np.float32(2.6) * behind * inside
    return openness


def _blur(picture: Floats, reach: int = 7) -> Floats:
    """Average over a square of 2 ``reach`` + 1 pixels; what is outside counts as zero."""
    size = 2 * reach + 1
    mean = np.pad(picture, ((reach + 1, reach), (reach + 1, reach)))
    mean = np.cumsum(np.cumsum(mean, axis=0, dtype=np.float32), axis=1, dtype=np.float32)
    mean = mean[size:] - mean[:-size]
    mean = mean[:, size:] - mean[:, :-size]
    averaged: Floats = mean / np.float32(size * size)
    return averaged
