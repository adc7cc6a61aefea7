"""A decoded image of any pixel type to upright RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pomona.images.limits import RejectedImage
from pomona.schema import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OVERSAMPLING = 4
"""Averaging over blocks leaves at least this multiple of the wanted size: the last row and column
of blocks may be cut short, which twice the size would show."""
_BAND_PIXELS = 1 << 20
"""Pixels of the strips in which a large image is converted, so that it is in memory once only."""
_ORIENTATION_TAG = 0x0112


def pixels_of(image: Image.Image, wanted: int) -> NDArray[np.uint8]:
    """The pixels of a loaded image, averaged over whole blocks where it is larger than needed.

    Args:
        image: of any pixel type.
        wanted: the side in pixels that it will be fitted into.

    Returns:
        uint8 [h, w, 3], RGB; alpha is laid over white, 16 bits are cut to the high byte.

    Raises:
        RejectedImage: 32-bit integers and floats, whose range nothing tells.
    """
    factor = max(image.size) // (_OVERSAMPLING * wanted)
    if factor < 2:
        return np.asarray(_to_rgb(image))
    width, height = image.size
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    step = factor * max(1, _BAND_PIXELS // (width * factor))
    for top in range(0, height, step):
        band = image.crop((0, top, width, min(top + step, height)))
        small = np.asarray(_to_rgb(band).reduce(factor))
        pixels[top // factor : top // factor + len(small)] = small
    return pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any pixel type to RGB: alpha over white, 16 bits to 8 by the high byte.

    Raises:
        RejectedImage: 32-bit integers and floats, whose range nothing tells.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return Image.fromarray(high).convert("RGB")
    if image.mode in ("I", "F"):
        raise RejectedImage(
            Reason.UNSUPPORTED_FORMAT,
            f"pixels are 32-bit {'floats' if image.mode == 'F' else 'integers'}",
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def orientation_of(image: Image.Image) -> int:
    """The orientation tag of Exif, else of XMP (1 to 8); 1 where it is absent or broken."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - whatever a broken Exif block raises, the pixels are sound
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror by the Exif orientation (Exif 2.32, tag 274)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
