"""What listing and planning cost the driver when INPUT has ten million images.

    python benchmarks/planning.py [--keys 10_000_000] [--known 5_000_000]

The keys are made up, batch by batch, as a bucket would list them; everything from there to the
bytes that go to Spark's tasks is the chain's own code. No image is read and Spark is not started.
Half of the keys may stand in the tables already (``--known``), as when a data set has doubled.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pomona.embedding.job import serialised
from pomona.embedding.known import KnownImages
from pomona.images.manifest import Manifest
from pomona.images.planning import PlanLimits, cut_tasks, group_chunks
from pomona.memory import peak_of
from pomona.schema import FEATURES_TABLE, MANIFEST, REJECTS_TABLE
from pomona.storage import Location, open_store
from pomona.storage.datafile import write_datafile
from pomona.storage.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 16_384
SLOTS = 64
MODEL = "net-0123456789ab@224px-bf16"


def listing(begin: int, end: int) -> Iterator[pa.RecordBatch]:
    """Keys of 57 bytes or so: ``fruits/Training/Apple Braeburn 17/r_0001234567_100.jpg``."""
    for first in range(begin, end, BATCH):
        numbers = pa.array(np.arange(first, min(first + BATCH, end)))
        kinds = pc.cast(pc.divide(numbers, 50_000), pa.string())
        digits = pc.utf8_lpad(pc.cast(numbers, pa.string()), 10, "0")
        paths = pc.binary_join_element_wise(
            "fruits/Training/Apple Braeburn ", kinds, "/r_", digits, "_100.jpg", ""
        )
        sizes = pa.array(4_000 + np.arange(first, first + len(numbers)) % 3_000)
        etags = pc.binary_join_element_wise("186", digits, "ab12-1f40", "")
        nothing = [pa.nulls(len(numbers), field.type) for field in list(MANIFEST)[3:]]
        yield pa.RecordBatch.from_arrays([paths, etags, sizes, *nothing], schema=MANIFEST)


def remembered(folder: Path, known: int) -> tuple[Table, Table]:
    """Tables that hold the first ``known`` keys, 64 thousand a file, with features of length 1."""
    features = Table(Location.parse(folder / "features"), FEATURES_TABLE)
    rejects = Table(Location.parse(folder / "rejects"), REJECTS_TABLE)
    features.create()
    rejects.create()
    files = []
    for begin in range(0, known, 65_536):
        keys = pa.Table.from_batches(listing(begin, min(begin + 65_536, known)))
        rows = len(keys)
        columns = {name: pa.nulls(rows, pa.string()) for name in ("label", "split", "group")}
        columns |= {
            "path": keys["path"],
            "etag": keys["etag"],
            "width": pa.array(np.full(rows, 100, np.int32)),
            "height": pa.array(np.full(rows, 100, np.int32)),
            "model": pa.array([MODEL] * rows),
            "features": pa.array(np.zeros((rows, 1), np.float32).tolist()),
        }
        table = pa.table([columns[name] for name in FEATURES_TABLE.names], schema=FEATURES_TABLE)
        files.append(write_datafile(open_store(features.location), table, "benchmark"))
    features.commit(files)
    return features, rejects


took: dict[str, float] = {}


@contextmanager
def measured(what: str) -> Iterator[None]:
    begin, used = time.perf_counter(), time.process_time()
    yield
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    peak = peak_of(os.getpid()) / 1e6
    took[what] = seconds
    print(f"{what:<46}{seconds:>8.1f} s{used:>8.1f} s{peak:>10,.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--known", type=int, default=5_000_000)
    parser.add_argument("--json", action="store_true", help="print figures for the suite")
    options = parser.parse_args()
    if not options.json:
        measure(options)
        return
    figures, sys.stdout = sys.stdout, sys.stderr
    measure(options)
    made_up, *planned = took.values()
    # The listing makes the keys up; that is not the chain's work.
    first, again = sum(planned[:2]) - made_up, sum(planned[2:])
    peak = peak_of(os.getpid()) / 1e6
    found = {"keys": options.keys, "seconds": first, "again_seconds": again, "peak_mb": peak}
    print(json.dumps(found), file=figures)


def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{'':<46}{'time':>10}{'of a core':>10}{'peak so far':>13}")
        with measured("(making up the keys)"):
            rows = sum(batch.num_rows for batch in listing(0, options.keys))
        with measured(f"manifest of {rows:,} keys"):
            manifest = Manifest.write(listing(0, options.keys), folder / "manifest.arrow")
            layout = manifest.detect_layout().template
        limits = PlanLimits.for_slots(SLOTS, manifest.rows)
        with measured("cut into tasks and chunks, and serialised"):
            tasks = chunks = size = 0
            for chunk in group_chunks(cut_tasks(manifest, limits), limits):
                payloads = [serialised(task) for task in chunk]
                tasks, chunks = tasks + len(payloads), chunks + 1
                size += sum(map(len, payloads))
        spilled = (folder / "manifest.arrow").stat().st_size
        print(f"  {layout}; {spilled / rows:.0f} bytes a key on disk, {size / rows:.0f} sent")
        print(f"  {tasks:,} tasks in {chunks:,} chunks for {SLOTS} slots")
        if not options.known:
            return
        tables = remembered(folder, options.known)
        with measured(f"{options.known:,} known images loaded"):
            known = KnownImages(*tables, MODEL)
        with measured("manifest of what is new"):
            todo = Manifest.write(known.unknown(manifest), folder / "todo.arrow")
        with measured("the same cut, looked up and serialised"):
            for chunk in group_chunks(cut_tasks(todo, limits), limits):
                known.stale(chunk)
                for task in chunk:
                    serialised(task)
        print(f"  {todo.rows:,} to embed, {known.gone:,} gone")


if __name__ == "__main__":
    main()
