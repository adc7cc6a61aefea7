"""Pixels of any shape to the square that a network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

PADDING = 255
"""The value of the bars beside an image that is not square: white, as the studio background."""


def fit_square(pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Scale an image so that its longer side fills a square, and centre it there.

    The aspect is kept and the rest is white. Scaling is Pillow's bilinear filter, which averages
    over the whole footprint when it shrinks (antialiasing) and interpolates when it enlarges. It
    is asked for one direction at a time, width first, since each pass rounds to whole numbers:
    left to itself, Pillow begins with the other one in tall images, and the exported recogniser
    would then differ.

    Args:
        pixels: uint8 [h, w, 3].
        out: uint8 [size, size, 3], written in place.
    """
    size = out.shape[0]
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        out[:] = pixels
        return
    scale = size / max(height, width)
    new_height = min(size, max(1, round(height * scale)))
    new_width = min(size, max(1, round(width * scale)))
    if (new_height, new_width) != (height, width):
        image = Image.fromarray(pixels)
        for side in ((new_width, height), (new_width, new_height)):
            if image.size != side:
                image = image.resize(side, Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    if (new_height, new_width) != (size, size):
        out[:] = PADDING
    out[top : top + new_height, left : left + new_width] = pixels
