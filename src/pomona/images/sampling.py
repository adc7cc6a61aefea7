"""A few images of a manifest, to measure and calibrate on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.images.fitting import fit_square
from pomona.images.reading import read_images
from pomona.schema import PATH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomona.images.manifest import Manifest
    from pomona.storage import Store


def sample_pixels(
    store: Store, manifest: Manifest, *, count: int, size: int, limits: DecodeLimits
) -> NDArray[np.uint8]:
    """Pixels of images spread evenly over a manifest.

    Args:
        store: INPUT's.
        manifest: at least one image.
        count: images, at most.
        size: side of the square, in pixels.
        limits: what is too large.

    Returns:
        uint8 [n, size, size, 3]; images that are rejected are left out, and where all of them
        are, one of noise (seed 0) stands in, since shapes and speed do not depend on content.
    """
    wanted = set(np.linspace(0, manifest.rows - 1, min(count, manifest.rows)).astype(int).tolist())
    found: list[NDArray[np.uint8]] = []
    begin = 0
    for batch in manifest:
        rows = sorted(row - begin for row in wanted if begin <= row < begin + batch.num_rows)
        begin += batch.num_rows
        if not rows:
            continue
        chosen = batch.take(rows)
        paths = chosen.column(PATH).to_pylist()
        for path, blob in zip(paths, read_images(store, chosen, limits), strict=True):
            if isinstance(blob, RejectedImage):
                continue
            try:
                image = decode(blob, wanted=size, limits=limits, path=path)
            except RejectedImage:
                continue
            square = np.empty((size, size, 3), np.uint8)
            fit_square(image.pixels, square)
            found.append(square)
    if not found:
        return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    return np.stack(found)
