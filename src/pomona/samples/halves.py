"""Fruit that is shown whole and cut in half: kiwis and avocados."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomona.samples.noise import Noise, ramp
from pomona.samples.parts import body, shade_of, speckle, stem
from pomona.samples.shapes import COLUMNS, ball, disc, revolve
from pomona.samples.surface import Surface, mix, paint, turn_about

if TYPE_CHECKING:
    from pomona.samples.noise import Floats


_KIWI = [
    (0, 1.00), (0.10, 1.01), (0.30, 0.98), (0.58, 0.78), (0.77, 0.40), (0.82, 0.0),
    (0.77, -0.40), (0.58, -0.78), (0.30, -0.98), (0.10, -1.03), (0, -1.04),
]  # fmt: skip


def kiwi(rng: np.random.Generator) -> list[Surface]:
    """Grow a whole kiwi: brown, hairy, with a button at each end."""
    skin = _hairy(rng, body(rng, _KIWI, wobble=0.05))
    button = ball((0, 0.98, 0), 0.12, rows=12, tall=0.6).wear(paint("#3f3018"), 0.05)
    return [skin, button]


def kiwi_half(rng: np.random.Generator) -> list[Surface]:
    """Grow half a kiwi: green flesh with rays and black seeds round a white heart."""
    outline = [(0.86, 0.0), (0.84, -0.28), (0.66, -0.70), (0.36, -0.92), (0.10, -1.0), (0, -1.01)]
    bowl = _hairy(rng, revolve(np.array(outline, np.float32), poles=False))
    face = disc(0.86)
    noise, way = Noise(rng), rng.uniform(0, 6)
    out = face.along + 0 * face.around
    rays = 0.5 + 0.5 * np.cos(34 * face.around + 5 * noise.at(face.points, 2) + way)
    flesh = mix(shade_of(rng, "#7fb52c"), paint("#a9d058"), 0.8 * rays * ramp(out, 0.95, 0.3))
    flesh = mix(flesh, paint("#5f9424"), 0.7 * ramp(out, 0.72, 0.95))
    heart = 0.27 + 0.05 * noise.at(face.points, 3)
    flesh = mix(flesh, paint("#eef0c8"), ramp(out - heart, 0.06, -0.06))
    flesh = mix(flesh, paint("#8a6a3a"), ramp(out, 0.965, 0.985))
    face.wear(flesh, 0.5)
    for i in range(44):
        angle = 2 * np.pi * i / 44 + rng.normal(0, 0.03)
        row = int(len(face.points) * (0.40 + 0.13 * (i % 2) + rng.normal(0, 0.02)))
        index, near = face.stamp(row, angle, 0.05)
        face.colour[index] = mix(face.colour[index], paint("#1c140c"), ramp(near, 0.1, 0.4))
    # The cut is turned to the camera, not to the sky.
    stand = turn_about(0, 90)
    for part in (bowl, face):
        part.move(turn=stand, to=(0, 0, 0.3))
    return [bowl, face]


def _hairy(rng: np.random.Generator, skin: Surface) -> Surface:
    noise = Noise(rng)
    hair = noise.cloud(skin.points, (24, 7, 24), 2)
    skin.swell(np.float32(0.008) * hair * skin.belly)
    colour = mix(shade_of(rng, "#7a5a32"), shade_of(rng, "#96773f"), ramp(hair, -0.9, 0.9))
    colour *= (1 + 0.10 * noise.cloud(skin.points, 2))[..., None]
    return skin.wear(colour, 0.08, 0.7)


_AVOCADO = [
    (0, 1.22), (0.12, 1.21), (0.28, 1.10), (0.42, 0.82), (0.58, 0.42), (0.76, -0.02),
    (0.82, -0.40), (0.70, -0.78), (0.44, -1.0), (0.18, -1.07), (0, -1.08),
]  # fmt: skip


def avocado(rng: np.random.Generator) -> list[Surface]:
    """Grow a whole avocado: a dark green, pebbled pear without a waist."""
    skin = _pebbled(rng, body(rng, _AVOCADO))
    return [skin, stem(rng, 1.18, 0.10, 0.07, colours=("#8a7a44", "#6a5a34"), bend=0.1)]


def avocado_half(rng: np.random.Generator) -> list[Surface]:
    """Grow half an avocado with its stone, the cut towards the camera."""
    back = body(rng, _AVOCADO, wobble=0.0)
    half = COLUMNS // 2
    edge = np.array(back.points[:, [0, half]])
    _pebbled(rng, back)
    back.points = back.points[:, half:].copy()
    back.points[:, [0, -1]] = edge[:, ::-1]
    for name in ("colour", "gloss", "fuzz"):
        setattr(back, name, getattr(back, name)[:, half:])
    back.ring = False
    back.around = back.around[:, half:]
    across = np.linspace(0, 1, 180, dtype=np.float32)[None, :, None]
    points = edge[:, :1] + (edge[:, 1:] - edge[:, :1]) * across
    face = Surface(points.astype(np.float32), back.along, across[..., 0] * 2 - 1, ring=False)
    noise = Noise(rng)
    rim = _to_rim(face)
    flesh = mix(shade_of(rng, "#e9df8c"), shade_of(rng, "#b9cc5c"), ramp(rim, 0.30, 0.08))
    flesh = mix(flesh, paint("#6f9a34"), ramp(rim, 0.10, 0.03))
    flesh = mix(flesh, paint("#2c3a1c"), ramp(rim, 0.035, 0.015))
    flesh *= (1 + 0.04 * noise.cloud(face.points, 3))[..., None]
    face.wear(flesh, 0.25)
    stone = ball((0, -0.36, 0.02), rng.uniform(0.36, 0.42), rows=70, tall=1.08)
    grain = noise.cloud(stone.points, (4, 2, 4))
    brown = mix(shade_of(rng, "#7a4420"), paint("#a8693a"), ramp(grain, -0.8, 0.9))
    return [back, face, stone.wear(brown, 0.55)]


def _to_rim(face: Surface) -> Floats:
    """Give the distance of each point of a flat face in the x-y plane from its edge."""
    side = np.linalg.norm(face.points[:, -1] - face.points[:, 0], axis=-1)[:, None] / 2
    inward = side * (1 - np.abs(face.around))
    ends = 1.15 * np.minimum(face.along, 1 - face.along) * 2.6 + 0 * inward
    rim: Floats = np.minimum(inward, np.where(side < 0.5, ends, inward))
    return rim


def _pebbled(rng: np.random.Generator, skin: Surface) -> Surface:
    noise = Noise(rng)
    knobs = noise.cloud(skin.points, 13, 2)
    skin.swell(np.float32(0.013) * knobs * skin.belly)
    colour = mix(shade_of(rng, "#26351a"), shade_of(rng, "#46602a"), ramp(knobs, -0.5, 1.0))
    skin.wear(mix(colour, paint("#2a2420"), 0.5 * ramp(noise.at(skin.points, 1.3), 0, 1)), 0.5)
    speckle(skin, rng, 90, 0.02, "#8a9a4a", 0.4)
    return skin
