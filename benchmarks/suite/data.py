"""What the suite measures on: images unpacked from tars, and features as the chain leaves them."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pomona.columns import lists_of
from pomona.schema import COMPONENTS_TABLE, FEATURES_TABLE, REJECTS_TABLE
from pomona.storage import Location, open_store
from pomona.storage.datafile import DataFile, write_datafile
from pomona.storage.table import Table

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "benchmark@100px-bf16"


def unpack(tar: Path, folder: Path) -> Path:
    """The images of a tar as files; done once."""
    place = folder / tar.stem
    if not place.exists():
        half = place.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        with tarfile.open(tar) as archive:
            archive.extractall(half, filter="data")
        half.rename(place)
    return place


def images_below(folder: Path) -> list[Path]:
    """Every JPEG, in a fixed order."""
    return sorted(folder.rglob("*.jpg"))


def sample(source: Path, count: int, place: Path) -> Path:
    """``count`` images spread evenly over a folder, as links in the same tree."""
    shutil.rmtree(place, ignore_errors=True)
    found = images_below(source)
    for at in range(min(count, len(found))):
        file = found[at * len(found) // min(count, len(found))]
        _link(file, place / file.relative_to(source))
    return place


def repeat(sources: list[Path], count: int, place: Path) -> Path:
    """``count`` images in one tree ``Training/<class>/``: those of some folders, over and over.

    Every image is a link to a file that is there already, under a name of its own.
    """
    shutil.rmtree(place, ignore_errors=True)
    found = [(at, file) for at, source in enumerate(sources) for file in images_below(source)]
    for at in range(count):
        number, file = found[at % len(found)]
        name = f"{at // len(found)}.{number}-{file.name}"
        _link(file, place / "Training" / file.parent.name / name)
    return place


def _link(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    os.link(file, place)


def many_features(source: Path, rows: int, output: Path) -> Path:
    """An OUTPUT whose table ``features`` has ``rows`` rows, made of the rows of another OUTPUT.

    Rows are repeated with a little noise, so that no two are alike, and written as the chain writes
    them: 1,024 a file.
    """
    shutil.rmtree(output, ignore_errors=True)
    tables = [
        Table(Location.parse(output / name), schema)
        for name, schema in (
            ("features", FEATURES_TABLE),
            ("rejects", REJECTS_TABLE),
            ("components", COMPONENTS_TABLE),
        )
    ]
    features = tables[0]
    for table in tables[:2]:
        table.create()
    real = Table(Location.parse(source / "features"), FEATURES_TABLE)
    parts = [real.read(file.path, ["features"]) for file in real.files()]
    matrix = np.concatenate(
        [
            part["features"].combine_chunks().flatten().to_numpy().reshape(len(part), -1)
            for part in parts
        ]
    )
    chance = np.random.default_rng(0)
    spread = matrix.std(axis=0)
    store = open_store(features.location)
    files: list[DataFile] = []
    for begin in range(0, rows, 1_024):
        count = min(1_024, rows - begin)
        chosen = matrix[(begin + np.arange(count)) % len(matrix)]
        noise = chance.standard_normal(chosen.shape, np.float32) * spread * np.float32(0.1)
        files.append(write_datafile(store, _rows(begin, chosen + noise), "benchmark"))
    features.commit(files)
    ledger = {"status": "done", "steps": ["embed"], "model": MODEL}
    runs = output / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    (runs / "20000101T000000Z-0000.json").write_text(json.dumps(ledger))
    return output


def _rows(begin: int, matrix: np.ndarray) -> pa.Table:
    count = len(matrix)
    names = pa.array([f"made/up/{begin + at}.jpg" for at in range(count)])
    hundred = pa.array(np.full(count, 100, np.int32))
    columns = {
        "path": names,
        "etag": names,
        "width": hundred,
        "height": hundred,
        "model": pa.array([MODEL] * count),
        "features": lists_of(matrix.astype(np.float32)),
    }
    filled = [columns.get(field.name, pa.nulls(count, field.type)) for field in FEATURES_TABLE]
    return pa.Table.from_arrays(filled, schema=FEATURES_TABLE)
