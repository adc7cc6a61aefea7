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

import simplejpeg
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from pomona.images.headers import contradicts_itself, declared_size, ends_early, jpeg_markers
from pomona.images.limits import DecodeLimits, RejectedImage, check_pixels, check_size
from pomona.images.pixels import orientation_of, pixels_of, upright
from pomona.images.sniffing import HEAD_BYTES, camera_raw, sniff
from pomona.schema import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DecodeLimits", "DecodedImage", "RejectedImage", "check_size", "decode"]

_OVERSAMPLING = 2
"""JPEGs are decoded to at least this multiple of the wanted size and then resampled, so that the
scaled decoding cannot be seen in the result."""

# Image.open finds these without importing every plugin that Pillow has.
_PLUGINS = (TiffImagePlugin, WebPImagePlugin)

_APP1 = 0xE1
"""The kind of segment that holds Exif and XMP; a JPEG without any stands upright."""
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_SCAN = 0xDA
_MAX_SCANS = 500
"""A progressive JPEG has about ten; every further one costs a pass over the whole image."""

_TILE_TAGS = (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)


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


def _decode_jpeg(data: bytes, wanted: int, limits: DecodeLimits) -> DecodedImage:
    markers = jpeg_markers(data)
    if markers & _PROGRESSIVE or _SCAN not in markers:
        scans = data.count(bytes([0xFF, _SCAN]))
        if scans > _MAX_SCANS:
            raise RejectedImage(
                Reason.CORRUPT, f"{scans:,} scans; at most {_MAX_SCANS} are decoded"
            )
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return _decode_with_pillow(data, wanted, limits, "JPEG")
    check_pixels(width, height, limits)
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
    if _APP1 in markers:
        orientation = _jpeg_orientation(data, limits)
        pixels = upright(pixels, orientation)
        if orientation >= 5:
            height, width = width, height
    return DecodedImage(pixels, width, height)


def _jpeg_orientation(data: bytes, limits: DecodeLimits) -> int:
    try:
        with _pillow(limits), Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as image:
            return orientation_of(image)
    except Exception:  # noqa: BLE001 - the pixels are there already
        return 1


def _decode_with_pillow(data: bytes, wanted: int, limits: DecodeLimits, name: str) -> DecodedImage:
    formats = ("JPEG", "MPO") if name == "JPEG" else (name,)
    with _pillow(limits):
        try:
            with Image.open(io.BytesIO(data), formats=formats) as image:
                width, height = image.size
                check_pixels(width, height, limits)
                if isinstance(image, TiffImagePlugin.TiffImageFile):
                    _check_tiles(image, limits)
                if name == "JPEG":
                    image.draft(None, (_OVERSAMPLING * wanted, _OVERSAMPLING * wanted))
                image.load()
                if name == "TIFF":
                    width, height = image.size  # Pillow turns TIFF while loading
                    orientation = 1
                else:
                    orientation = orientation_of(image)
                pixels = upright(pixels_of(image, wanted), orientation)
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


_TRUNCATED = ("truncated", "premature end", "unexpected end", "not enough", "ran out of", "eof")
_UNSUPPORTED = ("unsupported", "not supported", "unknown", "not implemented")


def _too_large(error: Exception, data: bytes, name: str, limits: DecodeLimits) -> RejectedImage:
    size = declared_size(data, name)
    if size is not None:
        try:
            check_pixels(*size, limits)
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
    if contradicts_itself(data, name):
        return RejectedImage(Reason.CORRUPT, f"the {name} header contradicts itself")
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
