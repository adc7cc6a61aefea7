"""What the chain is measured against: the network alone, and a plain loop without Spark.

    python benchmarks/loops.py bare|whole SOURCE --precision bf16 [--model FILE --size 100]

``bare``: one process a core, each with the network in a loop over decoded pixels.
``whole``: one process a core, each reads, decodes and embeds its share of the images.

One thread a process. Timed from the moment when every process has compiled the network, since the
chain's own worker processes do that once as well.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import time
from collections.abc import Callable, Iterator
from contextlib import closing
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
    work: Work, network: Network, how: tuple[str, str], batches: list[pa.RecordBatch],
    root: Location, cores: int,
) -> tuple[int, float]:  # fmt: skip
    """Images and seconds of one process a core."""
    context = mp.get_context("spawn")
    ready, results = context.Barrier(cores), context.Queue()
    shares = [[_share(batch, index, cores) for batch in batches] for index in range(cores)]
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
    return done, max(end for _, _, end in found) - min(begin for _, begin, _ in found)


def _share(batch: pa.RecordBatch, index: int, cores: int) -> pa.RecordBatch:
    begin, end = (batch.num_rows * at // cores for at in (index, index + 1))
    return batch.slice(begin, end - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=("bare", "whole"))
    parser.add_argument("source")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--size", type=int)
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--cores", type=int, default=usable_cores())
    asked = parser.parse_args()
    network = resolve(asked.model, size=asked.size)
    source = open_source(asked.source)
    with closing(list_images(source, SkippedFiles())) as listed:  # type: ignore[type-var]
        batches = list(listed)
    work = bare if asked.work == "bare" else whole
    how = (asked.engine, asked.precision)
    images, seconds = loop(work, network, how, batches, source.root, asked.cores)
    print(json.dumps({"images": images, "seconds": seconds}))


if __name__ == "__main__":
    main()
