"""Starting and stopping Spark, quietly, with the interpreter that runs Pomona."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import TYPE_CHECKING

from pomona.errors import SparkError
from pomona.spark.java import Java, find_java

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyspark import SparkContext

_LOCAL = re.compile(r"^local(?:\[\s*(\*|\d+)\s*(?:,\s*\d+\s*)?\])?$")
_RETRIES = 4
"""Attempts of a task. Spark's local mode has one by default, so that a worker that the system
killed would end the run."""

_LOG4J = """rootLogger.level = {level}
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{HH:mm:ss}} %p %c{{1}}: %m%n%ex
"""

_JVM_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""For a driver that only hands out keys: starts in half the time and leaves the cores alone."""


def start_spark(
    master: str,
    *,
    scratch: Path,
    log: Path,
    extra: Mapping[str, str] | None = None,
    verbose: bool = False,
    java: Java | None = None,
) -> SparkContext:
    """Start Spark, or take the context that this process already has.

    Args:
        master: as Spark names it.
        scratch: a folder of this run, for Spark's temporary files.
        log: everything that Java and the workers print is appended here.
        extra: further Spark settings; they win over those chosen here.
        verbose: whether Spark logs more than warnings.
        java: the runtime to use; by default what :func:`find_java` finds.

    Raises:
        SparkError: Java did not start, or the master does not answer.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.java_gateway import launch_gateway

    if SparkContext._active_spark_context is not None:
        return SparkContext._active_spark_context
    java = java or find_java()
    conf = SparkConf(loadDefaults=False)
    for key, value in (_settings(master, scratch, verbose) | dict(extra or {})).items():
        conf.set(key, value)
    environment = {
        "JAVA_HOME": str(java.spark_home_for(scratch)),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(scratch),
    }
    # Whatever another Spark on this machine has set up would be mixed in.
    for name in ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    try:
        with log.open("ab") as stream:
            # A session of its own: Ctrl-C is for the driver, which then ends Java in order.
            gateway = launch_gateway(  # type: ignore[no-untyped-call]
                conf, {"stdout": stream, "stderr": stream, "start_new_session": True}
            )
        return SparkContext(conf=conf, gateway=gateway)
    except PySparkException as error:
        raise SparkError(
            f"Java did not start ({java}).",
            f"The reason is at the end of {log}.",
        ) from error
    except Exception as error:
        raise SparkError(
            f"Spark did not start with the master {master}: {_first_line(error)}",
            "Check the address of the master, or leave --master out to use this machine.",
        ) from error


def slots_of(context: SparkContext) -> int:
    """Tasks that run at the same time."""
    cpus = int(context.getConf().get("spark.task.cpus", "1") or 1)
    return max(1, context.defaultParallelism // cpus)


def task_cores(context: SparkContext) -> int:
    """Cores that one task has to itself."""
    return int(context.getConf().get("spark.task.cpus", "1") or 1)


def warm_up(context: SparkContext, module: str) -> None:
    """Start every slot's Python worker and let it import a module, while the driver goes on."""
    slots = slots_of(context)
    context.parallelize(range(slots), slots).foreachPartition(_Import(module))


class _Import:
    """Runs on a worker; slow enough that no worker takes two of them."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __call__(self, _: object) -> None:
        importlib.import_module(self._module)


def java_process(context: SparkContext) -> int:
    """Process id of the Java that this context started; 0 where it runs elsewhere."""
    process = getattr(context._gateway, "proc", None)
    return int(process.pid) if process is not None else 0


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_local(master: str) -> bool:
    """Whether the workers are on this machine, inside the driver's Java."""
    return _LOCAL.match(master) is not None


def local_tasks(master: str) -> int | None:
    """Tasks at a time of a local master; None where the workers are elsewhere."""
    match = _LOCAL.match(master)
    if match is None:
        return None
    cores = match.group(1) or "1"
    return usable_cores() if cores == "*" else int(cores)


def _settings(master: str, scratch: Path, verbose: bool) -> dict[str, str]:
    log4j = scratch / "log4j2.properties"
    log4j.write_text(_LOG4J.format(level="info" if verbose else "warn"), encoding="utf-8")
    settings = {
        "spark.master": master,
        "spark.app.name": "pomona",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{log4j}",
        "spark.python.worker.reuse": "true",
        "spark.python.worker.faulthandler.enabled": "true",
        "spark.python.daemon.module": "pomona.spark.daemon",
        "spark.pyspark.python": sys.executable,
        # Libraries that would each start a thread for every core of the machine.
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        "spark.executorEnv.MKL_NUM_THREADS": "1",
        "spark.task.maxFailures": str(_RETRIES),
    }
    tasks = local_tasks(master)
    if tasks is not None:
        settings |= {
            "spark.master": f"local[{tasks},{_RETRIES}]",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
        }
        settings["spark.driver.extraJavaOptions"] += f" {_JVM_OPTIONS}"
    return settings


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
