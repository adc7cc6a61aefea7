"""What a file is, from its first bytes and from its name."""

from __future__ import annotations

SUPPORTED_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff"}
)
"""Names that are listed as images. Decoding goes by content, whatever the name."""

OTHER_IMAGE_EXTENSIONS = frozenset(
    [
        "heic",
        "heif",
        "avif",
        "jp2",
        "j2k",
        "jxl",
        "psd",
        "ico",
        "svg",
        "pdf",
        "raw",
        "dng",
        "cr2",
        "cr3",
        "nef",
        "arw",
        "orf",
        "rw2",
        "tga",
        "pcx",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
        "exr",
        "hdr",
    ]
)
"""Image formats that are listed and then rejected, so that nobody wonders where they went."""

HEAD_BYTES = 32
"""How much of a file :func:`sniff` wants to see."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
SUPPORTED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""The formats that are decoded, by Pillow's names."""

_OTHER_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"8BPS", "Photoshop"),
    (b"\0\0\x01\0", "ICO"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xffO\xffQ", "JPEG 2000"),
    (b"\xff\n", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"%PDF-", "PDF"),
    (b"<svg", "SVG"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
)
_BRANDS = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"crx ": "Canon raw",
}
_TIFF_BASED_RAW = {
    "dng": "DNG",
    "cr2": "Canon raw",
    "nef": "Nikon raw",
    "arw": "Sony raw",
    "orf": "Olympus raw",
    "rw2": "Panasonic raw",
}


def sniff(head: bytes) -> tuple[str | None, bool]:
    """The format of a file from its first :data:`HEAD_BYTES` bytes.

    Returns:
        The format's name, or None if it is no known image; and whether it is decoded here.
    """
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name, True
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP", True
    for magic, name in _OTHER_MAGIC:
        if head.startswith(magic):
            return name, False
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return _BRANDS[head[8:12]], False
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"svg" in text):
        return "SVG", False
    return None, False


def extension(path: str) -> str:
    """The lower-case extension of the last segment, without its dot; empty if it has none."""
    name = path.rsplit("/", 1)[-1]
    stem, dot, tail = name.rpartition(".")
    return tail.lower() if dot and stem else ""


def camera_raw(path: str) -> str | None:
    """The maker's name of a camera raw format that poses as TIFF, from the extension."""
    return _TIFF_BASED_RAW.get(extension(path))
