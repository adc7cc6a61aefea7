"""How long `pomona train` takes on a table of the size of the whole of Fruits-360.

    python benchmarks/training.py [--rows 67692] [--dimension 1280] [--classes 131]

The features are drawn at random around a mean for each class; prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pomona.columns import lists_of
from pomona.schema import FEATURES_TABLE
from pomona.storage import Location, open_store
from pomona.storage.datafile import write_datafile
from pomona.storage.table import Table

_ROWS_OF_FILE = 4_096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=67_692)
    parser.add_argument("--dimension", type=int, default=1_280)
    parser.add_argument("--classes", type=int, default=131)
    parser.add_argument("--master", default="local[2]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        write_table(output, options.rows, options.dimension, options.classes)
        begin = time.perf_counter()
        command = ["train", str(output), "--master", options.master, "--json", "-q"]
        done = subprocess.run(
            [sys.executable, "-m", "pomona", *command], capture_output=True, text=True, check=True
        )
        facts = json.loads(done.stdout)
        told = {
            "rows": options.rows,
            "dimension": options.dimension,
            "classes": options.classes,
            "wall": round(time.perf_counter() - begin, 1),
            "train": facts["seconds"]["train"],
            "spark start": facts["seconds"]["start"],
            "validation accuracy": facts["classifier"]["validation"]["accuracy"],
            "peak MiB": {name: size >> 20 for name, size in facts["peak_bytes"].items()},
        }
        print(json.dumps(told))


def write_table(output: Path, rows: int, dimension: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    means = rng.gamma(0.5, size=(classes, dimension)).astype(np.float32)
    table = Table(Location.parse(output / "features"), FEATURES_TABLE)
    table.create()
    store, files = open_store(table.location), []
    of_row = np.sort(np.arange(rows) % classes)
    frames = np.arange(rows) - np.searchsorted(of_row, of_row)
    for at in range(0, rows, _ROWS_OF_FILE):
        labels = of_row[at : at + _ROWS_OF_FILE]
        noise = rng.normal(scale=2.0, size=(len(labels), dimension)).astype(np.float32)
        names = [f"Fruit {label:03d}" for label in labels]
        count = len(labels)
        paths = [f"{n}/{frame}_100.jpg" for n, frame in zip(names, frames[at:], strict=False)]
        columns = [
            pa.array(paths),
            pa.array(["0"] * count),
            pa.array(names),
            pa.nulls(count, pa.string()),
            pa.nulls(count, pa.string()),
            pa.array([100] * count, pa.int32()),
            pa.array([100] * count, pa.int32()),
            pa.array(["synthetic-0@100px-fp32"] * count),
            lists_of(np.maximum(means[labels] + noise, 0)),
        ]
        files.append(
            write_datafile(store, pa.Table.from_arrays(columns, schema=FEATURES_TABLE), "made")
        )
    table.commit(files)


if __name__ == "__main__":
    main()
