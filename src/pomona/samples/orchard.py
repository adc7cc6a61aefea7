"""Fruit from trees: apples, pears, plums, peaches and cherries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.noise import Noise, ramp
from pomona.samples.parts import body, groove, sepals, shade_of, speckle, stem
from pomona.samples.shapes import leaf
from pomona.samples.surface import mix, paint, turn_about

if TYPE_CHECKING:
    from pomona.samples.surface import Surface

_APPLE = [
    (0, 0.56), (0.07, 0.60), (0.19, 0.78), (0.42, 0.90), (0.72, 0.80), (0.95, 0.42), (0.99, 0.05),
    (0.86, -0.42), (0.62, -0.78), (0.38, -0.88), (0.20, -0.82), (0.08, -0.74), (0, -0.72),
]  # fmt: skip


def apple(
    rng: np.random.Generator, ground: str, blush: str, red: float, streaks: float, dots: str
) -> list[Surface]:
    """Grow an apple.

    Args:
        rng: source of the individuality.
        ground: colour of the side in the shade.
        blush: colour of the side in the sun.
        red: how much of the skin is blushed, 0 to 1.
        streaks: how streaky the border between the two is.
        dots: colour of the pores.
    """
    skin = body(rng, _APPLE)
    lobes = np.cos(5 * skin.around + rng.uniform(0, 6)) * ramp(skin.along, 0.5, 0.95)
    skin.swell(np.float32(0.022) * lobes * skin.belly)
    noise, sun = Noise(rng), rng.uniform(0, 2 * np.pi)
    side = np.cos(skin.around - sun) * skin.belly
    grain = streaks * noise.cloud(skin.points, (7, 0.8, 7)) + 0.5 * noise.at(skin.points, 1.3)
    part = ramp(side * 0.7 + grain + 2.6 * red - 1.3, -0.5, 0.7)
    colour = mix(shade_of(rng, ground), shade_of(rng, blush), part)
    colour *= (1 + 0.10 * noise.at(skin.points, (9, 1.2, 9)))[..., None]
    # Russet in the hollow round the stem, and a dark eye at the other end.
    hollow = ramp(skin.along, 0.16, 0.02) * (0.75 + 0.4 * noise.at(skin.points, 6))
    colour = mix(colour, paint("#9a8a48"), np.clip(hollow * 0.8, 0, 1))
    eye = ramp(skin.along + 0 * part, 0.955, 0.985)
    skin.wear(mix(colour, paint("#4a3a22"), eye), 0.55 - 0.4 * eye)
    speckle(skin, rng, 110, 0.026, dots, 0.4)
    tuft = sepals(rng, 5, 0.74, 0.12, 0.07, ("#5a4a2a", "#3a2e1c"), rise=0.9, curl=0.2)
    for blade in tuft:
        blade.move(scale=(1, -1, 1))
    return [skin, stem(rng, 0.5, rng.uniform(0.45, 0.65), 0.034), *tuft]


_PEAR = [
    (0, 1.22), (0.10, 1.23), (0.24, 1.14), (0.32, 0.93), (0.40, 0.62), (0.56, 0.28), (0.76, -0.10),
    (0.85, -0.45), (0.77, -0.80), (0.52, -1.02), (0.26, -1.06), (0.10, -1.00), (0, -0.98),
]  # fmt: skip


def pear(rng: np.random.Generator, ground: str, blush: str, red: float) -> list[Surface]:
    """Grow a pear: long neck, pores all over, a blush over ``red`` (0 to 1) of the skin."""
    skin = body(rng, _PEAR, wobble=0.05)
    noise, sun = Noise(rng), rng.uniform(0, 2 * np.pi)
    side = np.cos(skin.around - sun) * skin.belly
    part = ramp(side + 0.8 * noise.cloud(skin.points, 1.6) + 2.4 * red - 1.6, -0.6, 0.8)
    colour = mix(shade_of(rng, ground), shade_of(rng, blush), part)
    colour *= (1 + 0.07 * noise.cloud(skin.points, 4))[..., None]
    russet = ramp(skin.along + 0.03 * noise.at(skin.points, 5), 0.10, 0.02)
    eye = ramp(skin.along, 0.94, 0.985)
    colour = mix(colour, paint("#8a6a38"), 0.7 * russet)
    skin.wear(mix(colour, paint("#4a3822"), 0 * part + eye), 0.32)
    speckle(skin, rng, 260, 0.022, "#7a6a2a", 0.5)
    return [skin, stem(rng, 1.18, rng.uniform(0.38, 0.55), 0.045, bend=0.45, flare=1.2)]


_PEACH = [
    (0, 0.70), (0.08, 0.72), (0.20, 0.84), (0.45, 0.90), (0.76, 0.72), (0.97, 0.30), (0.99, -0.08),
    (0.86, -0.50), (0.58, -0.80), (0.30, -0.92), (0.12, -0.97), (0, -1.0),
]  # fmt: skip


def peach(rng: np.random.Generator) -> list[Surface]:
    """Grow a peach: downy, with a seam and a leaf at the stem."""
    skin = body(rng, _PEACH)
    seam_at, noise = rng.uniform(0, 2 * np.pi), Noise(rng)
    seam = groove(skin, seam_at, 0.085, 0.16)
    side = np.cos(skin.around - seam_at - 1.2) * skin.belly
    field = 0.6 * side + 0.45 * noise.cloud(skin.points, 2.2) + 0.25 * noise.at(skin.points, 11)
    colour = mix(shade_of(rng, "#f6b765"), shade_of(rng, "#e8703c"), ramp(field, -0.7, 0.1))
    colour = mix(colour, shade_of(rng, "#b5293a"), 0.85 * ramp(field, 0.0, 0.9))
    colour = mix(colour, paint("#c95f3a"), 0.35 * seam)
    pole = ramp(skin.along, 0.10, 0.02) + 0 * field
    skin.wear(mix(colour, paint("#e2b25a"), 0.8 * pole), 0.06, 0.8)
    return [
        skin,
        stem(rng, 0.66, 0.17, 0.06),
        *_foliage(rng, seam_at, 0.80, length=1.05),
    ]


_PLUM = [
    (0, 0.93), (0.06, 0.94), (0.20, 1.02), (0.45, 0.96), (0.72, 0.68), (0.86, 0.25), (0.87, -0.15),
    (0.76, -0.58), (0.50, -0.92), (0.22, -1.06), (0, -1.1),
]  # fmt: skip


def plum(rng: np.random.Generator) -> list[Surface]:
    """Grow a plum: purple, with a seam and a pale bloom that is rubbed off in places."""
    skin = body(rng, _PLUM)
    noise = Noise(rng)
    seam = groove(skin, rng.uniform(0, 2 * np.pi), 0.06, 0.12)
    warm = ramp(noise.cloud(skin.points, 1.2), -0.3, 1.1)
    colour = mix(shade_of(rng, "#3f1f4f"), shade_of(rng, "#7a2448"), warm)
    bloom = ramp(noise.cloud(skin.points, (3.0, 1.4, 3.0), 4), -0.5, 0.8)
    colour = mix(colour, paint("#8d86b8"), 0.42 * bloom)
    colour = mix(colour, paint("#22102c"), 0.6 * seam)
    skin.wear(colour, 0.55 - 0.45 * bloom, 0.15)
    speckle(skin, rng, 60, 0.02, "#a08aa8", 0.35)
    return [skin, stem(rng, 0.9, 0.34, 0.035, colours=("#7a6a3a", "#5a4426"))]


_CHERRY = [
    (0, 0.60), (0.07, 0.63), (0.20, 0.78), (0.45, 0.86), (0.78, 0.68), (0.98, 0.25), (0.98, -0.15),
    (0.80, -0.58), (0.50, -0.83), (0.22, -0.92), (0, -0.93),
]  # fmt: skip


def cherry(rng: np.random.Generator, ground: str, blush: str, red: float) -> list[Surface]:
    """Grow a cherry on a long stem; ``red`` is how much of it is blushed, 0 to 1."""
    skin = body(rng, _CHERRY, vary=0.025)
    noise, sun = Noise(rng), rng.uniform(0, 2 * np.pi)
    groove(skin, sun + 2, 0.035, 0.2)
    side = np.cos(skin.around - sun) * skin.belly + 0.5 * np.cos(3 * skin.along)
    field = side + 0.6 * noise.cloud(skin.points, 1.8) + 3 * red - 1.6
    colour = mix(shade_of(rng, ground), shade_of(rng, blush), ramp(field, -0.6, 0.9))
    colour *= (1 + 0.12 * noise.at(skin.points, 3))[..., None]
    skin.wear(colour, 0.95)
    twig = stem(rng, 0.56, rng.uniform(1.55, 1.9), 0.055, colours=("#8a9a3c", "#7a6a34"), bend=0.45)
    return [skin, twig]


def _foliage(rng: np.random.Generator, angle: float, height: float, length: float) -> list[Surface]:
    """Grow one long leaf, as is often left on a fruit that is sold fresh."""
    blade = leaf(length, 0.36 * length, rise=0.55, curl=0.62, fold=0.25, rows=40, columns=17)
    rib = np.abs(blade.around) + 0 * blade.along
    veins = 0.5 + 0.5 * np.cos(40 * blade.along - 9 * rib)
    colour = mix(shade_of(rng, "#3f7a2e"), paint("#2f5f24"), veins)
    blade.wear(mix(colour, paint("#a3bf6a"), ramp(rib, 0.14, 0.03)), 0.35)
    return [blade.move(turn=turn_about(1, np.degrees(-angle) + 150), to=(0, height, 0))]
