from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pomona.images.decoding import DecodeLimits
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.images.manifest import Manifest
from pomona.images.sampling import sample_pixels
from pomona.storage import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def _sampled(folder: Path, scratch: Path, count: int) -> NDArray[np.uint8]:
    source = open_source(str(folder))
    manifest = Manifest.write(list_images(source, SkippedFiles()), scratch)
    limits = DecodeLimits()
    return sample_pixels(open_store(source.root), manifest, count=count, size=16, limits=limits)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images, each of one grey that tells its number."""
    (tmp_path / "in").mkdir()
    for number in range(10):
        picture = Image.new("RGB", (16, 16), (number * 20,) * 3)
        picture.save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("count", "chosen"),
    [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, range(10)), (99, range(10))],
)
def test_images_are_spread_over_the_listing(folder: Path, count: int, chosen: list[int]) -> None:
    pixels = _sampled(folder, folder.parent / "m", count)
    assert pixels.shape == (len(chosen), 16, 16, 3)
    assert [int(image[0, 0, 0]) // 20 for image in pixels] == list(chosen)


def test_rejects_are_left_out(folder: Path) -> None:
    (folder / "0.png").write_bytes(b"")
    assert len(_sampled(folder, folder.parent / "m", 10)) == 9


def test_noise_stands_in_where_all_are_rejects(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(b"broken")
    pixels = _sampled(folder, folder.parent / "m", 4)
    assert pixels.shape == (1, 16, 16, 3)
    assert pixels.std() > 50
