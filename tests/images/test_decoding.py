"""Decoding, compared with Pillow's full decode and arithmetic written out here."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageCms, ImageOps

from pomona.images.decoding import DecodeLimits, RejectedImage, check_size, decode
from pomona.images.fitting import fit_square
from pomona.samples.broken import png_chunk
from pomona.schema import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LIMITS = DecodeLimits()
WHOLE = 1 << 14
"""A wanted side so large that nothing is scaled."""


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Large blobs with fine texture on them; no two corners are alike."""
    rng = np.random.default_rng(seed)

    def noise(w: int, h: int) -> Image.Image:
        pixels = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)

    return Image.blend(noise(9, 7), noise(max(1, width // 3), max(1, height // 3)), 0.2)


PHOTO = photo(121, 90)
ALPHA = Image.linear_gradient("L").resize(PHOTO.size)


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    return exif.tobytes()


def whole(data: bytes) -> NDArray[np.int16]:
    return decode(data, wanted=WHOLE, limits=LIMITS).pixels.astype(np.int16)


def opened(data: bytes) -> Image.Image:
    """Pillow's full decode, turned upright by Pillow."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return ImageOps.exif_transpose(image)


def by_pillow(data: bytes) -> NDArray[np.int16]:
    return np.asarray(opened(data).convert("RGB")).astype(np.int16)


def over_white(data: bytes) -> NDArray[np.int16]:
    """Straight alpha over white, in floating point."""
    layered = np.asarray(opened(data).convert("RGBA")).astype(np.float64)
    alpha = layered[..., 3:] / 255
    return np.rint(layered[..., :3] * alpha + 255 * (1 - alpha)).astype(np.int16)


def high_byte(data: bytes) -> NDArray[np.int16]:
    """16-bit grey by its high byte."""
    grey = np.asarray(opened(data)).astype(np.uint16) // 256
    return np.repeat(grey[..., np.newaxis], 3, axis=2).astype(np.int16)


def ycck() -> bytes:
    """Adobe's YCCK, inverted as Photoshop writes it; Pillow cannot write this."""
    inverted = np.ascontiguousarray(255 - np.asarray(PHOTO.convert("CMYK")))
    data: bytes = simplejpeg.encode_jpeg(inverted, 95, "CMYK", "444")
    assert simplejpeg.decode_jpeg_header(data)[2] == "YCCK"
    return data


def palette(image: Image.Image, alphas: bytes | int | None = None) -> bytes:
    options = {} if alphas is None else {"transparency": alphas}
    return encode(image.quantize(64), "PNG", **options)


def grey16() -> Image.Image:
    return Image.fromarray(np.asarray(PHOTO.convert("L")).astype(np.uint16) * 257 - 100)


def animation() -> list[Image.Image]:
    return [photo(60, 40, seed=seed) for seed in range(3)]


def first_and_others(form: str, **options: Any) -> bytes:
    first, *others = animation()
    return encode(first, form, save_all=True, append_images=others, **options)


def smaller_first_frame() -> bytes:
    """A GIF whose first frame covers a part of its canvas only."""
    data = bytearray(encode(photo(30, 20), "GIF"))
    data[6:10] = np.array([50, 40], "<u2").tobytes()
    return bytes(data)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS: dict[str, tuple[Callable[[], bytes], Any, int]] = {
    "jpeg": (lambda: encode(PHOTO, "JPEG"), by_pillow, 0),
    "jpeg 4:4:4": (lambda: encode(PHOTO, "JPEG", subsampling=0), by_pillow, 0),
    "jpeg 4:2:2": (lambda: encode(PHOTO, "JPEG", subsampling=1), by_pillow, 0),
    "jpeg progressive": (lambda: encode(PHOTO, "JPEG", progressive=True), by_pillow, 0),
    "jpeg restart markers": (
        lambda: encode(PHOTO, "JPEG", restart_marker_rows=1),
        by_pillow,
        0,
    ),
    "jpeg grey": (lambda: encode(PHOTO.convert("L"), "JPEG"), by_pillow, 0),
    "jpeg cmyk": (lambda: encode(PHOTO.convert("CMYK"), "JPEG"), by_pillow, 0),
    "jpeg ycck": (ycck, by_pillow, 0),
    "jpeg rgb": (lambda: encode(PHOTO, "JPEG", keep_rgb=True), by_pillow, 0),
    "jpeg with profile": (lambda: encode(PHOTO, "JPEG", icc_profile=SRGB), by_pillow, 0),
    "jpeg mpo": (lambda: first_and_others("MPO"), by_pillow, 0),
    "jpeg trailing bytes": (lambda: encode(PHOTO, "JPEG") + bytes(500), by_pillow, 0),
    "png": (lambda: encode(PHOTO, "PNG"), by_pillow, 0),
    "png with profile": (lambda: encode(PHOTO, "PNG", icc_profile=SRGB), by_pillow, 0),
    "png palette": (lambda: palette(PHOTO), by_pillow, 0),
    "png palette, one clear": (lambda: palette(PHOTO, 3), over_white, 1),
    "png palette, many alphas": (lambda: palette(PHOTO, bytes(range(0, 256, 4))), over_white, 1),
    "png grey": (lambda: encode(PHOTO.convert("L"), "PNG"), by_pillow, 0),
    "png grey, one clear": (
        lambda: encode(PHOTO.convert("L"), "PNG", transparency=128),
        over_white,
        1,
    ),
    "png rgb, one clear": (
        lambda: encode(PHOTO, "PNG", transparency=PHOTO.getpixel((5, 5))),
        over_white,
        1,
    ),
    "png rgba": (
        lambda: encode(Image.merge("RGBA", (*PHOTO.split(), ALPHA)), "PNG"),
        over_white,
        1,
    ),
    "png grey alpha": (
        lambda: encode(Image.merge("LA", (PHOTO.convert("L"), ALPHA)), "PNG"),
        over_white,
        1,
    ),
    "png 1 bit": (lambda: encode(PHOTO.convert("1"), "PNG"), by_pillow, 0),
    "png 1 bit, one clear": (
        lambda: encode(PHOTO.convert("1"), "PNG", transparency=0),
        over_white,
        1,
    ),
    "png 2 bit": (lambda: encode(PHOTO.quantize(4), "PNG", bits=2), by_pillow, 0),
    "png 16 bit grey": (lambda: encode(grey16(), "PNG"), high_byte, 0),
    "webp lossy": (lambda: encode(PHOTO, "WEBP", quality=80), by_pillow, 0),
    "webp lossless": (lambda: encode(PHOTO, "WEBP", lossless=True), by_pillow, 0),
    "webp alpha": (
        lambda: encode(Image.merge("RGBA", (*PHOTO.split(), ALPHA)), "WEBP", lossless=True),
        over_white,
        1,
    ),
    "webp animation": (lambda: first_and_others("WEBP", lossless=True), by_pillow, 0),
    "gif": (lambda: encode(PHOTO, "GIF"), by_pillow, 0),
    "gif animation": (lambda: first_and_others("GIF"), by_pillow, 0),
    "gif transparent": (lambda: encode(PHOTO.quantize(32), "GIF", transparency=4), over_white, 1),
    "gif small frame": (smaller_first_frame, by_pillow, 0),
    "bmp": (lambda: encode(PHOTO, "BMP"), by_pillow, 0),
    "bmp palette": (lambda: encode(PHOTO.quantize(200), "BMP"), by_pillow, 0),
    "bmp 1 bit": (lambda: encode(PHOTO.convert("1"), "BMP"), by_pillow, 0),
    "bmp grey": (lambda: encode(PHOTO.convert("L"), "BMP"), by_pillow, 0),
    "tiff": (lambda: encode(PHOTO, "TIFF"), by_pillow, 0),
    "tiff cmyk": (lambda: encode(PHOTO.convert("CMYK"), "TIFF"), by_pillow, 0),
    "tiff ycbcr": (
        lambda: encode(PHOTO.convert("YCbCr"), "TIFF", compression="jpeg"),
        by_pillow,
        0,
    ),
    "tiff lab": (lambda: encode(PHOTO.convert("LAB"), "TIFF"), by_pillow, 0),
    "tiff 16 bit grey": (lambda: encode(grey16(), "TIFF"), high_byte, 0),
    "tiff alpha": (
        lambda: encode(Image.merge("RGBA", (*PHOTO.split(), ALPHA)), "TIFF"),
        over_white,
        1,
    ),
    "tiff fax": (lambda: encode(PHOTO.convert("1"), "TIFF", compression="group4"), by_pillow, 0),
    "tiff pages": (lambda: first_and_others("TIFF"), by_pillow, 0),
}


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"]
)
def test_every_compression_of_tiff(compression: str) -> None:
    data = encode(PHOTO, "TIFF", compression=compression)
    np.testing.assert_array_equal(whole(data), by_pillow(data))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_what_pillow_makes_of_it(name: str) -> None:
    make, reference, tolerance = FORMATS[name]
    data = make()
    pixels = whole(data)
    assert np.abs(pixels - reference(data)).max() <= tolerance


@pytest.mark.parametrize("name", ["gif animation", "webp animation", "tiff pages", "jpeg mpo"])
def test_of_several_pictures_the_first_is_taken(name: str) -> None:
    pixels = whole(FORMATS[name][0]())
    distances = [np.abs(pixels - np.asarray(frame)).mean() for frame in animation()]
    assert distances[0] < 12 < min(distances[1:])


def test_16_bit_colour_is_read_by_its_high_byte() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 1 << 16, (8, 5, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 5, 8, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, content)
        for kind, content in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        )
    )
    np.testing.assert_array_equal(whole(data), values // 256)


def test_adobe_jpegs_look_like_the_photograph_and_not_like_its_negative() -> None:
    for name in ("jpeg cmyk", "jpeg ycck"):
        assert np.abs(whole(FORMATS[name][0]()) - np.asarray(PHOTO)).mean() < 4


TURNABLE: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", TURNABLE)
def test_orientation_is_applied(form: str, orientation: int) -> None:
    data = encode(PHOTO, form, exif=turned(orientation), **TURNABLE[form])
    image = decode(data, wanted=WHOLE, limits=LIMITS)
    np.testing.assert_array_equal(image.pixels, by_pillow(data))
    assert (image.width, image.height) == ((121, 90) if orientation < 5 else (90, 121))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_orientation_is_applied_to_large_photographs(mode: str, orientation: int) -> None:
    large = photo(1200, 800).convert(mode)
    data = encode(large, "JPEG", quality=90, exif=turned(orientation))
    image = decode(data, wanted=100, limits=LIMITS)
    assert (image.width, image.height) == ((1200, 800) if orientation < 5 else (800, 1200))
    assert max(image.pixels.shape) < 600
    assert np.abs(square(image.pixels) - square(by_pillow(data))).max() <= 8


def test_orientation_of_xmp_counts_where_exif_has_none() -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    data = encode(PHOTO, "JPEG", xmp=xmp)
    assert decode(data, wanted=WHOLE, limits=LIMITS).width == 90
    np.testing.assert_array_equal(whole(data), by_pillow(data))


def test_orientation_is_found_behind_other_large_segments() -> None:
    data = encode(PHOTO, "JPEG", exif=turned(8))
    comment = b"\xff\xfe\xff\xff" + bytes(65_533)
    data = data[:2] + comment * 3 + data[2:]
    np.testing.assert_array_equal(whole(data), by_pillow(data))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0??",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        turned(0),
        turned(9),
        turned(6).replace(b"\x01\x12\0\x03", b"\x01\x12\0\x02"),
    ],
)
def test_a_broken_exif_block_does_not_cost_the_image(form: str, exif: bytes) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = encode(PHOTO, form, exif=exif, **options)
    np.testing.assert_array_equal(whole(data), whole(encode(PHOTO, form, **options)))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (2, 3000), (3000, 2), (17, 19)])
def test_odd_sizes(form: str, size: tuple[int, int]) -> None:
    data = encode(photo(*size), form)
    np.testing.assert_array_equal(whole(data), by_pillow(data))
    scaled = decode(data, wanted=32, limits=LIMITS)
    assert (scaled.width, scaled.height) == size
    height, width = scaled.pixels.shape[:2]
    assert min(height, width) >= 1
    assert max(height, width) >= min(64, *sorted(size)[1:])


def square(pixels: NDArray[Any], size: int = 100) -> NDArray[np.int16]:
    out = np.empty((size, size, 3), np.uint8)
    fit_square(np.ascontiguousarray(pixels.astype(np.uint8)), out)
    return out.astype(np.int16)


@pytest.mark.parametrize(
    ("size", "most", "mean"),
    [
        ((4000, 3000), 3, 0.3),
        ((640, 480), 3, 0.3),
        # The last block or row is cut short: the picture is stretched by a part of a pixel.
        ((1001, 667), 10, 1.0),
        ((667, 1001), 10, 1.0),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "BMP"])
def test_scaled_decoding_cannot_be_told_from_a_full_decode(
    form: str, size: tuple[int, int], most: int, mean: float
) -> None:
    data = encode(photo(*size), form, **({"quality": 90} if form == "JPEG" else {}))
    scaled = decode(data, wanted=100, limits=LIMITS)
    assert (scaled.width, scaled.height) == size
    assert max(scaled.pixels.shape) <= 850
    difference = np.abs(square(scaled.pixels) - square(by_pillow(data)))
    assert difference.max() <= most
    assert difference.mean() <= mean


def test_transparency_survives_the_scaling_of_a_large_image() -> None:
    large = photo(1600, 1200)
    alpha = Image.linear_gradient("L").resize(large.size)
    data = encode(Image.merge("RGBA", (*large.split(), alpha)), "TIFF")
    scaled = decode(data, wanted=100, limits=LIMITS).pixels
    assert scaled.shape == (300, 400, 3)
    assert np.abs(square(scaled) - square(over_white(data))).max() <= 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"\0" * 100, Reason.NOT_AN_IMAGE),
        (b"a recipe for jam", Reason.NOT_AN_IMAGE),
        (b"\x1f\x8b\x08" + bytes(20), Reason.NOT_AN_IMAGE),
        (b"\0\0\0\x18ftypheic" + bytes(40), Reason.UNSUPPORTED_FORMAT),
        (encode(PHOTO.convert("F"), "TIFF"), Reason.UNSUPPORTED_FORMAT),
        (encode(PHOTO.convert("I"), "TIFF"), Reason.UNSUPPORTED_FORMAT),
        (encode(PHOTO, "ICO"), Reason.UNSUPPORTED_FORMAT),
    ],
)
def test_what_is_no_image_of_ours_has_its_reason(data: bytes, reason: Reason) -> None:
    with pytest.raises(RejectedImage) as caught:
        decode(data, wanted=100, limits=LIMITS)
    assert caught.value.reason is reason
    assert caught.value.message


def test_camera_raw_is_named_by_its_extension() -> None:
    data = encode(PHOTO, "TIFF")
    with pytest.raises(RejectedImage, match="Nikon raw") as caught:
        decode(data, wanted=100, limits=LIMITS, path="DSC_0001.NEF")
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
    decode(data, wanted=100, limits=LIMITS, path="DSC_0001.TIF")


def test_the_name_does_not_decide_the_format() -> None:
    data = encode(PHOTO, "PNG")
    image = decode(data, wanted=WHOLE, limits=LIMITS, path="really-a-png.jpg")
    np.testing.assert_array_equal(image.pixels, np.asarray(PHOTO))


def test_limits_are_exact() -> None:
    data = encode(PHOTO, "PNG")
    width, height = PHOTO.size
    for limits in (
        DecodeLimits(max_bytes=len(data)),
        DecodeLimits(max_pixels=width * height),
    ):
        decode(data, wanted=100, limits=limits)
    for limits, reason in (
        (DecodeLimits(max_bytes=len(data) - 1), Reason.TOO_MANY_BYTES),
        (DecodeLimits(max_pixels=width * height - 1), Reason.TOO_MANY_PIXELS),
    ):
        with pytest.raises(RejectedImage) as caught:
            decode(data, wanted=100, limits=limits)
        assert caught.value.reason is reason
    with pytest.raises(RejectedImage):
        check_size(0, LIMITS)


def test_a_limit_above_pillows_own_is_kept() -> None:
    side = 14_000  # Pillow refuses more than 13,377 squared
    data = encode(Image.new("1", (side, side)), "PNG")
    with pytest.raises(RejectedImage, match=r"14,000 x 14,000 pixels; at most 50,000,000"):
        decode(data, wanted=50, limits=LIMITS)
    before = Image.MAX_IMAGE_PIXELS
    image = decode(data, wanted=50, limits=DecodeLimits(max_pixels=side * side))
    assert (image.width, image.height) == (side, side)
    assert before == Image.MAX_IMAGE_PIXELS
