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
    from pomona.steps.observer import Observer
    from pomona.storage import Location, Store
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
    """

    output: Location
    settings: Settings
    workspace: Workspace
    observer: Observer
    ledger: Ledger

    def __post_init__(self) -> None:
        self.features = Table(self.output.join("features"), FEATURES_TABLE)
        self.rejects = Table(self.output.join("rejects"), REJECTS_TABLE)
        self.components = Table(self.output.join("components"), COMPONENTS_TABLE)
        self.java: Java | None = None
        self._spark: Future[SparkContext] | None = None
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="pomona-spark")

    @property
    def store(self) -> Store:
        """OUTPUT as a store."""
        return open_store(self.output)

    def start_spark(self) -> Future[SparkContext]:
        """Begin to start Spark and its workers in the background, unless that was done."""
        from pomona.spark.java import find_java
        from pomona.spark.session import start_spark, warm_up

        if self._spark is None:
            self.java = find_java()
            self._spark = self._starter.submit(
                start_spark,
                self.settings.master,
                scratch=self.workspace.scratch,
                log=self.workspace.log,
                extra=self.settings.spark_conf,
                java=self.java,
            )
            self._starter.submit(lambda spark: warm_up(spark.result(), _WORK), self._spark)
        return self._spark

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


@contextmanager
def timed(ledger: Ledger, stage: str) -> Iterator[None]:
    """Add the seconds that the block takes to a stage of the ledger."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        ledger.seconds[stage] += time.perf_counter() - begin
