"""Image bytes to RGB pixels, with every failure given one of the documented reasons.

JPEGs go through libjpeg-turbo, scaled while decoding; what it refuses (CMYK, YCCK, odd markers)
and every other format goes through Pillow. Nothing here knows Spark or the network.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from pomona.images.headers import declared_size, ends_early
from pomona.images.sniffing import HEAD_BYTES, camera_raw, sniff
from pomona.schema import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_OVERSAMPLING = 2
"""JPEGs are decoded to at least this multiple of the wanted size and then resampled, so that the
scaled decoding cannot be seen in the result."""
_BLOCK_OVERSAMPLING = 4
"""The same for averaging over blocks, whose last row and column may be cut short."""

_BAND_PIXELS = 1 << 20
"""Pixels of the strips in which a large image is converted, so that it is in memory once only."""

# Image.open finds these without importing every plugin that Pillow has.
_PLUGINS = (TiffImagePlugin, WebPImagePlugin)

_START_OF_SCAN = b"\xff\xda"
_MAX_SCANS = 500
"""A progressive JPEG has about ten; every further one costs a pass over the whole image."""

_TURNED_MARKS = (b"Exif\0\0", b"tiff:Orientation")
"""A JPEG without either of these, of Exif and of XMP, stands upright."""

_ORIENTATION_TAG = 0x0112
_TILE_TAGS = (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)


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
        pixels: uint8 [h, w, 3], RGB; of an image larger than needed a scaled-down version.
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
        wanted: the side in pixels that the image will be fitted into; an image whose longer side
            is much larger is scaled down, to no less than twice this.
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
    if (scans := data.count(_START_OF_SCAN)) > _MAX_SCANS:
        raise RejectedImage(Reason.CORRUPT, f"{scans:,} scans; at most {_MAX_SCANS} are decoded")
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
    if any(mark in data for mark in _TURNED_MARKS):
        orientation = _jpeg_orientation(data, limits)
        pixels = _upright(pixels, orientation)
        if orientation >= 5:
            height, width = width, height
    return DecodedImage(pixels, width, height)


def _jpeg_orientation(data: bytes, limits: DecodeLimits) -> int:
    try:
        with _pillow(limits), Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as image:
            return _orientation(image)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        return 1


def _orientation(image: Image.Image) -> int:
    """The orientation tag of Exif, else of XMP (1 to 8); 1 where it is absent or broken."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - whatever a broken Exif block raises, the pixels are sound
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
    with _pillow(limits):
        try:
            with Image.open(io.BytesIO(data), formats=formats) as image:
                width, height = image.size
                _check_pixels(width, height, limits)
                if isinstance(image, TiffImagePlugin.TiffImageFile):
                    _check_tiles(image, limits)
                if name == "JPEG":
                    image.draft(None, (_OVERSAMPLING * wanted, _OVERSAMPLING * wanted))
                image.load()
                if name == "TIFF":
                    width, height = image.size  # Pillow turns TIFF while loading
                    orientation = 1
                else:
                    orientation = _orientation(image)
                pixels = _upright(_pixels(image, wanted), orientation)
        except RejectedImage:
            raise
        except (Image.DecompressionBombError, MemoryError) as error:
            raise _too_large(error, data, name, limits) from error
        except Exception as error:
            raise _explain(error, data, name) from error
    if orientation >= 5:
        height, width = width, height
    return DecodedImage(pixels, width, height)


@contextmanager
def _pillow(limits: DecodeLimits) -> Iterator[None]:
    """Pillow without its warnings, and with our limit on pixels wherever it has one of its own.

    Some formats take memory for the whole canvas when they are opened (WebP), or know their size
    only while decoding.
    """
    before = Image.MAX_IMAGE_PIXELS
    # Pillow warns above this and raises above its double.
    Image.MAX_IMAGE_PIXELS = limits.max_pixels / 2  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _check_tiles(image: TiffImagePlugin.TiffImageFile, limits: DecodeLimits) -> None:
    """A tile of a TIFF may be larger than the image, and is decoded whole."""
    width, height = (image.tag_v2.get(tag, 1) for tag in _TILE_TAGS)
    if isinstance(width, int) and isinstance(height, int) and width * height > limits.max_pixels:
        raise RejectedImage(
            Reason.TOO_MANY_PIXELS,
            f"tiles of {width:,} x {height:,} pixels; at most {limits.max_pixels:,} are decoded",
        )


def _pixels(image: Image.Image, wanted: int) -> NDArray[np.uint8]:
    """RGB, uint8 [h, w, 3]; averaged over whole blocks where the image is larger than needed."""
    factor = max(image.size) // (_BLOCK_OVERSAMPLING * wanted)
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


_TRUNCATED = ("truncated", "premature end", "unexpected end", "not enough", "ran out of", "eof")
_UNSUPPORTED = ("unsupported", "not supported", "unknown", "not implemented")


def _too_large(error: Exception, data: bytes, name: str, limits: DecodeLimits) -> RejectedImage:
    size = declared_size(data, name)
    if size is not None:
        try:
            _check_pixels(*size, limits)
        except RejectedImage as rejected:
            return rejected
    if isinstance(error, MemoryError):
        return RejectedImage(Reason.TOO_MANY_PIXELS, "not enough memory to decode it")
    return RejectedImage(
        Reason.TOO_MANY_PIXELS, f"more than the {limits.max_pixels:,} pixels that are decoded"
    )


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
    if any(word in text for word in _UNSUPPORTED):
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
