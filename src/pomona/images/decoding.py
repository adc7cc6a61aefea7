"""Image bytes to RGB pixels, with every failure given one of the documented reasons.

JPEGs go through libjpeg-turbo, scaled while decoding; what it refuses (CMYK, YCCK, odd markers)
and every other format goes through Pillow. Nothing here knows Spark or the network.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from pomona.images.headers import declared_size, ends_early
from pomona.images.sniffing import HEAD_BYTES, camera_raw, sniff
from pomona.schema import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OVERSAMPLING = 2
"""JPEGs are decoded to at least this multiple of the wanted size and then resampled, so that the
scaled decoding cannot be seen in the result."""

# Image.open finds these without importing every plugin that Pillow has.
_PLUGINS = (TiffImagePlugin, WebPImagePlugin)

_EXIF = b"Exif\0\0"
_EXIF_REACH = 1 << 16
"""Exif stands in one of the first segments, and a segment has at most 64 KiB."""

_ORIENTATION_TAG = 0x0112


class RejectedImage(Exception):  # noqa: N818 - an outcome of decoding, which becomes a row
    """An image that cannot be used.

    Attributes:
        reason: one of the closed list.
        message: one sentence for a person.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class DecodeLimits:
    """What is refused from the header, before memory is taken.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height.
    """

    max_bytes: int = 64 << 20
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class DecodedImage:
    """Pixels, upright.

    Attributes:
        pixels: uint8 [h, w, 3], RGB; for a JPEG larger than needed a scaled-down version.
        width: of the original, upright, in pixels.
        height: of the original, upright, in pixels.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


def decode(data: bytes, *, wanted: int, limits: DecodeLimits, path: str = "") -> DecodedImage:
    """Decode an image to upright RGB.

    Args:
        data: the whole file.
        wanted: the side in pixels that the image will be fitted into; a JPEG whose longer side is
            much larger is scaled while decoding.
        limits: what to refuse.
        path: only its extension is looked at, to name camera raw files.

    Raises:
        RejectedImage: with the reason.
    """
    check_size(len(data), limits)
    name, supported = sniff(data[:HEAD_BYTES])
    if name is None:
        raise RejectedImage(Reason.NOT_AN_IMAGE, _looks_like(data))
    raw = camera_raw(path)
    if not supported or (raw is not None and name == "TIFF"):
        raise RejectedImage(Reason.UNSUPPORTED_FORMAT, f"{raw or name} is not decoded")
    if name == "JPEG":
        return _decode_jpeg(data, wanted, limits)
    return _decode_with_pillow(data, wanted, limits, name)


def check_size(size: int, limits: DecodeLimits) -> None:
    """Refuse by the number of bytes, before they are read.

    Raises:
        RejectedImage: empty or too many bytes.
    """
    if size == 0:
        raise RejectedImage(Reason.EMPTY, "the file has no bytes")
    if size > limits.max_bytes:
        raise RejectedImage(
            Reason.TOO_MANY_BYTES, f"{size:,} bytes; at most {limits.max_bytes:,} are read"
        )


def _check_pixels(width: int, height: int, limits: DecodeLimits) -> None:
    if width <= 0 or height <= 0:
        raise RejectedImage(Reason.ZERO_SIZED, f"the header says {width} x {height} pixels")
    if width * height > limits.max_pixels:
        raise RejectedImage(
            Reason.TOO_MANY_PIXELS,
            f"{width:,} x {height:,} pixels; at most {limits.max_pixels:,} are decoded",
        )


def _decode_jpeg(data: bytes, wanted: int, limits: DecodeLimits) -> DecodedImage:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return _decode_with_pillow(data, wanted, limits, "JPEG")
    _check_pixels(width, height, limits)
    if space in ("CMYK", "YCCK"):
        return _decode_with_pillow(data, wanted, limits, "JPEG")
    # Both sides are scaled by one factor: ask for what the longer side needs.
    scale = min(1.0, _OVERSAMPLING * wanted / max(height, width))
    try:
        pixels = simplejpeg.decode_jpeg(
            data,
            "RGB",
            min_height=max(1, int(height * scale)),
            min_width=max(1, int(width * scale)),
        )
    except ValueError:
        return _decode_with_pillow(data, wanted, limits, "JPEG")
    if data.find(_EXIF, 0, _EXIF_REACH) >= 0:
        orientation = _exif_orientation(data)
        pixels = _upright(pixels, orientation)
        if orientation >= 5:
            height, width = width, height
    return DecodedImage(pixels, width, height)


def _exif_orientation(data: bytes) -> int:
    """The orientation tag (1 to 8), 1 where the Exif block is absent or broken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as image:
                value = image.getexif().get(_ORIENTATION_TAG, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, Image.DecompressionBombError):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror by the Exif orientation (Exif 2.32, tag 274)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _decode_with_pillow(data: bytes, wanted: int, limits: DecodeLimits, name: str) -> DecodedImage:
    formats = ("JPEG", "MPO") if name == "JPEG" else (name,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=formats) as image:
                _check_pixels(*image.size, limits)
                width, height = image.size
                if name == "JPEG":
                    image.draft(None, (_OVERSAMPLING * wanted, _OVERSAMPLING * wanted))
                image.load()
                if name == "TIFF":
                    width, height = image.size  # Pillow turns TIFF while loading
                if image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8):
                    width, height = height, width
                pixels = np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
        except RejectedImage:
            raise
        except Image.DecompressionBombError as error:
            raise RejectedImage(Reason.TOO_MANY_PIXELS, _sentence(error)) from error
        except MemoryError as error:
            raise RejectedImage(Reason.TOO_MANY_PIXELS, "not enough memory") from error
        except Exception as error:
            raise _explain(error, data, name) from error
    return DecodedImage(pixels, width, height)


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


_TRUNCATED = ("truncated", "premature end", "unexpected end", "not enough", "ran out of", "eof")


def _explain(error: Exception, data: bytes, name: str) -> RejectedImage:
    """Sort a decoder's error into truncated, corrupt, zero-sized or unsupported."""
    text = str(error).lower()
    size = declared_size(data, name)
    if size is not None and 0 in size:
        return RejectedImage(Reason.ZERO_SIZED, f"the header says {size[0]} x {size[1]} pixels")
    if any(word in text for word in _TRUNCATED) or isinstance(error, EOFError):
        return RejectedImage(Reason.TRUNCATED, _sentence(error))
    if ends_early(data, name):
        return RejectedImage(Reason.TRUNCATED, "the data ends before the image does")
    if "unsupported" in text or "unknown" in text or "not implemented" in text:
        return RejectedImage(Reason.UNSUPPORTED_FORMAT, _sentence(error))
    if isinstance(error, UnidentifiedImageError):
        return RejectedImage(Reason.CORRUPT, f"the {name} header contradicts itself")
    return RejectedImage(Reason.CORRUPT, _sentence(error))


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _looks_like(data: bytes) -> str:
    head = data[:256].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "this is a web page"
    if data[:4] in (b"PK\3\4", b"PK\5\6"):
        return "this is a zip archive"
    if data[:2] == b"\x1f\x8b":
        return "this is gzip data"
    try:
        data[:256].decode("utf-8")
    except UnicodeDecodeError:
        return "no image format begins like this"
    return "this is text" if b"\0" not in data[:256] else "no image format begins like this"
