"""What the steps of one run share: OUTPUT's tables, the ledger, the settings, and Spark."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomona.memory import peak_of
from pomona.schema import COMPONENTS_TABLE, FEATURES_TABLE, REJECTS_TABLE
from pomona.storage import open_store
from pomona.storage.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark import SparkContext

    from pomona.ledger import Ledger
    from pomona.settings import Settings
    from pomona.spark.java import Java
    from pomona.spark.meeting import Greeting
    from pomona.steps.observer import Observer
    from pomona.storage import Location, Store
    from pomona.storage.sight import Sight
    from pomona.workspace import Workspace

_WORK = "pomona.embedding.task"
"""What a worker will need; reducing needs no more of it than arrays and tables."""


@dataclass
class Run:
    """One run on one OUTPUT.

    Attributes:
        output: where the tables are.
        settings: in force.
        workspace: of this run.
        observer: told what happens.
        ledger: what has happened so far.
        source: INPUT, for steps that read it.
    """

    output: Location
    settings: Settings
    workspace: Workspace
    observer: Observer
    ledger: Ledger
    source: Location | None = None

    def __post_init__(self) -> None:
        self.features = Table(self.output.join("features"), FEATURES_TABLE)
        self.rejects = Table(self.output.join("rejects"), REJECTS_TABLE)
        self.components = Table(self.output.join("components"), COMPONENTS_TABLE)
        self.java: Java | None = None
        self.greetings: list[Greeting] = []
        self._spark: Future[SparkContext] | None = None
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="pomona-spark")

    @property
    def store(self) -> Store:
        """OUTPUT as a store."""
        return open_store(self.output)

    def start_spark(self) -> Future[SparkContext]:
        """Begin to start Spark and its workers in the background, unless that was done."""
        from pomona.spark.java import find_java
        from pomona.spark.session import warm_up

        if self._spark is None:
            self.java = find_java()
            self._spark = self._starter.submit(self._start, self.java)
            self._starter.submit(lambda spark: warm_up(spark.result(), _WORK), self._spark)
        return self._spark

    def _start(self, java: Java) -> SparkContext:
        from pomona.spark.session import archive, is_local, start_spark

        context = start_spark(
            self.settings.master,
            scratch=self.workspace.scratch,
            log=self.workspace.log,
            extra=self.settings.spark_conf,
            java=java,
            environment=archive(self.settings.environment),
            on_meeting=self.greetings.extend,
        )
        if not is_local(context.master):
            try:
                self._compare_sights(context)
            except BaseException:
                context.stop()
                raise
        return context

    def _compare_sights(self, context: SparkContext) -> None:
        """Make sure that every worker sees INPUT and OUTPUT.

        Raises:
            UsageError: one does not.
            StorageError: one does not reach a bucket.
        """
        from pomona.spark.jobs import run_chunks
        from pomona.spark.session import slots_of
        from pomona.storage.sight import sights

        with sights(self.source, self.output) as wanted:
            everywhere = [wanted] * slots_of(context)
            for _ in run_chunks(context, [everywhere], _look, describe="comparing what is seen"):
                pass

    def context(self) -> SparkContext:
        """Spark, once it is up.

        Raises:
            SparkError: it did not start.
        """
        starting = self.start_spark()
        if not starting.done():
            self.observer.stage("start")
        with timed(self.ledger, "start"):
            return starting.result()

    def stop_spark(self) -> None:
        """End Spark, if it was started, and note how much memory its Java took."""
        from pomona.spark.session import java_process

        self._starter.shutdown(wait=True)
        if self._spark is not None and self._spark.exception() is None:
            context = self._spark.result()
            self.ledger.peak_bytes["java"] = peak_of(java_process(context))
            context.stop()


def _look(wanted: list[Sight]) -> None:
    """What runs on a worker."""
    for sight in wanted:
        sight.look()


@contextmanager
def timed(ledger: Ledger, stage: str) -> Iterator[None]:
    """Add the seconds that the block takes to a stage of the ledger."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        ledger.seconds[stage] += time.perf_counter() - begin
