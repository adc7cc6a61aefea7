"""Fruit from warm countries: bananas, pineapples, kiwis, avocados, melons and their like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.noise import Noise, ramp
from pomona.samples.parts import body, shade_of, speckle, stem
from pomona.samples.shapes import leaf, revolve, smooth, tube
from pomona.samples.surface import mix, paint, then, turn_about

if TYPE_CHECKING:
    from pomona.samples.noise import Floats
    from pomona.samples.surface import Surface


def banana(rng: np.random.Generator) -> list[Surface]:
    """Grow a banana: bent, five-sided, with a stalk and a dark tip."""
    bend = rng.uniform(1.0, 1.3)
    arc = np.linspace(-1.0, 1.0, 9) * bend
    radius = 1.4 / bend
    path = [(0.0, radius * np.sin(a), radius * (np.cos(a) - np.cos(0.5))) for a in arc[::-1]]
    tip = path[0]
    path.insert(0, (0.0, tip[1] + 0.20, tip[2] - 0.14))
    widths = [0.0, 0.10, 0.09, 0.10, 0.14, 0.23, 0.30, 0.335, 0.35, 0.355, 0.355, 0.355, 0.35,
              0.34, 0.32, 0.28, 0.22, 0.15, 0.095, 0.08, 0.07, 0.0]  # fmt: skip
    skin = tube(np.array(path, np.float32), widths, rows=170, columns=150)
    noise, turn = Noise(rng), np.float32(rng.uniform(0, 1.2))
    edge: Floats = np.abs(np.cos(2.5 * skin.around + turn)) ** 3
    full = ramp(skin.along, 0.10, 0.3) * ramp(skin.along, 1.0, 0.85)
    skin.swell(np.float32(0.035) * (edge - 0.5) * full)
    grain = noise.cloud(skin.points, (3, 1.2, 3))
    colour = mix(shade_of(rng, "#f7d43a"), shade_of(rng, "#e3b024"), ramp(grain, -0.6, 1.0))
    colour = mix(colour, paint("#c99a22"), 0.35 * ramp(edge, 0.75, 1) * full)
    green: Floats = ramp(skin.along + 0.03 * grain, 0.24, 0.06) + 0.6 * ramp(skin.along, 0.88, 0.96)
    colour = mix(colour, paint("#a9ac3a"), 0.7 * np.clip(green, 0, 1))
    brown: Floats = ramp(noise.cloud(skin.points, (9, 3, 9)), 0.75, 1.1) * full
    colour = mix(colour, paint("#7a5522"), 0.75 * brown)
    ends = np.maximum(ramp(skin.along, 0.022, 0.012), ramp(skin.along + 0.006 * grain, 0.955, 0.97))
    skin.wear(mix(colour, paint("#3a2a18"), ends), 0.30)
    return [skin]


_PINEAPPLE = [
    (0, 0.90), (0.26, 0.90), (0.50, 0.80), (0.66, 0.52), (0.72, 0.10), (0.70, -0.36),
    (0.60, -0.76), (0.38, -0.98), (0.14, -1.02), (0, -1.02),
]  # fmt: skip


def pineapple(rng: np.random.Generator) -> list[Surface]:
    """Grow a pineapple: eyes on crossing spirals, and a crown of stiff leaves."""
    skin = body(rng, _PINEAPPLE, vary=0.03, wobble=0.02)
    noise, turn = Noise(rng), rng.uniform(0, 6)
    around, level = skin.around + turn, skin.along * 9.0
    first = (8 * around / (2 * np.pi) + level) % 1 - 0.5
    second = (8 * around / (2 * np.pi) - level) % 1 - 0.5
    rim = np.maximum(np.abs(first), np.abs(second)) * 2
    middle = np.sqrt(first**2 + second**2) * 2
    fade = skin.belly**0.5
    skin.swell(np.float32(0.11) * (ramp(rim, 1.0, 0.45) + 0.35 * ramp(middle, 0.35, 0.1)) * fade)
    gold = ramp(noise.cloud(skin.points, 1.2) + 2.2 * (skin.along - 0.4), -0.9, 0.9)
    colour = mix(shade_of(rng, "#b8862c"), shade_of(rng, "#e0a22e"), gold)
    colour = mix(colour, paint("#6f7a34"), 0.55 * ramp(rim, 0.55, 0.9) * (1 - 0.5 * gold))
    colour = mix(colour, paint("#4a3418"), 0.85 * ramp(rim, 0.80, 0.97))
    colour = mix(colour, paint("#5a3a1a"), 0.75 * ramp(middle, 0.30, 0.12))
    skin.wear(colour, 0.25)
    return [skin, *_crown(rng, 0.84)]


def _crown(rng: np.random.Generator, height: float) -> list[Surface]:
    blades = []
    for i in range(34):
        upright = i / 33
        blade = leaf(
            0.62 + 0.42 * upright - 0.25 * max(upright - 0.7, 0) + rng.normal(0, 0.04),
            0.17 - 0.05 * upright,
            curl=0.42 * (1 - 0.6 * upright) * rng.uniform(0.5, 1.3),
            fold=0.7,
            point=0.55,
            rows=18,
            columns=7,
        )
        tone = mix(shade_of(rng, "#54763c", 0.12), paint("#9fb57a"), blade.along + 0 * blade.around)
        lift = turn_about(2, 26 + 58 * upright + rng.normal(0, 4))
        angle = 137.5 * i + rng.normal(0, 6)
        base = (0, height + 0.10 * upright, 0)
        blades.append(blade.wear(tone, 0.25).move(turn=then(lift, turn_about(1, angle)), to=base))
    return blades


def watermelon(rng: np.random.Generator) -> list[Surface]:
    """Grow a watermelon: ragged dark stripes from stem to blossom."""
    t = np.linspace(0, np.pi, 13)
    outline = [(float(0.98 * np.sin(a)), float(0.92 * np.cos(a))) for a in t]
    skin = body(rng, outline, vary=0.04, wobble=0.03)
    noise, count = Noise(rng), int(rng.integers(9, 12))
    ragged = 0.22 * noise.cloud(skin.points, (5, 7, 5)) + 0.10 * noise.at(skin.points, 2)
    wave = np.cos(count * (skin.around + ragged * skin.belly * 0.8))
    veins = ramp(noise.cloud(skin.points, (7, 5, 7)), 0.35, 0.8)
    colour = mix(shade_of(rng, "#9fc36a"), paint("#6f9f48"), 0.8 * veins)
    stripe = ramp(wave + 0.35 * noise.at(skin.points, 9), -0.05, 0.35)
    skin.wear(mix(colour, shade_of(rng, "#1f5526"), stripe), 0.45)
    return [skin, stem(rng, 0.86, 0.24, 0.05, colours=("#7a8a44", "#8a7a4a"), bend=0.8)]


_POMEGRANATE = [
    (0, 0.74), (0.14, 0.76), (0.24, 0.82), (0.44, 0.78), (0.74, 0.58), (0.95, 0.20), (0.97, -0.16),
    (0.82, -0.56), (0.52, -0.82), (0.22, -0.90), (0, -0.90),
]  # fmt: skip


def pomegranate(rng: np.random.Generator) -> list[Surface]:
    """Grow a pomegranate: leathery and red, with the crown of its flower."""
    skin = body(rng, _POMEGRANATE, wobble=0.06)
    noise = Noise(rng)
    facets = np.abs(np.cos(3 * skin.around + rng.uniform(0, 3)))
    skin.swell(np.float32(0.03) * (facets - 0.5) * skin.belly)
    field = noise.cloud(skin.points, 1.6) + 0.3 * noise.at(skin.points, 9)
    colour = mix(shade_of(rng, "#a81c30"), shade_of(rng, "#d0483c"), ramp(field, -0.3, 0.9))
    colour = mix(colour, paint("#dba45e"), 0.6 * ramp(field + 1.2 * skin.along, 1.3, 2.0))
    skin.wear(colour, 0.45)
    speckle(skin, rng, 70, 0.03, "#7a3a26", 0.45)
    crown = revolve(
        np.array([(0.42, 1.24), (0.30, 1.08), (0.24, 0.92), (0.27, 0.76)], np.float32),
        rows=40, columns=150, poles=False,
    )  # fmt: skip
    tips = np.abs(np.cos(3 * crown.around + rng.uniform(0, 3))) ** 0.8
    crown.points[..., 1] -= 0.26 * (1 - tips) * (1 - crown.along)
    crown.thin = True
    tone = mix(paint("#c9683c"), paint("#a8283a"), crown.along + 0.2 * noise.at(crown.points, 4))
    return [skin, crown.wear(tone.clip(0, 1), 0.25)]


def carambola(rng: np.random.Generator) -> list[Surface]:
    """Grow a carambola, or star fruit: five sharp ribs."""
    profile = smooth(
        [(0, 1.2), (0.22, 1.14), (0.55, 0.86), (0.80, 0.40), (0.86, 0), (0.78, -0.42),
         (0.52, -0.88), (0.22, -1.14), (0, -1.2)], 150, poles=True,
    )  # fmt: skip
    skin = revolve(profile, columns=360)
    noise = Noise(rng)
    rib = np.abs(np.cos(2.5 * skin.around + rng.uniform(0, 3)))
    star = 0.42 + 0.58 * rib ** rng.uniform(2.2, 2.8)
    skin.points[..., [0, 2]] *= star[..., None]
    skin.points += 0.02 * noise.at(skin.points, 1.5)[..., None]
    gold = ramp(noise.cloud(skin.points, 1.5), -0.6, 0.8)
    colour = mix(shade_of(rng, "#dcc83c"), shade_of(rng, "#eab02a"), gold)
    colour = mix(colour, paint("#a8b83c"), 0.65 * ramp(rib, 0.80, 0.95))
    brown: Floats = ramp(rib, 0.975, 0.995) * ramp(noise.at(skin.points, 5), -0.4, 0.3)
    colour = mix(colour, paint("#6a4a1c"), 0.8 * brown)
    skin.wear(mix(colour, paint("#6a5a2a"), ramp(skin.along, 0.04, 0.01) + 0 * rib), 0.55)
    return [skin, stem(rng, 1.14, 0.2, 0.035)]
