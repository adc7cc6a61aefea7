from __future__ import annotations

import io

import pytest
from PIL import Image

from pomona.images.sniffing import (
    HEAD_BYTES,
    OTHER_IMAGE_EXTENSIONS,
    SUPPORTED_EXTENSIONS,
    SUPPORTED_FORMATS,
    camera_raw,
    extension,
    sniff,
)

PICTURE = Image.new("RGB", (8, 8), "tomato")


def _head(form: str) -> bytes:
    buffer = io.BytesIO()
    PICTURE.save(buffer, form)
    return buffer.getvalue()[:HEAD_BYTES]


@pytest.mark.parametrize("form", SUPPORTED_FORMATS)
def test_what_pillow_writes_is_recognised(form: str) -> None:
    assert sniff(_head(form)) == (form, True)


@pytest.mark.parametrize(
    ("form", "name"), [("ICO", "ICO"), ("JPEG2000", "JPEG 2000"), ("PDF", "PDF"), ("AVIF", "AVIF")]
)
def test_what_is_not_decoded_is_named(form: str, name: str) -> None:
    assert sniff(_head(form)) == (name, False)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\xef\xbb\xbf<svg xmlns=", "SVG"),
        (b"<?xml?><svg/>", "SVG"),
        (b"\0\0\0\x20ftypisom", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<html>", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_heads(head: bytes, name: str | None) -> None:
    assert sniff(head) == (name, False)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a/b.JPG", "jpg"),
        ("b.tar.gz", "gz"),
        ("a.dir/b", ""),
        (".hidden", ""),
        ("a/.hidden.png", "png"),
        ("b.", ""),
        ("", ""),
    ],
)
def test_extension(path: str, found: str) -> None:
    assert extension(path) == found


def test_names_of_images_are_in_one_list_only() -> None:
    assert not SUPPORTED_EXTENSIONS & OTHER_IMAGE_EXTENSIONS
    assert camera_raw("x.CR2") == "Canon raw"
    assert camera_raw("x.tif") is None
