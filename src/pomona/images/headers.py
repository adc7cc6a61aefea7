"""What an image file promises: its declared size, and whether all of its bytes are there.

Mostly consulted once a decoder has failed, to give the failure its right name. Every function takes
hostile bytes and never raises.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_BMP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))
"""Lengths that a BMP's second header has had, from OS/2 to its fifth version."""
_TIFF_WIDTHS = {1: 1, 3: 2, 4: 4, 16: 8}


def declared_size(data: bytes, name: str) -> tuple[int, int] | None:
    """Width and height from the header, in pixels; None where it cannot be found.

    Args:
        data: the whole file.
        name: Pillow's name of the format.
    """
    try:
        return _SIZES[name](data) if name in _SIZES else None
    except (struct.error, IndexError):
        return None


def ends_early(data: bytes, name: str) -> bool:
    """Whether the file is shorter than its own structure says."""
    try:
        return _ENDS[name](data)
    except (struct.error, IndexError):
        return True


def jpeg_markers(data: bytes) -> set[int]:
    """The kinds of the segments before the first scan of a JPEG (T.81, table B.1)."""
    return {marker for marker, _ in _jpeg_segments(data)[0]}


def _jpeg_segments(data: bytes) -> tuple[list[tuple[int, int]], bool]:
    """The (marker, position of its content) of every segment up to the scan; whether cut short."""
    found: list[tuple[int, int]] = []
    at = 2
    while at + 1 < len(data):
        if data[at] != 0xFF:
            return found, False
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_ALONE:
            at += 2
            continue
        found.append((marker, at + 2))
        if marker in (0xDA, 0xD9):
            return found, False
        if at + 4 > len(data):
            return found, True
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return found, True


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, at in _jpeg_segments(data)[0]:
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
    return None


def _jpeg_ends_early(data: bytes) -> bool:
    segments, cut = _jpeg_segments(data)
    if segments and segments[-1][0] == 0xDA:
        return data.find(b"\xff\xd9", segments[-1][1]) < 0
    return cut


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _png_ends_early(data: bytes) -> bool:
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return False
        if not kind.isalpha():
            return False
        at += 12 + length
    return True


def _gif_size(data: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _gif_ends_early(data: bytes) -> bool:
    return not data.rstrip(b"\0").endswith(b";")


def contradicts_itself(data: bytes, name: str) -> bool:
    """Whether the header names a kind of header that the format never had."""
    return name == "BMP" and data[14:18] not in _BMP_HEADERS


def _bmp_size(data: bytes) -> tuple[int, int] | None:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


def _bmp_ends_early(data: bytes) -> bool:
    return len(data) < 26 or len(data) < int(struct.unpack_from("<I", data, 2)[0])


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _webp_ends_early(data: bytes) -> bool:
    return len(data) < int(struct.unpack_from("<I", data, 4)[0]) + 8


def _tiff_directory(data: bytes) -> dict[int, list[int]]:
    """The integer tags of the first directory of a classic TIFF."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    tags: dict[int, list[int]] = {}
    for index in range(struct.unpack_from(order + "H", data, at)[0]):
        entry = at + 2 + 12 * index
        tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
        width = _TIFF_WIDTHS.get(kind)
        if width is None or count > len(data):
            continue
        code = {1: "B", 2: "H", 4: "I", 8: "Q"}[width]
        start = entry + 8
        if width * count > 4:
            start = struct.unpack_from(order + "I", data, start)[0]
        tags[tag] = list(struct.unpack_from(f"{order}{count}{code}", data, start))
    return tags


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    tags = _tiff_directory(data)
    return (tags[256][0], tags[257][0]) if 256 in tags and 257 in tags else None


def _tiff_ends_early(data: bytes) -> bool:
    if data[2:4] not in (b"*\0", b"\0*"):
        return False
    tags = _tiff_directory(data)
    for offsets, counts in ((273, 279), (324, 325)):
        for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False):
            if offset + count > len(data):
                return True
    return False


_SIZES: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    "JPEG": _jpeg_size,
    "PNG": _png_size,
    "GIF": _gif_size,
    "BMP": _bmp_size,
    "WEBP": _webp_size,
    "TIFF": _tiff_size,
}
_ENDS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": _jpeg_ends_early,
    "PNG": _png_ends_early,
    "GIF": _gif_ends_early,
    "BMP": _bmp_ends_early,
    "WEBP": _webp_ends_early,
    "TIFF": _tiff_ends_early,
}
