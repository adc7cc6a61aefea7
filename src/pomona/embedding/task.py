"""The work of one Spark task: read, decode, embed, write. It runs in one Python process.

Stages are generators, batches in, batches out; what leaves is the name of a data file, some
counts and the rejects.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pomona.columns import lists_of
from pomona.embedding.runtime import Engine, Precision, Runtime, batch_for, shared_runtime
from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.images.fitting import fit_square
from pomona.images.layout import Layout
from pomona.images.reading import read_images
from pomona.memory import own_peak
from pomona.schema import ETAG, FEATURES_TABLE, LABEL, PATH, REASON, REJECTS_TABLE
from pomona.storage import Location, open_store
from pomona.storage.datafile import DataFile, write_datafile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pomona.embedding.network import Network, NetworkSpec

STAGES = ("read", "decode", "embed", "write")
"""The parts of a task that are timed."""


@dataclass(frozen=True)
class EmbedJob:
    """What every task of a run has to know; small and picklable.

    Attributes:
        run: the run's identity, for file names and rejects.
        root: the location that manifest paths are relative to.
        features: the location of the features table.
        layout: the template for label, split and group.
        limits: what is too large.
        spec: of the network.
        model: value of the ``model`` column.
        engine: what runs the network.
        precision: of its arithmetic.
        threads: cores of a task.
    """

    run: str
    root: Location
    features: Location
    layout: str
    limits: DecodeLimits
    spec: NetworkSpec
    model: str
    engine: Engine
    precision: Precision
    threads: int


@dataclass
class TaskResult:
    """What a task tells the driver.

    Attributes:
        file: the data file with the features; None where every image was rejected.
        rejects: rows of the rejects table.
        seconds: by stage.
        started: when the task began, seconds since the epoch.
        ended: when it was done.
        peak_bytes: largest resident memory of the worker process so far.
        bytes_read: of the images.
    """

    file: DataFile | None
    rejects: pa.RecordBatch
    seconds: dict[str, float]
    started: float
    ended: float
    peak_bytes: int
    bytes_read: int


@dataclass
class Watch:
    """Seconds by stage, and bytes read; generators that pull on one another are counted once."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    bytes_read: int = 0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as part of a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - begin


@dataclass(frozen=True)
class Decoded:
    """A batch of fitted images, and in which row each stands."""

    rows: list[int]
    widths: list[int]
    heights: list[int]
    pixels: NDArray[np.uint8]


def embed_rows(rows: pa.RecordBatch, job: EmbedJob, network: Network) -> TaskResult:
    """Embed the images of some manifest rows and write them as one data file.

    Args:
        rows: of the manifest; at most a few thousand, since their features are held in memory.
        job: the run's constants.
        network: what to run.

    Raises:
        StorageError: the data file cannot be written.
        ModelError: the network does not run here.
    """
    started, watch = time.time(), Watch()
    with watch("embed"):
        runtime = shared_runtime(
            network.spec, lambda: network, job.engine, job.precision, job.threads
        )
    rejects: list[tuple[int, RejectedImage]] = []
    blobs = _reads(rows, job, watch)
    paths = rows.column(PATH).to_pylist()
    batches = decode_batches(blobs, paths, job.spec.size, job.limits, rejects, watch)
    file = _writes(rows, _embeds(batches, runtime, watch), job, watch)
    return TaskResult(
        file=file,
        rejects=_reject_rows(rows, rejects, job),
        seconds=watch.seconds,
        started=started,
        ended=time.time(),
        peak_bytes=own_peak(),
        bytes_read=watch.bytes_read,
    )


def _reads(rows: pa.RecordBatch, job: EmbedJob, watch: Watch) -> Iterator[bytes | RejectedImage]:
    blobs = read_images(open_store(job.root), rows, job.limits)
    while True:
        with watch("read"):
            blob = next(blobs, None)
        if blob is None:
            return
        if isinstance(blob, bytes):
            watch.bytes_read += len(blob)
        yield blob


def decode_batches(
    blobs: Iterable[bytes | RejectedImage | None],
    paths: Sequence[str],
    size: int,
    limits: DecodeLimits,
    rejects: list[tuple[int, RejectedImage]],
    watch: Watch,
) -> Iterator[Decoded]:
    """Decode images and fit them into squares, a batch of the network at a time.

    Args:
        blobs: of each row its file, why there is none, or None for a row without an image.
        paths: of each row; see :func:`pomona.images.decoding.decode`.
        size: side of the squares in pixels.
        limits: what to refuse.
        rejects: row and reason of each image that cannot be used are appended here.
        watch: told of the time that decoding takes.

    Yields:
        Batches that share their pixels: use one before asking for the next.
    """
    capacity = batch_for(size)
    batch = Decoded([], [], [], np.empty((capacity, size, size, 3), np.uint8))
    for row, blob in enumerate(blobs):
        if blob is None:
            continue
        if isinstance(blob, RejectedImage):
            rejects.append((row, blob))
            continue
        with watch("decode"):
            try:
                image = decode(blob, wanted=size, limits=limits, path=paths[row])
            except RejectedImage as rejected:
                rejects.append((row, rejected))
                continue
            fit_square(image.pixels, batch.pixels[len(batch.rows)])
            batch.rows.append(row)
            batch.widths.append(image.width)
            batch.heights.append(image.height)
        if len(batch.rows) == capacity:
            yield batch
            batch = Decoded([], [], [], batch.pixels)
    if batch.rows:
        yield batch


def _embeds(
    batches: Iterable[Decoded], runtime: Runtime, watch: Watch
) -> Iterator[tuple[Decoded, NDArray[np.float32]]]:
    for batch in batches:
        with watch("embed"):
            features = runtime.embed(batch.pixels[: len(batch.rows)])
        yield batch, features


def _writes(
    rows: pa.RecordBatch,
    embedded: Iterable[tuple[Decoded, NDArray[np.float32]]],
    job: EmbedJob,
    watch: Watch,
) -> DataFile | None:
    kept: list[int] = []
    widths: list[int] = []
    heights: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for batch, features in embedded:
        kept += batch.rows
        widths += batch.widths
        heights += batch.heights
        parts.append(features)
    if not kept:
        return None
    with watch("write"):
        matrix = np.concatenate(parts)
        parts.clear()
        chosen = rows.take(pa.array(kept, pa.int32()))
        layout = Layout(job.layout)
        places = [layout.place(path) for path in chosen.column(PATH).to_pylist()]
        beside = chosen.column(LABEL).to_pylist()
        table = pa.Table.from_arrays(
            [
                chosen.column(PATH),
                chosen.column(ETAG),
                pa.array([b or p.label for b, p in zip(beside, places, strict=True)], pa.string()),
                pa.array([p.split for p in places], pa.string()),
                pa.array([p.group for p in places], pa.string()),
                pa.array(widths, pa.int32()),
                pa.array(heights, pa.int32()),
                pa.repeat(pa.scalar(job.model), len(matrix)),
                lists_of(matrix),
            ],
            schema=FEATURES_TABLE,
        )
        return write_datafile(open_store(job.features), table, job.run)


def _reject_rows(
    rows: pa.RecordBatch, rejects: list[tuple[int, RejectedImage]], job: EmbedJob
) -> pa.RecordBatch:
    paths, etags, reasons = rows.column(PATH), rows.column(ETAG), rows.column(REASON)
    found = [
        {
            "path": paths[row].as_py(),
            "etag": etags[row].as_py(),
            "stage": "list" if reasons[row].is_valid else rejected.reason.stage,
            "reason": str(rejected.reason),
            "message": rejected.message[:300],
            "run": job.run,
        }
        for row, rejected in rejects
    ]
    return pa.RecordBatch.from_pylist(found, schema=REJECTS_TABLE)
