"""What many fruits share: uneven growth, stems, sepals, speckles, a groove down one side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.noise import Noise, ramp
from pomona.samples.shapes import leaf, revolve, tube
from pomona.samples.surface import mix, paint, turn_about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pomona.samples.noise import Floats
    from pomona.samples.surface import Surface


def body(
    rng: np.random.Generator,
    outline: Sequence[tuple[float, float]],
    *,
    vary: float = 0.035,
    wobble: float = 0.03,
    rows: int = 150,
) -> Surface:
    """Grow a skin turned from ``outline`` (top to bottom), grown a little unevenly.

    Args:
        rng: source of the individuality.
        outline: (distance from the axis, height) with both ends on the axis.
        vary: how far the outline itself strays, as a part of its size.
        wobble: how far the skin bulges in and out, in units of length.
        rows: grid along the outline.
    """
    knots = np.array(outline)
    place = np.linspace(0, 2 * np.pi, len(knots))[1:-1, None]
    # Strays slowly along the outline: independent knots would make corners.
    for harmonic in (1, 2):
        wave = np.sin(harmonic * place / 2 + rng.uniform(0, 6))
        knots[1:-1] *= 1 + rng.normal(0, vary) / harmonic * wave
    knots *= 1 + rng.normal(0, vary, 2)
    skin = revolve(knots.astype(np.float32), rows=rows)
    points = skin.points
    squash = 1 + rng.uniform(-vary, vary)
    slant = rng.normal(0, vary, 2)
    points[..., 0] = points[..., 0] * squash + slant[0] * points[..., 1]
    points[..., 2] += slant[1] * points[..., 1]
    field = Noise(rng).at(points, 1.1)
    # Faded out at the poles, where a bulge would be a crease.
    return skin.swell(np.float32(wobble) * field * skin.belly)


def stem(
    rng: np.random.Generator,
    base: float,
    length: float,
    radius: float,
    *,
    colours: tuple[str, str] = ("#6b4a2b", "#4a3420"),
    bend: float = 0.25,
    flare: float = 1.5,
) -> Surface:
    """Grow a stem from height ``base`` on the axis up, in ``colours`` (bottom, top)."""
    way = rng.uniform(0, 2 * np.pi)
    lean = bend * length * rng.uniform(0.5, 1.2)
    x, z = lean * np.cos(way), lean * np.sin(way)
    path = [
        (x, base + length, z),
        (0.35 * x, base + 0.6 * length, 0.35 * z),
        (0, base, 0),
    ]
    profile = [0, 1.35, 1.3, 1.2, 1.1, *[1.0] * 10, (1 + flare) / 2, flare]
    twig = tube(path, [radius * part for part in profile], rows=36)
    shade = np.broadcast_to(twig.along, twig.points.shape[:2])
    grain = 0.15 * Noise(rng).at(twig.points, (20, 4, 20))
    return twig.wear(mix(paint(colours[1]), paint(colours[0]), shade + grain).clip(0, 1), 0.15)


def sepals(
    rng: np.random.Generator,
    count: int,
    height: float,
    length: float,
    width: float,
    colours: tuple[str, str],
    *,
    rise: float = 0.3,
    curl: float = 0.5,
    start: float = 0.02,
) -> list[Surface]:
    """Grow a star of leaves round the axis at ``height``, in ``colours`` (base, tip)."""
    star = []
    turn = rng.uniform(0, 360)
    for i in range(count):
        blade = leaf(
            length * rng.uniform(0.8, 1.2),
            width * rng.uniform(0.85, 1.15),
            rise=rise + rng.normal(0, 0.12),
            curl=curl + rng.normal(0, 0.15),
            point=0.6,
        )
        blade.wear(mix(paint(colours[0]), paint(colours[1]), _wide(blade.along, blade)), 0.2)
        angle = turn + 360 * i / count + rng.uniform(-12, 12)
        way = np.radians(angle)
        blade.move(
            turn=turn_about(1, angle), to=(start * np.cos(way), height, -start * np.sin(way))
        )
        star.append(blade)
    return star


def speckle(
    skin: Surface,
    rng: np.random.Generator,
    count: int,
    radius: float,
    colour: str,
    strength: float = 0.6,
) -> None:
    """Draw ``count`` small round spots of ``colour`` on the skin, evenly by area."""
    reach = np.sqrt(skin.points[:, 0, 0] ** 2 + skin.points[:, 0, 2] ** 2)
    rows = rng.choice(len(reach), count, p=reach / reach.sum())
    ink = paint(colour)
    for row, angle in zip(rows, rng.uniform(0, 2 * np.pi, count), strict=True):
        index, near = skin.stamp(int(row), float(angle), radius * rng.uniform(0.6, 1.3))
        part = np.minimum(2 * near, 1) * np.float32(strength)
        skin.colour[index] = mix(skin.colour[index], ink, part)


def groove(skin: Surface, angle: float, depth: float, width: float = 0.25) -> Floats:
    """Press a seam from pole to pole into the skin, as stone fruit has; returns its mask."""
    apart = np.angle(np.exp(1j * (skin.around - angle))).astype(np.float32)
    seam = np.exp(-((apart / width) ** 2)) * ramp(skin.belly, 0.05, 0.5)
    skin.swell(-np.float32(depth) * seam)
    mask: Floats = seam
    return mask


def shade_of(rng: np.random.Generator, code: str, spread: float = 0.05) -> Floats:
    """Choose a colour near ``code``: every fruit ripens differently."""
    colour = paint(code) * (1 + rng.normal(0, spread)) * (1 + rng.normal(0, spread / 2, 3))
    chosen: Floats = np.clip(colour, 0, 1).astype(np.float32)
    return chosen


def _wide(column: Floats, surface: Surface) -> Floats:
    return np.broadcast_to(column, surface.points.shape[:2])
