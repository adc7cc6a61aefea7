"""Files made to do harm: bombs, cuts at every place, and bytes changed at random."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.samples.broken import encode, png_chunk
from pomona.schema import Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMITS = DecodeLimits()
SMALL = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def png(width: int, height: int, *before: bytes, data: bytes = bytes(500)) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(data))
    chunks = [png_chunk(b"IHDR", header), *before, pixels, png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def webp(kind: bytes, content: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(offset: int) -> bytes:
    """A GIF whose screen (offset 6) or first frame claims 65,535 x 65,535 pixels."""
    data = bytearray(encode(SMALL, "GIF"))
    if offset != 6:
        offset += data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", *SMALL.size))
    data[offset : offset + 4] = b"\xff" * 4
    return bytes(data)


def bmp(width: int, height: int, bits: int, compression: int) -> bytes:
    head = struct.pack("<IHHI", 1000, 0, 0, 54)
    return (
        b"BM"
        + head
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
        + bytes(900)
    )


def tiff(width: int, height: int, tile: int = 0, compression: int = 8) -> bytes:
    """A classic TIFF with one strip or one tile of deflated zeros."""
    content = zlib.compress(bytes(1000))
    blocks = {322: tile, 323: tile, 324: 0, 325: len(content)} if tile else {
        273: 0, 278: height, 279: len(content)
    }  # fmt: skip
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1, **blocks}
    start = 8 + 2 + 12 * len(tags) + 4
    tags[324 if tile else 273] = start
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + content


def text_bomb(kind: bytes) -> bytes:
    return png_chunk(kind, b"name\0\0" + zlib.compress(bytes(200 << 20), 9))


VP8L_SIZE = struct.pack("<I", 16_382 | 16_382 << 14)
BOMBS: dict[str, tuple[bytes, Reason]] = {
    "png": (png(100_000, 100_000), Reason.TOO_MANY_PIXELS),
    "png of 60 megapixels": (png(10_000, 6_000), Reason.TOO_MANY_PIXELS),
    "png text": (png(24, 16, text_bomb(b"zTXt")), Reason.CORRUPT),
    "webp extended": (
        webp(b"VP8X", bytes(4) + b"\xfe\x3f\0" * 2 + b"ANIM"),
        Reason.TOO_MANY_PIXELS,
    ),
    "webp lossless": (webp(b"VP8L", b"\x2f" + VP8L_SIZE + bytes(99)), Reason.TOO_MANY_PIXELS),
    "webp of 60 megapixels": (
        webp(b"VP8L", b"\x2f" + struct.pack("<I", 9_999 | 5_999 << 14) + bytes(99)),
        Reason.TOO_MANY_PIXELS,
    ),
    "webp lossy": (
        webp(b"VP8 ", b"\x30\1\0\x9d\1\x2a" + b"\xff\x3f" * 2 + bytes(100)),
        Reason.TOO_MANY_PIXELS,
    ),
    "gif screen": (gif(6), Reason.TOO_MANY_PIXELS),
    "gif frame": (gif(5), Reason.TOO_MANY_PIXELS),
    "bmp": (bmp(60_000, 60_000, 24, 0), Reason.TOO_MANY_PIXELS),
    "bmp upside down": (bmp(60_000, -60_000, 24, 0), Reason.TOO_MANY_PIXELS),
    "bmp run length": (bmp(60_000, 60_000, 8, 1), Reason.TOO_MANY_PIXELS),
    "tiff": (tiff(100_000, 100_000), Reason.TOO_MANY_PIXELS),
    "tiff tile": (tiff(16, 16, tile=30_000), Reason.TOO_MANY_PIXELS),
    "tiff tile, not compressed": (tiff(16, 16, tile=30_000, compression=1), Reason.TOO_MANY_PIXELS),
    "tiff tile beyond memory": (tiff(16, 16, tile=65_520), Reason.TOO_MANY_PIXELS),
}

CHILD = """
import pathlib, resource, sys
from PIL import Image
from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.samples.broken import encode

limits = DecodeLimits()
for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):  # whatever is loaded late, is now
    decode(encode(Image.new("RGB", (8, 8)), form), wanted=100, limits=limits)
status = pathlib.Path("/proc/self/status").read_text()
size = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize"))
allowed = size * 1024 + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
for file in sys.argv[1:]:
    try:
        decode(pathlib.Path(file).read_bytes(), wanted=100, limits=limits)
        print(pathlib.Path(file).name, "decoded")
    except RejectedImage as rejected:
        print(pathlib.Path(file).name, rejected.reason, rejected.message, sep="|")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_bombs_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    for name, (data, _) in BOMBS.items():
        (tmp_path / name).write_bytes(data)
        assert len(data) < 500_000
    files = [str(tmp_path / name) for name in BOMBS]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *files], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    found = [line.split("|") for line in done.stdout.splitlines()]
    assert {line[0]: line[1] for line in found} == {
        name: str(reason) for name, (_, reason) in BOMBS.items()
    }
    assert not [line for line in found if "memory" in line[2]]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told by Linux only")
def test_a_large_image_with_alpha_is_held_in_memory_once(tmp_path: Path) -> None:
    """40 megapixels of RGBA are 160 MB; converting them whole takes three times that."""
    file = tmp_path / "large.png"
    Image.new("RGBA", (8_000, 5_000), (200, 30, 30, 128)).save(file, compress_level=1)
    code = (
        "import pathlib, re, sys\n"
        "from pomona.images.decoding import DecodeLimits, decode\n"
        "def peak():\n"
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmHWM:\\s*(\\d+)', status)[1])\n"
        "data, before = pathlib.Path(sys.argv[1]).read_bytes(), peak()\n"
        "decode(data, wanted=100, limits=DecodeLimits())\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert 150_000 < int(done.stdout) < 250_000


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    data = encode(SMALL, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan, end = data[last:-2], data[-2:]
    assert decode(data[:-2] + scan * 5 + end, wanted=100, limits=LIMITS).width == 24
    many = data[:-2] + scan * 5_000 + end
    for hostile in (many, many[:20] + b"junk" + many[20:]):
        with pytest.raises(RejectedImage, match="scans") as caught:
            decode(hostile, wanted=100, limits=LIMITS)
        assert caught.value.reason is Reason.CORRUPT


def test_a_baseline_jpeg_may_hold_what_looks_like_scans() -> None:
    data = encode(SMALL, "JPEG", comment=b"\xff\xda" * 5_000)
    assert decode(data, wanted=100, limits=LIMITS).width == 24


def exif() -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010F] = "a maker"
    return tags.tobytes()


SOUND: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encode(SMALL, "JPEG", exif=exif()),
    "jpeg progressive": lambda: encode(SMALL, "JPEG", progressive=True),
    "jpeg cmyk": lambda: encode(SMALL.convert("CMYK"), "JPEG"),
    "png": lambda: encode(SMALL, "PNG", exif=exif()),
    "png palette": lambda: encode(SMALL.quantize(16), "PNG", transparency=3),
    "webp": lambda: encode(SMALL, "WEBP", exif=exif()),
    "webp lossless": lambda: encode(SMALL.convert("RGBA"), "WEBP", lossless=True),
    "gif": lambda: encode(SMALL, "GIF"),
    "bmp": lambda: encode(SMALL, "BMP"),
    "tiff": lambda: encode(SMALL, "TIFF"),
    "tiff lzw": lambda: encode(SMALL, "TIFF", compression="tiff_lzw"),
}


def outcome(data: bytes) -> Reason | None:
    """The reason, or None for a sound image; any other error is a failure."""
    try:
        image = decode(data, wanted=16, limits=LIMITS)
    except RejectedImage as rejected:
        assert rejected.message
        return rejected.reason
    assert image.pixels.dtype == np.uint8
    assert image.pixels.ndim == 3
    assert image.pixels.shape[2] == 3
    assert image.pixels.flags.c_contiguous
    return None


@pytest.mark.parametrize("name", SOUND)
def test_a_cut_anywhere_is_a_reject(name: str) -> None:
    data = SOUND[name]()
    assert outcome(data) is None
    cuts = [outcome(data[:length]) for length in range(0, len(data), 10)]
    assert cuts[0] is Reason.EMPTY
    # A few bytes at the end may be padding.
    assert None not in cuts[: -2 - len(cuts) // 10]
    told = [reason for reason in cuts if reason is Reason.TRUNCATED]
    assert len(told) > 0.7 * len(cuts)


@pytest.mark.parametrize("name", SOUND)
def test_changed_bytes_are_an_image_or_a_reject(name: str) -> None:
    data = SOUND[name]()
    chance = random.Random(name)
    seen = set()
    for _ in range(200):
        harmed = bytearray(data)
        reach = min(len(data), chance.choice([40, 200, len(data)]))
        for _ in range(chance.choice([1, 2, 4, 16])):
            harmed[chance.randrange(reach)] = chance.randrange(256)
        seen.add(outcome(bytes(harmed)))
    assert len(seen) >= 2


def test_changed_exif_never_costs_the_image() -> None:
    block = exif()
    chance = random.Random(0)
    for form in ("JPEG", "PNG", "WEBP"):
        for _ in range(100):
            harmed = bytearray(block)
            for _ in range(chance.choice([1, 2, 8])):
                harmed[chance.randrange(6, len(block))] = chance.choice([0, 255])
            assert outcome(encode(SMALL, form, exif=bytes(harmed))) is None


def test_every_head_alone_is_a_reject() -> None:
    heads = [
        b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
        b"II+\0", b"MM\0+", b"RIFF\0\0\0\0WEBP", b"RIFF\xff\xff\xff\xffWEBPVP8X",
    ]  # fmt: skip
    for head in heads:
        for tail in (b"", b"\0" * 64, b"\xff" * 64):
            assert outcome(head + tail) is not None, head
