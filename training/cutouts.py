"""The filmed fruits cut out of their white."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data import Pixels


def cutouts(images: list[Pixels]) -> list[Pixels]:
    """RGBA copies, white made transparent, the bright rim with it."""
    stack = np.stack(images)
    cover = np.concatenate([covers(part) for part in np.array_split(stack, 32)])
    alpha = np.clip((cover.astype(np.int16) - 96) * 8 // 5, 0, 255).astype(np.uint8)
    return list(np.concatenate([stack, alpha[..., None]], axis=3))


def covers(images: Pixels) -> Pixels:
    """How much of each pixel is fruit rather than white background: uint8 [n, h, w], 0 to 255.

    A bright spot inside the fruit counts as fruit: a pixel is background only if it can be
    reached from an edge of the picture, straight along its row or column, without meeting fruit.
    """
    red, green, blue = (images[..., channel] for channel in range(3))
    darkness = 255 - np.minimum(np.minimum(red, green), blue).astype(np.int16)
    cover = np.clip((darkness - 6) * 4, 0, 255).astype(np.uint8)
    return np.minimum.reduce([_swept(cover, axis, step) for axis in (1, 2) for step in (1, -1)])


def _swept(cover: Pixels, axis: int, step: int) -> NDArray[np.uint8]:
    """Running maximum along an axis, from its start (step 1) or from its end (step -1)."""
    way = (slice(None),) * axis + (slice(None, None, step),)
    swept: Pixels = np.maximum.accumulate(cover[way], axis=axis)[way]
    return swept
