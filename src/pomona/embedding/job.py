"""Embedding on Spark, seen from the driver: chunks out, commits back."""

from __future__ import annotations

import time
from collections import Counter, deque
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pomona.embedding.task import STAGES, EmbedJob, TaskResult, embed_rows
from pomona.images.planning import PlanLimits, cut_tasks, group_chunks
from pomona.schema import MODEL, PATH, REJECTS_TABLE, STAGE
from pomona.spark.jobs import run_chunks
from pomona.storage.datafile import write_datafile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyspark import Accumulator, Broadcast, SparkContext

    from pomona.embedding.known import KnownImages, Stale
    from pomona.embedding.network import Network
    from pomona.storage.table import Table


@dataclass
class EmbedTally:
    """What the commits of a run add up to.

    Attributes:
        embedded: rows committed to ``features``.
        rejected: rows committed to ``rejects``.
        replaced: rows of older versions that were removed from ``features``.
        reasons: rejects by reason.
        reject_stages: rejects by the stage that found them.
        seconds: core-seconds by stage of a task, and ``commit`` on the driver.
        first_start: when the first task began, seconds since the epoch.
        last_commit: when the last commit was done, likewise.
        busy: core-seconds that tasks took.
        tasks: number of tasks.
        peak_worker_bytes: largest resident memory of any worker process.
        bytes_read: of images.
    """

    embedded: int = 0
    rejected: int = 0
    replaced: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    reject_stages: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys((*STAGES, "commit"), 0.0)
    )
    first_start: float | None = None
    last_commit: float | None = None
    busy: float = 0.0
    tasks: int = 0
    peak_worker_bytes: int = 0
    bytes_read: int = 0

    @property
    def wall(self) -> float:
        """Seconds from the first task's start to the last commit."""
        if self.first_start is None or self.last_commit is None:
            return 0.0
        return self.last_commit - self.first_start


class _Work:
    """The payload of a task to its result; travels to the workers by name."""

    def __init__(self, job: EmbedJob, network: Broadcast[Network]) -> None:
        self._job = job
        self._network = network

    def __call__(self, payload: bytes) -> TaskResult:
        rows = pa.ipc.open_stream(payload).read_next_batch()
        return embed_rows(rows, self._job, self._network.value)


class _CountImages:
    """Tells the driver how many images a task has done."""

    def __init__(self, done: Accumulator[int], rejected: Accumulator[int]) -> None:
        self._done = done
        self._rejected = rejected

    def __call__(self, result: TaskResult) -> None:
        rows = result.file.rows if result.file else 0
        self._done.add(rows + result.rejects.num_rows)
        self._rejected.add(result.rejects.num_rows)


def embed_images(
    context: SparkContext,
    todo: Iterable[pa.RecordBatch],
    job: EmbedJob,
    network: Network,
    known: KnownImages,
    tables: tuple[Table, Table],
    limits: PlanLimits,
    on_progress: Callable[[int, int], None],
) -> EmbedTally:
    """Embed every image of ``todo`` and commit chunk by chunk.

    Args:
        context: Spark.
        todo: manifest rows.
        job: constants of the run.
        network: goes to the workers once.
        known: what the tables hold, to replace rows of changed images.
        tables: features and rejects.
        limits: how to cut.
        on_progress: called with images done and images rejected so far.

    Raises:
        PomonaError: what was committed before stays.
    """
    tally = EmbedTally()
    committer = _Committer(*tables, job, tally)
    stale: deque[Stale] = deque()
    done, rejected = context.accumulator(0), context.accumulator(0)

    def payloads() -> Iterator[list[bytes]]:
        for chunk in group_chunks(cut_tasks(todo, limits), limits):
            stale.append(known.stale(chunk))
            yield [serialised(rows) for rows in chunk]

    shipped = context.broadcast(network)
    results = run_chunks(
        context,
        payloads(),
        _Work(job, shipped),
        describe="embedding images",
        on_task=_CountImages(done, rejected),
        on_wait=lambda: on_progress(done.value, rejected.value),
    )
    try:
        with closing(results):
            for chunk in results:
                committer.commit(chunk, stale.popleft())
                on_progress(max(done.value, tally.embedded + tally.rejected), tally.rejected)
    finally:
        shipped.unpersist()
    return tally


class _Committer:
    """Turns the results of a chunk into one commit of each table."""

    def __init__(self, features: Table, rejects: Table, job: EmbedJob, tally: EmbedTally) -> None:
        self._features = features
        self._rejects = rejects
        self._job = job
        self._tally = tally
        # A rewritten data file has another name than the one known when the run began.
        self._renamed: dict[str, str | None] = {}

    def commit(self, results: list[TaskResult], stale: Stale) -> None:
        begin = time.perf_counter()
        tally = self._tally
        files = [result.file for result in results if result.file is not None]
        rejected = pa.Table.from_batches(
            [result.rejects for result in results], schema=REJECTS_TABLE
        )
        added, removed = list(files), []
        for name, paths in stale.features.items():
            dropped = self._rewrite(
                self._features, name, paths, lambda rows: pc.equal(rows[MODEL], self._job.model)
            )
            added += dropped[0]
            removed += dropped[1]
            tally.replaced += dropped[2]
        self._features.commit(added, removed=removed)
        # Should the run die here, the next one finds the images of this chunk that were rejected
        # unknown, and those with a row in both tables twice: it does them again.
        added, removed = [], []
        for name, paths in stale.rejects.items():
            dropped = self._rewrite(self._rejects, name, paths, None)
            added += dropped[0]
            removed += dropped[1]
        if rejected.num_rows:
            added.append(write_datafile(self._rejects.store, rejected, self._job.run))
        self._rejects.commit(added, removed=removed)
        tally.embedded += sum(file.rows for file in files)
        tally.rejected += rejected.num_rows
        tally.reasons.update(rejected["reason"].to_pylist())
        tally.reject_stages.update(rejected[STAGE].to_pylist())
        self._add_times(results)
        tally.seconds["commit"] += time.perf_counter() - begin
        tally.last_commit = time.time()

    def _rewrite(
        self, table: Table, name: str, paths: set[str], also: Callable[[pa.Table], Any] | None
    ) -> tuple[list[Any], list[str], int]:
        """Files to add, files to remove, and rows lost, when rows of some paths go."""
        current = self._renamed.get(name, name)
        if current is None:
            return [], [], 0
        wanted = pa.array(sorted(paths), pa.string())

        def unwanted(rows: pa.Table) -> pa.ChunkedArray:
            hit = pc.is_in(rows[PATH], wanted)
            return pc.and_(hit, also(rows)) if also is not None else hit

        before = table.read(current, [PATH]).num_rows
        kept = table.without(current, unwanted)
        self._renamed[name] = kept.path if kept else None
        return ([kept] if kept else []), [current], before - (kept.rows if kept else 0)

    def _add_times(self, results: list[TaskResult]) -> None:
        tally = self._tally
        for result in results:
            tally.tasks += 1
            tally.busy += result.ended - result.started
            tally.bytes_read += result.bytes_read
            tally.peak_worker_bytes = max(tally.peak_worker_bytes, result.peak_bytes)
            for stage, seconds in result.seconds.items():
                tally.seconds[stage] += seconds
        first = min(result.started for result in results)
        tally.first_start = first if tally.first_start is None else min(first, tally.first_start)


def serialised(rows: pa.RecordBatch) -> bytes:
    """The payload of a task: its manifest rows as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())
