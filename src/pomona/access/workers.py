"""What ``doctor`` finds of Spark: whether it starts, and what its workers are."""

from __future__ import annotations

import platform
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from pomona.access.check import Check, attempt, fail, ok, warn
from pomona.access.probe import ENGINES, Worker, probe
from pomona.errors import SparkError
from pomona.spark.jobs import run_chunks
from pomona.spark.meeting import meet
from pomona.spark.session import archive, is_local, slots_of, start_spark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyspark import SparkContext

    from pomona.workspace import Workspace

_PATIENCE = 120.0
"""Seconds that Spark may take to start, and a probe to come back."""

Result = TypeVar("Result")


def check_spark(
    workspace: Workspace,
    *,
    master: str,
    spark_conf: Mapping[str, str] | None = None,
    environment: str | None = None,
    patience: float = _PATIENCE,
) -> Iterator[Check]:
    """Start Spark, run a job of one probe for each task slot, and stop it again.

    Yields:
        The checks ``spark``, ``workers`` and ``network``; the last two say that they were not
        tried where Spark did not start.
    """
    contexts: list[SparkContext] = []

    def start() -> Check:
        begin = time.perf_counter()
        context = _within(
            patience,
            lambda: start_spark(
                master,
                scratch=workspace.scratch,
                log=workspace.log,
                extra=spark_conf,
                environment=archive(environment),
                check=False,
            ),
            SparkError(
                f"Spark had not started with the master {master} after {patience:.0f} s.",
                f"The reason may be at the end of {workspace.log}.",
            ),
        )
        contexts.append(context)
        seconds = time.perf_counter() - begin
        return ok("spark", f"Spark {context.version} started in {seconds:.1f} s, master {master}")

    yield attempt("spark", start)
    if not contexts:
        for name in ("workers", "network"):
            yield warn(name, "not tried, since Spark did not start", "Mend that first.")
        return
    workers: list[Worker] = []

    def ask() -> Check:
        if not is_local(contexts[0].master):
            meet(contexts[0])
        workers.extend(_within(patience, lambda: _probe_all(contexts[0]), _silent(patience)))
        return judge_interpreters(workers, local=is_local(master))

    try:
        yield attempt("workers", ask)
        if workers:
            yield attempt("network", lambda: judge_engines(workers))
        else:
            yield warn("network", "not tried, since no worker answered", "Mend that first.")
    finally:
        contexts[0].stop()


def judge_interpreters(workers: list[Worker], *, local: bool) -> Check:
    """Whether the workers run what the driver runs.

    Args:
        workers: at least one.
        local: whether they are on this machine, where the interpreter has to be the same file.
    """
    from pomona import __version__

    hosts = len({worker.host for worker in workers})
    processes = len({(worker.host, worker.process) for worker in workers})
    found = f"{processes} worker processes on {hosts} machines" if not local else ""
    for worker in workers:
        if local and worker.interpreter != sys.executable:
            return fail(
                "workers",
                f"they run {worker.interpreter}, the driver {sys.executable}",
                "Leave spark.pyspark.python out of --spark-conf.",
            )
        if worker.python.split(".")[:2] != platform.python_version().split(".")[:2]:
            return fail(
                "workers",
                f"{worker.host} runs Python {worker.python}, the driver "
                f"{platform.python_version()}",
                "Install the same Python (first two numbers) on every worker.",
            )
        if worker.pomona != __version__:
            return fail(
                "workers",
                f"{worker.host} has pomona {worker.pomona}, the driver {__version__}",
                f"pip install pomona=={__version__} on every worker.",
            )
    if local:
        found = f"{processes} on this machine, same interpreter ({workers[0].interpreter})"
    return ok("workers", f"{found}, Python {workers[0].python}, pomona {__version__}")


def judge_engines(workers: list[Worker]) -> Check:
    """Whether each worker can embed an image, and with which of the network runtimes."""
    for worker in workers:
        if not worker.engines:
            told = "; ".join(f"{name}: {why}" for name, why in worker.faults.items())
            return fail(
                "network",
                f"no network runtime works on {worker.host}: {told}",
                f"pip install --force-reinstall {' '.join(ENGINES)} there.",
            )
    have = " and ".join(f"{name} {version}" for name, version in workers[0].engines.items())
    found = f"the workers embed an image with {have}: {workers[0].dimension} features"
    for worker in workers:
        for name, why in worker.faults.items():
            return warn(
                "network",
                f"{found}; {name} does not work on {worker.host}: {why}",
                f"pip install --force-reinstall {name} there; until then the chain uses the other.",
            )
    return ok("network", found)


def _probe_all(context: SparkContext) -> list[Worker]:
    payloads = list(range(slots_of(context)))
    found: list[Worker] = []
    for chunk in run_chunks(context, [payloads], probe, describe="probing the workers"):
        found += chunk
    return found


def _silent(patience: float) -> SparkError:
    return SparkError(
        f"No worker answered within {patience:.0f} s.",
        "See whether the master has workers, with free cores and memory.",
    )


def _within(seconds: float, work: Callable[[], Result], late: SparkError) -> Result:
    """The result of ``work``, or ``late`` raised when it takes too long; it is then left alone."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="pomona-doctor")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise late
    return results[0]
