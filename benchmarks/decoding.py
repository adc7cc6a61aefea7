"""How fast photographs become the pixels that a network takes, beside Pillow's full decode.

    python benchmarks/decoding.py [JPEG...]

Without files it draws a 12-megapixel photograph. Each line is the median of several turns, taken
in alternation so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from pomona.images.decoding import DecodeLimits, decode
from pomona.images.fitting import fit_square

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (100, 224)
TURNS = 9


def drawn() -> bytes:
    """A 4000 x 3000 JPEG of about the detail of a phone's photograph."""
    rng = np.random.default_rng(0)
    layers = [
        Image.fromarray(rng.integers(0, 256, (3000 // step, 4000 // step, 3), dtype=np.uint8))
        for step in (200, 25, 4)
    ]
    picture = layers[0].resize((4000, 3000), Image.Resampling.BICUBIC)
    for layer, share in zip(layers[1:], (0.3, 0.15), strict=True):
        picture = Image.blend(picture, layer.resize((4000, 3000)), share)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def by_pillow(data: bytes, out: np.ndarray) -> None:
    """Decode whole, turn upright, resample."""
    with Image.open(io.BytesIO(data)) as image:
        ImageOps.exif_transpose(image, in_place=True)
        fit_square(np.asarray(image if image.mode == "RGB" else image.convert("RGB")), out)


def by_pomona(data: bytes, out: np.ndarray) -> None:
    fit_square(decode(data, wanted=len(out), limits=DecodeLimits()).pixels, out)


def milliseconds(work: Callable[[bytes, np.ndarray], None], data: bytes, out: np.ndarray) -> float:
    begin = time.perf_counter()
    work(data, out)
    return 1000 * (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--json", action="store_true", help="print figures for the suite")
    asked = parser.parse_args()
    files, cases = asked.files, []
    photographs = {str(file): file.read_bytes() for file in files} or {"drawn, 12 MP": drawn()}
    if not asked.json:
        print(
            f"{'photograph':<24}{'size':>6}{'Pillow':>10}{'Pomona':>10}{'times':>7}{'differ':>14}"
        )
    for name, data in photographs.items():
        for size in SIZES:
            ours, theirs = (np.empty((size, size, 3), np.uint8) for _ in range(2))
            turns = [
                (milliseconds(by_pillow, data, theirs), milliseconds(by_pomona, data, ours))
                for _ in range(asked.turns)
            ]
            slow, fast = (statistics.median(column) for column in zip(*turns, strict=True))
            apart = np.abs(ours.astype(int) - theirs)
            cases.append({"size": size, "pillow_ms": slow, "pomona_ms": fast, "times": slow / fast})
            if asked.json:
                continue
            print(
                f"{name[-24:]:<24}{size:>6}{slow:>7.1f} ms{fast:>7.1f} ms{slow / fast:>7.1f}"
                f"{f'{apart.mean():.2f}, <= {apart.max()}':>14}"
            )
    if asked.json:
        print(json.dumps({"cases": cases}))


if __name__ == "__main__":
    main()
