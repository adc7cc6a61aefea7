"""Soft fruit: strawberries, raspberries, blueberries, grapes and tomatoes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.noise import Noise, ramp
from pomona.samples.parts import body, sepals, shade_of, stem
from pomona.samples.shapes import ball, disc, revolve, spiral, tube
from pomona.samples.surface import mix, paint

if TYPE_CHECKING:
    from pomona.samples.noise import Floats
    from pomona.samples.surface import Surface

_STRAWBERRY = [
    (0, 0.72), (0.16, 0.76), (0.42, 0.78), (0.70, 0.62), (0.82, 0.32), (0.74, -0.08),
    (0.56, -0.46), (0.34, -0.82), (0.16, -1.02), (0, -1.08),
]  # fmt: skip


def strawberry(rng: np.random.Generator) -> list[Surface]:
    """Grow a strawberry: seeds in pits along a spiral, and a green cap."""
    skin = body(rng, _STRAWBERRY, vary=0.06, wobble=0.06)
    noise = Noise(rng)
    deep = ramp(noise.cloud(skin.points, 1.4), -0.6, 0.9)
    colour = mix(shade_of(rng, "#d8222a"), shade_of(rng, "#a80f1e"), deep)
    colour = mix(colour, paint("#f0b090"), 0.75 * ramp(skin.along + 0.06 * deep, 0.20, 0.10))
    rows = len(skin.points)
    heights = skin.points[:, 0, 1]
    pits = np.zeros(skin.points.shape[:2], np.float32)
    seeds = np.zeros_like(pits)
    for height, angle in spiral(170, 0.02, 0.90):
        level = heights[-1] + (heights[0] - heights[-1]) * (height + 1) / 2
        row = int(np.searchsorted(-heights[rows // 8 :], -level)) + rows // 8
        index, near = skin.stamp(min(row, rows - 1), angle + rng.normal(0, 0.05), 0.085)
        pits[index] = np.maximum(pits[index], near)
        seeds[index] = np.maximum(seeds[index], ramp(near, 0.50, 0.68))
    skin.swell(-np.float32(0.045) * ramp(pits, 0.0, 0.9) + np.float32(0.02) * seeds)
    colour *= (1 - 0.35 * ramp(pits, 0.1, 0.6))[..., None]
    seed = mix(paint("#e8c35a"), paint("#c98a34"), deep)
    skin.wear(colour + (seed - colour) * seeds[..., None], 0.62 - 0.3 * seeds)
    green = ("#4f8a30", "#6aa83c")
    cap = sepals(rng, 9, 0.76, 0.62, 0.26, green, rise=0.35, curl=0.75)
    crown = sepals(rng, 5, 0.77, 0.40, 0.20, green, rise=0.75, curl=0.5)
    twig = stem(rng, 0.7, 0.42, 0.04, colours=("#6f9a3c", "#7aa040"), bend=0.4)
    return [skin, *cap, *crown, twig]


_RASPBERRY = [
    (0, 0.62), (0.30, 0.72), (0.58, 0.66), (0.76, 0.40), (0.78, 0.05), (0.70, -0.34),
    (0.52, -0.70), (0.28, -0.92), (0, -0.99),
]  # fmt: skip


def raspberry(rng: np.random.Generator, ripe: str, deep: str, gloss: float) -> list[Surface]:
    """Grow a berry of many drupelets: red is a raspberry, black a blackberry."""
    skin = body(rng, _RASPBERRY, vary=0.05, wobble=0.03)
    noise = Noise(rng)
    heights = skin.points[:, 0, 1]
    rows = len(heights)
    bumps = np.zeros(skin.points.shape[:2], np.float32)
    tint = np.zeros_like(bumps)
    for height, angle in spiral(105):
        level = heights[-1] + (heights[4] - heights[-1]) * (height + 1) / 2
        row = int(np.searchsorted(-heights[4:], -level)) + 4
        reach = 0.225 * rng.uniform(0.92, 1.1)
        index, near = skin.stamp(min(row, rows - 1), angle + rng.normal(0, 0.06), reach)
        dome = np.sqrt(np.clip(1 - (1 - near) ** 2, 0, 1))
        tint[index] = np.where(dome > bumps[index], np.float32(rng.uniform()), tint[index])
        bumps[index] = np.maximum(bumps[index], dome)
    skin.swell(np.float32(0.15) * bumps)
    colour = mix(shade_of(rng, deep), shade_of(rng, ripe), 0.25 + 0.75 * tint)
    colour *= (0.28 + 0.72 * ramp(bumps, 0.35, 0.95))[..., None]
    colour = mix(colour, paint("#e8c8c8"), 0.10 * ramp(noise.at(skin.points, 4), 0, 1))
    skin.wear(colour, gloss, 0.4 * (1 - gloss))
    green = ("#5f8f3c", "#8fb060")
    cap = sepals(rng, 5, 0.72, 0.50, 0.24, green, rise=0.4, curl=0.5)
    return [skin, *cap, stem(rng, 0.66, 0.32, 0.035, colours=("#6f9440", "#7a9a48"))]


_BLUEBERRY = [
    (0, 0.66), (0.16, 0.665), (0.26, 0.70), (0.32, 0.80), (0.42, 0.83), (0.66, 0.70),
    (0.94, 0.30), (0.98, -0.06), (0.84, -0.48), (0.54, -0.78), (0.22, -0.88), (0, -0.89),
]  # fmt: skip


def blueberry(rng: np.random.Generator) -> list[Surface]:
    """Grow a blueberry: a dusty blue ball with a crown of five points."""
    skin = body(rng, _BLUEBERRY, vary=0.02, wobble=0.02)
    noise = Noise(rng)
    dust = ramp(noise.cloud(skin.points, 2.2, 4), -0.7, 0.8)
    colour = mix(shade_of(rng, "#26294f"), shade_of(rng, "#6d80b4"), 0.15 + 0.75 * dust)
    colour = mix(colour, paint("#1a1830"), ramp(skin.along, 0.17, 0.10) + 0 * dust)
    skin.wear(colour, 0.30 - 0.2 * dust, 0.25)
    crown = revolve(
        np.array([(0.47, 0.98), (0.38, 0.90), (0.29, 0.82), (0.26, 0.72)], np.float32),
        rows=24, columns=120, poles=False,
    )  # fmt: skip
    points = np.abs(np.cos(2.5 * crown.around + rng.uniform(0, 3))) * (1 - crown.along)
    crown.points[..., 1] -= 0.16 * (1 - points) * (1 - crown.along)
    crown.thin = True
    shade = mix(paint("#7a88b4"), paint("#2c2a4c"), 0 * points + crown.along)
    return [skin, crown.wear(shade, 0.1)]


def grapes(rng: np.random.Generator, skins: tuple[str, str], dust: float) -> list[Surface]:
    """Grow a bunch of grapes, wide above and narrow below, on a woody stem.

    Args:
        rng: source of the individuality.
        skins: two colours between which the berries vary.
        dust: strength of the pale bloom, 0 to 1.
    """
    noise = Noise(rng)
    first, second, bloom = paint(skins[0]), paint(skins[1]), paint("#b9bfd8")
    bunch: list[Surface] = []
    for centre in _cluster(rng):
        berry = ball(centre, 0.255 * rng.uniform(0.92, 1.06), rows=22, tall=1.12)
        part = np.float32(rng.uniform()) + 0.2 * noise.at(berry.points, 3)
        veil = dust * ramp(noise.cloud(berry.points, 5, 2), -0.6, 0.9)
        colour = mix(mix(first, second, np.clip(part, 0, 1)), bloom, veil)
        # Light that goes through the berry: brighter low down on each, darker at its crown.
        colour *= (0.82 + 0.36 * berry.along)[..., None]
        bunch.append(berry.wear(colour, 0.8 - 0.6 * veil))
    twig = stem(rng, 0.55, 0.75, 0.045, colours=("#8a8a44", "#6f5430"), bend=0.2)
    bar = tube([(-0.02, 1.2, -0.22), (0, 1.24, 0), (0.05, 1.2, 0.24)], [0, 0.045, 0.05, 0.045, 0])
    return [*bunch, twig, bar.wear(paint("#6f5430"), 0.15)]


def _cluster(rng: np.random.Generator) -> Floats:
    """Centres of the berries of a bunch, (n, 3) float32, in layers round the stem."""
    centres = []
    layers = [(0.72, 0.34, 5), (0.46, 0.64, 9), (0.12, 0.66, 9), (-0.22, 0.56, 8),
              (-0.55, 0.42, 6), (-0.88, 0.26, 4), (-1.2, 0.06, 1)]  # fmt: skip
    for height, reach, count in layers:
        turn = rng.uniform(0, 2 * np.pi)
        for i in range(count):
            angle = turn + 2 * np.pi * i / count + rng.normal(0, 0.08)
            away = reach * rng.uniform(0.92, 1.08)
            level = height + rng.normal(0, 0.05)
            centres.append((away * np.cos(angle), level, away * np.sin(angle)))
    return np.array(centres, np.float32)


_TOMATO = [
    (0, 0.58), (0.08, 0.60), (0.24, 0.70), (0.50, 0.76), (0.82, 0.58), (1.0, 0.18), (1.0, -0.14),
    (0.84, -0.52), (0.52, -0.74), (0.20, -0.78), (0, -0.77),
]  # fmt: skip


def tomato(rng: np.random.Generator, ripe: str, pale: str) -> list[Surface]:
    """Grow a tomato: squat, shining, with a green star."""
    skin = body(rng, _TOMATO, vary=0.03, wobble=0.03)
    count, noise = int(rng.integers(4, 7)), Noise(rng)
    ribs = np.abs(np.cos(count / 2 * skin.around + rng.uniform(0, 3))) ** 0.5
    skin.swell(np.float32(0.05) * (ribs - 1) * ramp(skin.along, 0.62, 0.1))
    shoulder = ramp(skin.along + 0.08 * noise.cloud(skin.points, 2), 0.30, 0.04)
    colour = mix(shade_of(rng, ripe), shade_of(rng, pale), 0.7 * shoulder)
    colour *= (1 + 0.06 * noise.cloud(skin.points, 2))[..., None]
    navel = ramp(skin.along, 0.975, 0.995) + 0 * shoulder
    skin.wear(mix(colour, paint("#7a4a28"), 0.7 * navel), 0.85)
    star = sepals(rng, 6, 0.63, 0.62, 0.15, ("#3f6f2a", "#5a8f38"), rise=0.42, curl=0.42)
    twig = stem(rng, 0.55, 0.32, 0.05, colours=("#4a7a30", "#5f8a3c"), bend=0.35)
    knob = disc(0.1, rows=6, columns=20).move(to=(0, 0.645, 0)).wear(paint("#3f6f2a"), 0.1)
    return [skin, *star, twig, knob]
