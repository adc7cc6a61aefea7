"""Ray Data: a folder of images to a folder of Parquet with features.

As its guides on images and on batch inference have it: ``read_images`` with a size, the network in
a class that a pool of actors runs, one for each core, ``write_parquet``. Actors ask for half a
core, so that tasks that read have a place beside them.
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

import ray

from network import Embedder, first_mark


class Features:
    def __init__(self, *about: Any) -> None:
        self.network = Embedder(*about)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"path": batch["path"], "features": self.network.embed(batch["image"])}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("out")
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--dimension", type=int, required=True)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--actor-cores", type=float, default=0.5)
    asked = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=cores,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    begin = time.time()
    with tempfile.TemporaryDirectory() as marks:
        rows = ray.data.read_images(
            asked.images, size=(asked.size, asked.size), mode="RGB", include_paths=True
        )
        rows = rows.map_batches(
            Features,
            fn_constructor_args=(
                asked.model, asked.size, min(32, asked.batch), asked.precision, marks,
            ),
            batch_size=asked.batch,
            compute=ray.data.ActorPoolStrategy(size=cores),
            num_cpus=asked.actor_cores,
        )  # fmt: skip
        rows.write_parquet(asked.out)
        end = time.time()
        first = first_mark(marks)
    import pyarrow.dataset as ds

    count = ds.dataset(asked.out, format="parquet").count_rows()
    print(json.dumps({"images": count, "execution": end - begin, "work": end - first}))
    ray.shutdown()


if __name__ == "__main__":
    main()
