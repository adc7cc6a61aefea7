"""Fitting into the square, compared with plain arithmetic and with ONNX's Resize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest

from pomona.images.fitting import PADDING, fit_square

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fitted(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    out = np.full((size, size, 3), 7, np.uint8)  # so that what is not written shows
    fit_square(pixels, out)
    return out


def noise(height: int, width: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    return np.kron(coarse, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8)


def test_an_image_of_the_right_size_is_copied() -> None:
    pixels = noise(64, 64)
    np.testing.assert_array_equal(fitted(pixels, 64), pixels)


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((100, 50), (0, 100), (25, 75)),
        ((50, 100), (25, 75), (0, 100)),
        ((200, 100), (0, 100), (25, 75)),
        ((30, 10), (0, 100), (33, 66)),
        ((1, 1), (0, 100), (0, 100)),
        ((1, 1000), (49, 50), (0, 100)),
        ((1000, 1), (0, 100), (49, 50)),
        ((99, 100), (0, 99), (0, 100)),
        ((2000, 1999), (0, 100), (0, 100)),
    ],
)
def test_the_aspect_is_kept_and_the_rest_is_white(
    shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    out = fitted(np.full((*shape, 3), 40, np.uint8), 100)
    expected = np.full((100, 100, 3), PADDING, np.uint8)
    expected[slice(*rows), slice(*columns)] = 40
    np.testing.assert_array_equal(out, expected)


def test_shrinking_averages_over_everything_that_a_pixel_covers() -> None:
    """One white pixel in a hundred must not vanish, wherever it stands."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[5::10, 5::10] = 255
    out = fitted(pixels, 20).astype(float)
    assert np.abs(out[1:-1, 1:-1] - 2.55).max() <= 1


def test_flat_images_stay_flat_at_every_size() -> None:
    for size in (1, 7, 100, 224):
        for side in (1, 3, 50, 333):
            assert (fitted(np.full((side, side, 3), 201, np.uint8), size) == 201).all()


def test_the_result_does_not_depend_on_where_the_pixels_lie_in_memory() -> None:
    pixels = noise(90, 70)
    turned = np.ascontiguousarray(pixels.transpose(1, 0, 2)).transpose(1, 0, 2)
    assert not turned.flags.c_contiguous
    np.testing.assert_array_equal(fitted(turned, 50), fitted(pixels, 50))


def resize(height: int, width: int) -> Any:
    """A session of one Resize node, with the attributes that docs/formats.md gives."""
    helper, types = onnx.helper, onnx.TensorProto
    node = helper.make_node(
        "Resize",
        ["pixels", "", "", "sizes"],
        ["scaled"],
        mode="linear",
        antialias=1,
        exclude_outside=1,
        coordinate_transformation_mode="half_pixel",
    )
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("pixels", types.UINT8, [1, 3, None, None])],
        [helper.make_tensor_value_info("scaled", types.UINT8, [1, 3, height, width])],
        [helper.make_tensor("sizes", types.INT64, [4], [1, 3, height, width])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize(
    ("shape", "scaled", "most"),
    [
        ((300, 200), (100, 67), 1),
        ((218, 290), (75, 100), 1),
        ((101, 100), (100, 99), 1),
        ((750, 1000), (75, 100), 1),
        ((64, 64), (100, 100), 2),
    ],
)
def test_it_is_the_resize_of_onnx(
    shape: tuple[int, int], scaled: tuple[int, int], most: int
) -> None:
    pixels = noise(*shape)
    height, width = scaled
    top, left = (100 - height) // 2, (100 - width) // 2
    ours = fitted(pixels, 100)[top : top + height, left : left + width].astype(int)
    nchw = np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis])
    theirs = resize(*scaled).run(None, {"pixels": nchw})[0][0].transpose(1, 2, 0)
    difference = np.abs(ours - theirs)
    assert difference.max() <= most
    assert difference.mean() < 0.1
