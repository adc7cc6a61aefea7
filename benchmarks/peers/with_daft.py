"""Daft: a folder of images to a folder of Parquet with features.

As its guides on images and on classes (``@daft.cls``) have it: glob, download, decode and resize as
expressions, the network in a class of its own that takes batches, its instances in processes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import daft
import numpy as np
from daft import DataType, col
from daft.functions import decode_image, download, resize

from network import Embedder, first_mark

parser = argparse.ArgumentParser()
parser.add_argument("images")
parser.add_argument("out")
parser.add_argument("--model", required=True)
parser.add_argument("--size", type=int, required=True)
parser.add_argument("--dimension", type=int, required=True)
parser.add_argument("--precision", default="bf16")
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--processes", action=argparse.BooleanOptionalAction, default=True)
asked = parser.parse_args()
cores = len(os.sched_getaffinity(0))


@daft.cls(max_concurrency=cores, use_process=asked.processes)
class Features:
    def __init__(self, *about: Any) -> None:
        self.network = Embedder(*about)

    @daft.method.batch(
        return_dtype=DataType.embedding(DataType.float32(), asked.dimension),
        batch_size=asked.batch,
    )
    def of(self, images: daft.Series) -> Any:
        return list(self.network.embed(np.stack(images.to_pylist())))


def main() -> None:
    daft.set_runner_native()
    begin = time.time()
    with tempfile.TemporaryDirectory() as marks:
        features = Features(asked.model, asked.size, min(32, asked.batch), asked.precision, marks)
        frame = daft.from_glob_path(f"{asked.images}/**/*.jpg")
        pixels = resize(decode_image(download(col("path")), mode="RGB"), asked.size, asked.size)
        frame = frame.with_column("image", pixels)
        frame = frame.with_column("features", features.of(col("image")))
        frame.select("path", "features").write_parquet(asked.out)
        end = time.time()
        rows = daft.read_parquet(f"{asked.out}/**/*.parquet").count_rows()
        print(
            json.dumps({"images": rows, "execution": end - begin, "work": end - first_mark(marks)})
        )


if __name__ == "__main__":
    main()
