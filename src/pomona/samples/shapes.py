"""The shapes fruit is built from: bodies of revolution, tubes, balls, discs and leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pomona.samples.surface import Surface, unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from pomona.samples.noise import Floats

ROWS, COLUMNS = 150, 288
"""Grid of a body that fills the frame: about one point per pixel of the finished image."""

Curve: TypeAlias = "Sequence[tuple[float, ...]] | Floats"
"""Points (n, 2) or (n, 3) that a curve goes through."""


def smooth(knots: Curve, samples: int, *, poles: bool = False) -> Floats:
    """Space ``samples`` points evenly on a Catmull-Rom curve through ``knots``.

    With ``poles`` the curve is an outline (distance from the axis, height) that begins and
    ends on the axis; it is continued by its mirror image there, so that the ends are round.
    """
    knot = np.asarray(knots, dtype=np.float64)
    if poles:
        mirror = np.array([-1.0, 1.0])
        ends = knot[1] * mirror, knot[-2] * mirror
    else:
        ends = 2 * knot[0] - knot[1], 2 * knot[-1] - knot[-2]
    k = np.concatenate([ends[0][None], knot, ends[1][None]])
    t = np.linspace(0, 1, 24, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (k[i : len(k) - 3 + i, None, :] for i in range(4))
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    fine = np.concatenate([curve.reshape(-1, k.shape[1]), knot[-1:]])
    steps = np.sqrt((np.diff(fine, axis=0) ** 2).sum(axis=1))
    length = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0, length[-1], samples)
    columns = [np.interp(at, length, fine[:, i]) for i in range(fine.shape[1])]
    return np.stack(columns, axis=1).astype(np.float32)


def revolve(
    outline: Curve, *, rows: int = ROWS, columns: int = COLUMNS, poles: bool = True
) -> Surface:
    """Turn an outline (distance from the axis, height), from top to bottom, about the y axis."""
    profile = smooth(outline, rows, poles=poles)
    angle = _angles(columns)
    reach = np.maximum(profile[:, :1], np.float32(1e-3))
    height = np.broadcast_to(profile[:, 1:], (rows, columns))
    points = np.stack([reach * np.cos(angle), height, reach * np.sin(angle)], axis=-1)
    return Surface(points, _along(rows), angle)


def ball(
    centre: ArrayLike,
    radius: float,
    *,
    rows: int = 20,
    tall: float = 1.0,
) -> Surface:
    """Make a sphere, or an egg ``tall`` times as high as it is wide."""
    lat = np.linspace(0, np.pi, rows)
    outline = np.stack([np.sin(lat), np.cos(lat) * tall], axis=1)
    return revolve(outline.astype(np.float32), rows=rows, columns=2 * rows).move(
        scale=radius, to=centre
    )


def tube(path: Curve, widths: Sequence[float], *, rows: int = 24, columns: int = 16) -> Surface:
    """Make a tube about a curve in space; ``widths`` are radii, spread evenly along it.

    The curve must not run along the x axis. A width of zero closes an end.
    """
    centre = smooth(path, rows)
    along = _along(rows)
    width = np.interp(along[:, 0], np.linspace(0, 1, len(widths)), widths)
    forward = unit(np.gradient(centre, axis=0))
    # A fixed direction of reference keeps the circles from twisting along the curve.
    second = unit(np.cross(forward, np.array([1, 0, 0], np.float32)))
    first = np.cross(second, forward)
    angle = _angles(columns)
    circle = np.cos(angle)[..., None] * first[:, None] + np.sin(angle)[..., None] * second[:, None]
    radius = np.maximum(width, 1e-3)[:, None, None]
    return Surface((centre[:, None] + circle * radius).astype(np.float32), along, angle)


def disc(radius: float, *, rows: int = 70, columns: int = COLUMNS) -> Surface:
    """Make a flat round face, looking up, its centre at the origin."""
    profile = np.linspace([0, 0], [radius, 0], rows)
    return revolve(profile.astype(np.float32), rows=rows, columns=columns, poles=False)


def leaf(
    length: float,
    width: float,
    *,
    rise: float = 0.0,
    curl: float = 0.0,
    fold: float = 0.3,
    point: float = 1.0,
    rows: int = 20,
    columns: int = 9,
) -> Surface:
    """Make a leaf that grows from the origin along +x and is ``width`` wide in z.

    Args:
        length: from base to tip.
        width: at the widest place.
        rise: slope at the base, in units of height per length.
        curl: how far the tip bends down (positive) or up, in the same units.
        fold: depth of the gutter along the middle, as a part of the width.
        point: where it is widest: 1 in the middle, less is nearer to the base.
        rows: grid along the leaf.
        columns: grid across it.
    """
    along = _along(rows)
    t = along**point
    half = np.sin(np.pi * np.clip(t, 0.02, 0.998)) ** 0.8 * width / 2
    side = np.linspace(-1, 1, columns, dtype=np.float32)[None]
    z = half * side
    y = length * (rise * along - curl * along**2) + fold * half * np.abs(side)
    x = np.broadcast_to(along * length, z.shape)
    points = np.stack([x, y, z], axis=-1).astype(np.float32)
    return Surface(points, along, side, ring=False, thin=True)


def spiral(count: int, low: float = 0.0, high: float = 1.0) -> list[tuple[float, float]]:
    """Spread ``count`` places evenly over a skin, as seeds grow: (height -1..1, angle).

    ``low`` and ``high`` cut off the bottom and the top, as parts of the height.
    """
    golden = np.pi * (3 - 5**0.5)
    return [
        (2 * (high - (high - low) * (i + 0.5) / count) - 1, (i * golden) % (2 * np.pi))
        for i in range(count)
    ]


def _along(rows: int) -> Floats:
    return np.linspace(0, 1, rows, dtype=np.float32)[:, None]


def _angles(columns: int) -> Floats:
    return np.linspace(0, 2 * np.pi, columns, endpoint=False, dtype=np.float32)[None]
