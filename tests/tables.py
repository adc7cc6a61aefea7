"""A small ``features`` table, written as the chain writes it, but without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pomona.columns import lists_of
from pomona.schema import FEATURES_TABLE
from pomona.storage import Location
from pomona.storage.datafile import write_datafile
from pomona.storage.table import Table

_RNG = np.random.default_rng(3)
PATHS = [
    "a/plain.jpg",
    'b/"quoted", and comma.jpg',
    "c/=SUM(A1).jpg",
    "d/línea\nnueva.jpg",
    "e/ü.jpg",
]
VALUES = _RNG.normal(size=(5, 7)).astype(np.float32)
VALUES[0, :3] = [1e-38, 3.4e38, -0.0]


def write_features(output: Path | str) -> Table:
    """Features of two models in two files; the rows of model ``m`` are those above."""
    table = Table(Location.parse(output).join("features"), FEATURES_TABLE)
    table.create()
    files = []
    for rows, model in (([0, 1, 2], "m"), ([3, 4], "m"), ([0], "other")):
        columns: list[Any] = [
            [PATHS[i] for i in rows],
            ["1-a"] * len(rows),
            [None if i == 1 else "Apfel, rot" for i in rows],
            [None] * len(rows),
            [None] * len(rows),
            [100] * len(rows),
            [90] * len(rows),
            [model] * len(rows),
        ]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, FEATURES_TABLE, strict=False)]
        part = pa.Table.from_arrays([*arrays, lists_of(VALUES[rows])], schema=FEATURES_TABLE)
        files.append(write_datafile(table.store, part, model))
    table.commit(files)
    return table
