"""Citrus fruit: oranges, lemons and limes, with their pored peel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.noise import Noise, ramp
from pomona.samples.parts import body, sepals, shade_of
from pomona.samples.shapes import disc
from pomona.samples.surface import mix, paint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pomona.samples.surface import Surface

_ORANGE = [
    (0, 0.90), (0.10, 0.905), (0.28, 0.93), (0.55, 0.80), (0.84, 0.50), (0.98, 0.08),
    (0.94, -0.36), (0.72, -0.72), (0.40, -0.91), (0.15, -0.945), (0.06, -0.93), (0, -0.92),
]  # fmt: skip
_LEMON = [
    (0, 1.22), (0.07, 1.20), (0.13, 1.12), (0.22, 1.02), (0.46, 0.86), (0.72, 0.52), (0.83, 0.10),
    (0.79, -0.34), (0.56, -0.76), (0.32, -1.00), (0.19, -1.14), (0.13, -1.28), (0.07, -1.35),
    (0, -1.37),
]  # fmt: skip
_LIME = [
    (0, 1.00), (0.08, 0.99), (0.18, 0.97), (0.46, 0.86), (0.74, 0.56), (0.87, 0.12), (0.84, -0.30),
    (0.62, -0.72), (0.34, -0.95), (0.16, -1.03), (0.08, -1.12), (0, -1.15),
]  # fmt: skip


def orange(rng: np.random.Generator) -> list[Surface]:
    """Grow an orange with the green button of its stem."""
    return _citrus(rng, _ORANGE, ("#f08a12", "#e2700a"), pores=0.014, navel=0.05)


def lemon(rng: np.random.Generator) -> list[Surface]:
    """Grow a lemon: long, with a nipple."""
    return _citrus(rng, _LEMON, ("#f8d838", "#eab61e"), pores=0.011, navel=0.0)


def lime(rng: np.random.Generator) -> list[Surface]:
    """Grow a lime: a small green lemon, paler where it lay in the shade."""
    skin, *rest = _citrus(rng, _LIME, ("#4f8f22", "#2f6e1c"), pores=0.009, navel=0.0)
    noise, way = Noise(rng), rng.uniform(0, 2 * np.pi)
    pale = np.cos(skin.around - way) * skin.belly + noise.cloud(skin.points, 1.2)
    skin.colour = mix(skin.colour, paint("#a9bf45"), 0.55 * ramp(pale, 0.4, 1.5))
    skin.gloss = np.full_like(skin.gloss, 0.55)
    return [skin, *rest]


def _citrus(
    rng: np.random.Generator,
    outline: Sequence[tuple[float, float]],
    peel: tuple[str, str],
    *,
    pores: float,
    navel: float,
) -> list[Surface]:
    skin = body(rng, outline, vary=0.03, wobble=0.025)
    noise = Noise(rng)
    pit = ramp(noise.at(skin.points, 17), 0.05, 0.7) + 0.5 * ramp(noise.at(skin.points, 25), 0, 0.8)
    skin.swell(-np.float32(pores) * pit * skin.belly**0.5)
    patch = ramp(noise.cloud(skin.points, 1.5), -0.8, 0.8)
    colour = mix(shade_of(rng, peel[0]), shade_of(rng, peel[1]), patch)
    colour *= (1 - 0.13 * pit)[..., None]
    if navel:
        eye = ramp(skin.along + 0.004 * noise.at(skin.points, 9), 1 - navel, 1 - navel / 3)
        colour = mix(colour, paint("#8a5a20"), 0.8 * eye)
    skin.wear(colour, 0.42)
    top = float(skin.points[0, 0, 1])
    button = disc(0.06, rows=8, columns=24).move(to=(0, top + 0.025, 0)).wear(paint("#b7a564"), 0.1)
    star = sepals(rng, 5, top, 0.13, 0.10, ("#7f9440", "#5f7a2c"), rise=0.25, curl=0.4)
    return [skin, button, *star]
