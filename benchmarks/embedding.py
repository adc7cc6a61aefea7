"""`pomona embed` beside its physical limit, in one run, paired and repeated.

    .venv/bin/python benchmarks/embedding.py fruits360-33.tar [--model FILE --size 100]

(a) the bare network: one process a core, each in a loop over decoded pixels;
(b) read, decode and network: one process a core, each over its share of the images, without Spark;
(c) `pomona embed`, from the first task's start to the last commit.

All three run the same network by the same engine in the same precision, with one thread a process.
(a) and (b) are timed from the moment when every process has compiled the network.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pomona.embedding.catalogue import DEFAULT_MODEL, resolve
from pomona.embedding.network import Network
from pomona.embedding.runtime import Precision, Runtime, open_runtime
from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.images.fitting import fit_square
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.images.reading import read_images
from pomona.schema import PATH
from pomona.spark.session import usable_cores
from pomona.storage import Location, open_store

Work = Callable[[Runtime, Network, list[pa.RecordBatch], Location], int]


def bare(runtime: Runtime, network: Network, rows: list[pa.RecordBatch], _: Location) -> int:
    size = network.spec.size
    pixels = np.random.default_rng(0).integers(0, 256, (runtime.batch, size, size, 3), np.uint8)
    batches = sum(batch.num_rows for batch in rows) // runtime.batch
    for _i in range(batches):
        runtime.embed(pixels)
    return batches * runtime.batch


def whole(runtime: Runtime, network: Network, rows: list[pa.RecordBatch], root: Location) -> int:
    size, done = network.spec.size, 0
    batch = np.empty((runtime.batch, size, size, 3), np.uint8)
    for pixels in _pixels(rows, root, size):
        fit_square(pixels, batch[done % runtime.batch])
        done += 1
        if done % runtime.batch == 0:
            runtime.embed(batch)
    if done % runtime.batch:
        runtime.embed(batch[: done % runtime.batch])
    return done


def _pixels(rows: list[pa.RecordBatch], root: Location, size: int) -> Iterator[Any]:
    limits, store = DecodeLimits(), open_store(root)
    for batch in rows:
        paths = batch.column(PATH).to_pylist()
        for path, blob in zip(paths, read_images(store, batch, limits), strict=True):
            if not isinstance(blob, RejectedImage):
                yield decode(blob, wanted=size, limits=limits, path=path).pixels


def _process(
    work: Work,
    network: Network,
    engine: Any,
    precision: Precision,
    rows: list[pa.RecordBatch],
    root: Location,
    ready: Any,
    results: Any,
) -> None:
    runtime = open_runtime(network, engine=engine, precision=precision, threads=1)
    size = network.spec.size
    runtime.embed(np.zeros((runtime.batch, size, size, 3), np.uint8))
    ready.wait()
    begin = time.monotonic()
    done = work(runtime, network, rows, root)
    results.put((done, begin, time.monotonic()))


def loop(
    work: Work, network: Network, choice: dict[str, Any], batches: list[pa.RecordBatch],
    root: Location, cores: int,
) -> float:  # fmt: skip
    """Images a second of one process a core."""
    context = mp.get_context("spawn")
    ready, results = context.Barrier(cores), context.Queue()
    shares = [[_share(batch, index, cores) for batch in batches] for index in range(cores)]
    how = (choice["engine"], choice["precision"])
    processes = [
        context.Process(target=_process, args=(work, network, *how, share, root, ready, results))
        for share in shares
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    done = sum(count for count, _, _ in found)
    return done / (max(end for _, _, end in found) - min(begin for _, begin, _ in found))


def _share(batch: pa.RecordBatch, index: int, cores: int) -> pa.RecordBatch:
    begin, end = (batch.num_rows * at // cores for at in (index, index + 1))
    return batch.slice(begin, end - begin)


def chain(source: str, options: list[str], folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "pomona", "embed", source, str(folder), "--json", "--quiet"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    facts["network"] = json.loads(next((folder / "runs").glob("*.json")).read_text())["network"]
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--size", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path, help="write the figures there too")
    asked = parser.parse_args()
    network = resolve(asked.model, size=asked.size)
    options = ["--model", asked.model, "--master", f"local[{asked.cores}]"]
    options += ["--size", str(asked.size)] if asked.size else []
    source = open_source(asked.source)
    with closing(list_images(source, SkippedFiles())) as listed:  # type: ignore[type-var]
        batches = list(listed)
    rates: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    facts: dict[str, Any] = {}
    for number in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            facts = chain(asked.source, options, Path(folder) / "out")
        rates["c"].append(facts["embedded"] / facts["seconds"]["embed_wall"])
        for name, work in (("a", bare), ("b", whole)):
            rates[name].append(
                loop(work, network, facts["network"], batches, source.root, asked.cores)
            )
        shown = ", ".join(f"({name}) {values[-1]:,.0f}" for name, values in rates.items())
        print(f"round {number + 1}: {shown} images/s", flush=True)
    ratios = {
        name: statistics.median(c / other for c, other in zip(rates["c"], rates[name], strict=True))
        for name in ("a", "b")
    }
    report = {
        "network": facts["network"],
        "images": facts["embedded"],
        "cores": asked.cores,
        "images_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "chain_to_bare_network": ratios["a"],
        "chain_to_loop": ratios["b"],
        "peak_bytes": facts["peak_bytes"],
    }
    print(f"pomona embed: {ratios['b']:.2f} of (b), {ratios['a']:.2f} of (a); medians of the pairs")
    peaks = ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in facts["peak_bytes"].items())
    print(f"largest resident memory: {peaks}")
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
