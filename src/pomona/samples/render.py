"""From surfaces to a picture: dense points, a depth buffer and light.

A body is sampled once as points so dense that no pixel of any view can fall between them;
a view then is a rotation, a depth buffer and the shading of the pixels that were hit. This
suits NumPy: there is no loop over pixels or triangles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.surface import turn_about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pomona.samples.noise import Floats
    from pomona.samples.surface import Surface

SIDE = 100
"""Width and height of an image in pixels, as in Fruits-360."""

_FINE = 2
_CANVAS = SIDE * _FINE
_FILL = 0.95
# A square lattice of points finer than 1 / sqrt(2) leaves no unit square empty, however it is
# turned; seen at a slant it only gets denser.
_SPACING = 0.7

_KEY = np.array([-0.46, 0.62, 0.64], np.float32)
_HALF = (_KEY + np.array([0, 0, 1], np.float32)) / np.linalg.norm(_KEY + np.array([0, 0, 1]))
_FILLER = np.array([0.80, 0.05, 0.60], np.float32)


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


@dataclass(frozen=True)
class Stage:
    """Where a fruit stands while it turns: one lean for all frames, one scale, one height.

    Attributes:
        lean: 3 x 3 turn of the fruit before it revolves.
        pitch: 3 x 3 turn of the camera after it.
        scale: pixels of the canvas per unit of length.
        height: y that comes to lie in the middle of the image.
    """

    lean: Floats
    pitch: Floats
    scale: float
    height: float

    def view(self, degrees: float) -> Floats:
        """The 3 x 3 rotation of one frame."""
        turned: Floats = self.pitch @ turn_about(1, degrees) @ self.lean
        return turned


def set_stage(surfaces: Sequence[Surface], lean: Floats, pitch: float) -> Stage:
    """Choose scale and height so that the whole turn fits into the frame and fills it."""
    points = np.concatenate([s.points[::3, ::3].reshape(-1, 3) for s in surfaces])
    camera = turn_about(0, pitch)
    wide, low, high = 0.0, np.inf, -np.inf
    for degrees in range(0, 360, 15):
        seen = points @ (camera @ turn_about(1, degrees) @ lean).T
        wide = max(wide, float(np.abs(seen[:, 0]).max()))
        low, high = min(low, float(seen[:, 1].min())), max(high, float(seen[:, 1].max()))
    scale = _CANVAS * _FILL / max(2 * wide, high - low)
    return Stage(lean, camera, scale, (low + high) / 2)


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
    """Points, normals and looks between the nodes of one grid, (n, 11) float32."""
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
    down = np.sqrt((np.diff(grid[..., :3], axis=0) ** 2).sum(-1)).max(axis=1)
    across = np.sqrt((np.diff(grid[..., :3], axis=1) ** 2).sum(-1)).max(axis=1)
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
    near = flat[at]
    between = (place - left).astype(np.float32)[:, None]
    near += (flat[at + 1] - near) * between
    return near


def _count_up(lengths: NDArray[np.intp]) -> NDArray[np.intp]:
    """0, 1, ... n-1 for every n of ``lengths``, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)


def draw(cloud: Cloud, stage: Stage, degrees: float) -> NDArray[np.uint8]:
    """One frame, (100, 100, 3) uint8 on white."""
    view = stage.view(degrees)
    depth, winner = _splat(cloud, stage, view)
    hit = np.flatnonzero(winner >= 0)
    looks = cloud.looks[winner[hit]]
    light = _light(looks, view)
    light *= _openness(depth, hit)[:, None]
    light += _shine(looks, view)[:, None]
    canvas = np.ones((_CANVAS * _CANVAS, 3), np.float32)
    canvas[hit] = np.minimum(light, 1)
    blocks = canvas.reshape(SIDE, _FINE, SIDE, _FINE, 3)
    return (np.sqrt(blocks.mean(axis=(1, 3))) * 255 + 0.5).astype(np.uint8)


def _turned(vectors: Floats, by: Floats) -> Floats:
    # Written out: a matrix product may round differently with another number of threads, and
    # the same seed has to give the same bytes.
    result: Floats = vectors[0] * by[0] + vectors[1] * by[1] + vectors[2] * by[2]
    return result


def _splat(cloud: Cloud, stage: Stage, view: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """Depth and index of the nearest point of every canvas pixel (-1: none), flat arrays."""
    facing = _turned(cloud.normals[:, : cloud.closed], view[2])
    seen = np.flatnonzero(facing > 0)
    leaves = np.arange(cloud.closed, cloud.points.shape[1])
    seen = np.concatenate([seen, leaves]).astype(np.int32)
    points = cloud.points[:, seen]
    middle = _CANVAS / 2
    x = _turned(points, view[0] * np.float32(stage.scale)) + np.float32(middle)
    drop = np.float32(middle + stage.height * stage.scale)
    y = drop - _turned(points, view[1] * np.float32(stage.scale))
    z = _turned(points, view[2])
    x, y = np.clip(x, 0, _CANVAS - 1), np.clip(y, 0, _CANVAS - 1)
    pixel = y.astype(np.int32) * np.int32(_CANVAS) + x.astype(np.int32)
    depth = np.full(_CANVAS * _CANVAS, -np.inf, np.float32)
    np.maximum.at(depth, pixel, z)
    first = np.flatnonzero(z >= depth[pixel])
    winner = np.full(_CANVAS * _CANVAS, -1, np.int32)
    winner[pixel[first]] = seen[first]
    return depth, winner


def _light(looks: Floats, view: Floats) -> Floats:
    """Diffuse and ambient light times colour, (n, 3): a window on the left, a fill, a sky."""
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
    """Soft and sharp reflection of the window, (n,)."""
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
    """Normals as the camera sees them; those of a leaf seen from behind are turned round."""
    normals = looks[:, :3].T
    x, y, z = (_turned(normals, view[i]) for i in range(3))
    sign = np.where(z < 0, np.float32(-1), np.float32(1))
    return x * sign, y * sign, z * sign


def _openness(depth: Floats, hit: NDArray[np.intp]) -> Floats:
    """How much sky reaches each pixel: less where its surroundings stand nearer to the eye."""
    covered = (depth > -np.inf).reshape(_CANVAS, _CANVAS)
    known = np.where(covered, depth.reshape(_CANVAS, _CANVAS), 0)
    around = _blur(known) / np.maximum(_blur(covered.astype(np.float32)), np.float32(1e-3))
    behind = np.clip(around.reshape(-1)[hit] - depth[hit], 0, 0.25)
    openness: Floats = 1 - np.float32(2.6) * behind
    return openness


def _blur(picture: Floats, reach: int = 7) -> Floats:
    """Mean over a square of 2 ``reach`` + 1 pixels, by running sums; edges count as zero."""
    size = 2 * reach + 1
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (reach + 1, reach)
        total = np.cumsum(np.pad(picture, pad), axis=axis, dtype=np.float32)
        high, low = np.split(total, [size], axis=axis)[1], total
        low = low[: picture.shape[0]] if axis == 0 else low[:, : picture.shape[1]]
        picture = (high - low) / np.float32(size)
    return picture
