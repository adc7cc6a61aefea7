"""Bytes of broken image files, one function a kind of fault; nothing here touches a disk.

Every function takes a sound picture (100 x 100 RGB) and a random generator, and gives bytes.
The tables say which extension each goes under: by its own name, or by one that lies.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[Image.Image, np.random.Generator], bytes]
    Variants = tuple[tuple[str, str, Maker], ...]
    """Name, extension and maker of each variant of a fault."""


def encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    """Write ``picture`` as a whole, sound file of the Pillow format ``form``."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _cut(form: str, **options: Any) -> Maker:
    """Write files that stop somewhere in the middle half of their data."""

    def make(picture: Image.Image, rng: np.random.Generator) -> bytes:
        whole = encode(picture, form, **options)
        return whole[: int(len(whole) * rng.uniform(0.35, 0.75))]

    return make


def _jpeg_head(picture: Image.Image, rng: np.random.Generator) -> bytes:
    return encode(picture, "JPEG", quality=90)[: int(rng.integers(20, 201))]


TRUNCATED: Variants = (
    ("jpeg", "jpg", _cut("JPEG", quality=90)),
    ("jpeg_head", "jpg", _jpeg_head),
    ("jpeg_progressive", "jpeg", _cut("JPEG", quality=90, progressive=True)),
    ("png", "png", _cut("PNG")),
    ("webp", "webp", _cut("WEBP", quality=90)),
    ("gif", "gif", _cut("GIF")),
    ("bmp", "bmp", _cut("BMP")),
    ("tiff", "tiff", _cut("TIFF")),
)


def _text(_: Image.Image, rng: np.random.Generator) -> bytes:
    return b"Picked on day %d, to be photographed.\n" % rng.integers(1, 365)


def _web_page(_: Image.Image, rng: np.random.Generator) -> bytes:
    number = int(rng.choice([403, 404, 429, 502, 503]))
    return f"<!DOCTYPE html>\n<html><body><h1>Error {number}</h1></body></html>\n".encode()


def _noise(_: Image.Image, rng: np.random.Generator) -> bytes:
    # The first byte begins no known signature, which chance might otherwise write.
    return b"\x9d" + rng.bytes(int(rng.integers(500, 5000)))


def _archive(picture: Image.Image, rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # A fixed date, or the same seed would give other bytes tomorrow.
        member = zipfile.ZipInfo(f"fruit-{rng.integers(1000)}.jpg", (2000, 1, 1, 0, 0, 0))
        archive.writestr(member, encode(picture, "JPEG"))
    return buffer.getvalue()


def _json(_: Image.Image, rng: np.random.Generator) -> bytes:
    return json.dumps({"error": "not found", "request": int(rng.integers(10**9))}).encode()


NOT_AN_IMAGE: Variants = (
    ("text", "jpg", _text),
    ("web_page", "jpg", _web_page),
    ("random", "jpeg", _noise),
    ("zip", "png", _archive),
    ("json", "png", _json),
)


def _head(start: bytes) -> Maker:
    """Write a signature that is real, and after it bytes that no one is meant to read."""
    return lambda _, rng: start + rng.bytes(int(rng.integers(200, 2000)))


def _ftyp(brand: bytes) -> bytes:
    """Write the box that opens an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    content = brand + struct.pack(">I", 0) + b"mif1" + brand
    return struct.pack(">I", 8 + len(content)) + b"ftyp" + content


def _drawing(_: Image.Image, rng: np.random.Generator) -> bytes:
    return (
        '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100">'
        f'<circle cx="50" cy="50" r="{rng.integers(20, 50)}" fill="tomato"/></svg>\n'
    ).encode()


def _float_tiff(picture: Image.Image, _: np.random.Generator) -> bytes:
    grey = np.asarray(picture.convert("L"), dtype=np.float32) / 255
    return encode(Image.fromarray(grey), "TIFF")


_PSD = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 100, 100, 8, 3)
_JP2 = bytes.fromhex("0000000c6a5020200d0a870a") + struct.pack(">I", 20) + b"ftypjp2 "
_PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj << /Type /Catalog >> endobj\n"

UNSUPPORTED_FORMAT: Variants = (
    ("heic", "heic", _head(_ftyp(b"heic"))),
    ("float_tiff", "tiff", _float_tiff),
    ("heic_renamed", "jpg", _head(_ftyp(b"heic"))),
    ("avif", "jpg", _head(_ftyp(b"avif"))),
    ("psd", "png", _head(_PSD)),
    ("svg", "png", _drawing),
    ("jpeg2000", "jpg", _head(_JP2)),
    ("ico", "png", lambda picture, _: encode(picture, "ICO", sizes=[(64, 64)])),
    ("pdf", "jpg", _head(_PDF)),
)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Write one chunk of a PNG file with its checksum (PNG specification, 5.3)."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _png(width: int, height: int, data: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)


def _png_garbage(picture: Image.Image, rng: np.random.Generator) -> bytes:
    """Frame a stream that zlib must refuse: deflate has no block type 3 (RFC 1951)."""
    return _png(*picture.size, b"\x78\x9c\x07" + rng.bytes(int(rng.integers(500, 3000))))


def _png_checksum(picture: Image.Image, rng: np.random.Generator) -> bytes:
    """Overwrite pixels, as in transit: neither the stream nor its checksum holds any more."""
    whole = bytearray(encode(picture, "PNG"))
    start = whole.index(b"IDAT") + 4
    whole[start : start + 2] = b"\xff\xff"
    at = start + 2 + int(rng.integers(0, 200))
    whole[at : at + 64] = rng.bytes(64)
    return bytes(whole)


def _segment(jpeg: bytes, marker: int) -> int:
    """Find where the content of a JPEG segment begins: after its marker and length (T.81, B.1)."""
    at = 2
    while jpeg[at + 1] != marker:
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    return at + 4


_SOF, _DHT, _DQT, _SOS = 0xC0, 0xC4, 0xDB, 0xDA


def _jpeg_garbage(marker: int, offset: int, content: bytes) -> Maker:
    """Write a JPEG with impossible values in one segment, its frame and its end intact."""

    def make(picture: Image.Image, rng: np.random.Generator) -> bytes:
        jpeg = bytearray(encode(picture, "JPEG", quality=int(rng.integers(60, 96))))
        at = _segment(bytes(jpeg), marker) + offset
        jpeg[at : at + len(content)] = content
        return bytes(jpeg)

    return make


def _bmp(width: int, height: int, *, header: int = 40, depth: int = 24, rows: int = 100) -> bytes:
    data = bytes(300 * rows)
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, depth, 0, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + info + data


def _webp_garbage(picture: Image.Image, rng: np.random.Generator) -> bytes:
    whole = bytearray(encode(picture, "WEBP", quality=90))
    at = whole.index(b"VP8 ") + 8
    # Bytes 3 to 5 of a key frame are a fixed start code (RFC 6386, 9.1).
    whole[at : at + 40] = b"\x00\x00\x00\xde\xad\xbe" + rng.bytes(34)
    return bytes(whole)


CORRUPT: Variants = (
    ("png_stream", "png", _png_garbage),
    ("jpeg_huffman", "jpg", _jpeg_garbage(_DHT, 1, b"\xff" * 16)),
    ("bmp_header", "bmp", lambda _, rng: _bmp(100, 100, header=int(rng.integers(5, 11)))),
    ("png_checksum", "png", _png_checksum),
    ("jpeg_quantiser", "jpg", _jpeg_garbage(_DQT, 0, b"\x0f")),
    ("jpeg_sampling", "jpg", _jpeg_garbage(_SOF, 7, b"\xff")),
    ("jpeg_scan", "jpg", _jpeg_garbage(_SOS, 2, b"\x33")),
    ("webp_frame", "webp", _webp_garbage),
)


def _resized_jpeg(width: int, height: int) -> Maker:
    return _jpeg_garbage(_SOF, 1, struct.pack(">HH", height, width))


def _resized_gif(width: int, height: int) -> Maker:
    """Write a GIF whose screen and first frame claim another size (GIF89a, 18 and 20)."""

    def make(picture: Image.Image, _: np.random.Generator) -> bytes:
        gif = bytearray(encode(picture, "GIF"))
        size = struct.pack("<HH", width, height)
        frame = gif.index(b"\x2c\0\0\0\0" + struct.pack("<HH", *picture.size))
        gif[6:10] = gif[frame + 5 : frame + 9] = size
        return bytes(gif)

    return make


def _bomb(_: Image.Image, rng: np.random.Generator) -> bytes:
    """Write a sound picture of a few kilobytes that unpacks to more than 50 million pixels."""
    side = int(rng.integers(7100, 7300))
    row = bytes(1 + (side + 7) // 8)
    return _png(side, side, zlib.compress(row * side, 9), depth=1, colour=0)


TOO_MANY_PIXELS: Variants = (
    ("png", "png", lambda _, rng: _png(30_000, 30_000, zlib.compress(rng.bytes(500)))),
    ("jpeg", "jpg", _resized_jpeg(65_000, 65_000)),
    ("gif", "gif", _resized_gif(65_000, 65_000)),
    ("bmp", "bmp", lambda _, rng: _bmp(30_000, int(rng.integers(20_000, 40_000)))),
    ("png_bomb", "png", _bomb),
)

ZERO_SIZED: Variants = (
    ("png", "png", lambda _, rng: _png(0, int(rng.integers(1, 200)), zlib.compress(b""))),
    ("jpeg", "jpg", _resized_jpeg(100, 0)),
    ("gif", "gif", _resized_gif(0, 0)),
    ("bmp", "bmp", lambda _, rng: _bmp(0, int(rng.integers(1, 200)), rows=0)),
)
