"""Starting and stopping Spark, quietly, with the interpreter that runs Pomona."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pomona.errors import SparkError, UsageError
from pomona.spark.identity import SOURCE_VARIABLE, source_hash
from pomona.spark.java import Java, find_java

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyspark import SparkContext

    from pomona.spark.meeting import Greeting

_LOCAL = re.compile(r"^local(?:\[\s*(\*|\d+)\s*(?:,\s*\d+\s*)?\])?$")
_RETRIES = 4
"""Attempts of a task. Spark's local mode has one by default, so that a worker that the system
killed would end the run."""

ENVIRONMENT_PYTHON = "pomona-env/bin/python3"
"""The interpreter in an archive of :mod:`pomona.cluster.packing`."""
_UNPACKED = "pomona-environment"
"""Where Spark unpacks it, in an executor's working directory."""
_CONNECT_SECONDS = 10.0

_LOG4J = """rootLogger.level = {level}
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{HH:mm:ss}} %p %c{{1}}: %m%n%ex
"""

_JVM_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""For a Java that only hands out keys: starts in half the time and leaves the cores alone."""


def start_spark(
    master: str,
    *,
    scratch: Path,
    log: Path,
    extra: Mapping[str, str] | None = None,
    verbose: bool = False,
    java: Java | None = None,
    environment: Path | None = None,
    check: bool = True,
    on_meeting: Callable[[list[Greeting]], None] | None = None,
) -> SparkContext:
    """Start Spark, or take the context that this process already has.

    Settings reach Java in a file of this run: a secret among them shows in no list of processes.

    Args:
        master: as Spark names it.
        scratch: a folder of this run, for Spark's temporary files.
        log: everything that Java and the workers print is appended here.
        extra: further Spark settings; they win over those chosen here.
        verbose: whether Spark logs more than warnings.
        java: the runtime to use; by default what :func:`find_java` finds.
        environment: an archive of :mod:`pomona.cluster.packing` to run on the workers.
        check: whether workers elsewhere have to prove that they are the driver's like.
        on_meeting: told what they said of themselves.

    Raises:
        SparkError: Java did not start, the master does not answer, or its workers do not fit.
    """
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    theirs = context is not None
    if context is None:
        settings = _settings(master, scratch, verbose, environment) | dict(extra or {})
        context = _start(settings, scratch, log, java or find_java())
    if check and not is_local(context.master):
        from pomona.spark.meeting import meet

        try:
            greetings = meet(context)
            if on_meeting is not None:
                on_meeting(greetings)
        except BaseException as error:
            if not theirs:
                context.stop()
            if isinstance(error, SparkError) and (refused := _refusal(context.master, log)):
                raise refused from error
            raise
    return context


def _start(settings: Mapping[str, str], scratch: Path, log: Path, java: Java) -> SparkContext:
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.java_gateway import launch_gateway

    master = settings["spark.master"]
    ensure_reachable(master)
    conf = SparkConf(loadDefaults=False)
    for key, value in settings.items():
        conf.set(key, value)
    file = scratch / "spark.properties"
    write_private(file, properties(settings))
    # Whatever another Spark on this machine has set up would be mixed in.
    for name in ("SPARK_HOME", "SPARK_CONF_DIR"):
        os.environ.pop(name, None)
    os.environ |= {
        "JAVA_HOME": str(java.spark_home_for(scratch)),
        "PYSPARK_PYTHON": settings["spark.pyspark.python"],
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"--properties-file {shlex.quote(str(file))} pyspark-shell",
        "SPARK_LOCAL_DIRS": str(scratch),
    }
    try:
        with log.open("ab") as stream:
            # A session of its own: Ctrl-C is for the driver, which then ends Java in order.
            gateway = launch_gateway(  # type: ignore[no-untyped-call]
                None, {"stdout": stream, "stderr": stream, "start_new_session": True}
            )
        return SparkContext(conf=conf, gateway=gateway)
    except PySparkException as error:
        raise SparkError(
            f"Java did not start ({java}).",
            f"The reason is at the end of {log}.",
        ) from error
    except Exception as error:
        if refused := _refusal(master, log):
            raise refused from error
        raise SparkError(
            f"Spark did not start with the master {master}: {_first_line(error)}",
            "Check the address of the master, or leave --master out to use this machine.",
        ) from error
    finally:
        del os.environ["PYSPARK_SUBMIT_ARGS"]


def slots_of(context: SparkContext) -> int:
    """Tasks that run at the same time, on the executors that are there now."""
    if is_local(context.master):
        return max(1, context.defaultParallelism // task_cores(context))
    spark = context._jsc.sc()
    profile = spark.resourceProfileManager().defaultResourceProfile()
    return max(1, int(spark.maxNumConcurrentTasks(profile)))


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


def is_local(master: str | None) -> bool:
    """Whether the workers are on this machine, inside the driver's Java."""
    return _LOCAL.match(master or "") is not None


def local_tasks(master: str) -> int | None:
    """Tasks at a time of a local master; None where the workers are elsewhere."""
    match = _LOCAL.match(master)
    if match is None:
        return None
    cores = match.group(1) or "1"
    return usable_cores() if cores == "*" else int(cores)


def archive(text: str | None) -> Path | None:
    """``--environment`` as a file; None where none was given.

    Raises:
        UsageError: there is no such file.
    """
    if text is None:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        raise UsageError(
            f"There is no environment archive {text}.", "Make one: pomona cluster pack."
        )
    return path


def ensure_reachable(master: str) -> None:
    """Make sure that something listens where a standalone master should be.

    Raises:
        SparkError: nothing does; Spark itself would find that out after a minute.
    """
    if not master.startswith("spark://"):
        return
    reasons = []
    for place in master.removeprefix("spark://").split(","):
        host, _, port = place.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS):
                return
        except (OSError, ValueError, OverflowError) as error:
            reasons.append(f"{place}: {getattr(error, 'strerror', None) or error}")
    raise SparkError(
        f"No Spark master answers at {master} ({'; '.join(reasons)}).",
        "Check the address and whether the master runs; `pomona cluster status` tells of those "
        "that Pomona started.",
    )


def properties(settings: Mapping[str, str]) -> str:
    """Settings as a Java properties file."""
    return "".join(f"{_escaped(key)}={_escaped(value)}\n" for key, value in settings.items())


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def _escaped(text: str) -> str:
    """ASCII, with everything escaped that means something in a properties file."""
    marked = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    marked |= {char: f"\\{char}" for char in "=: #!"}
    units = (char.encode("utf-16-be").hex("/", 2).split("/") for char in text)
    return "".join(
        marked.get(char, char if char.isascii() else "".join(f"\\u{unit}" for unit in unit_list))
        for char, unit_list in zip(text, units, strict=True)
    )


def _settings(
    master: str, scratch: Path, verbose: bool, environment: Path | None
) -> dict[str, str]:
    log4j = scratch / "log4j2.properties"
    log4j.write_text(_LOG4J.format(level="info" if verbose else "warn"), encoding="utf-8")
    settings = {
        "spark.master": master,
        "spark.app.name": "pomona",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{log4j} {_JVM_OPTIONS}",
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
            "spark.local.dir": str(scratch),
        }
    else:
        settings |= {
            # What runs twice does no harm, and an instance that is about to go gets no more tasks.
            "spark.decommission.enabled": "true",
            "spark.executor.extraJavaOptions": _JVM_OPTIONS,
            f"spark.executorEnv.{SOURCE_VARIABLE}": source_hash(),
        }
    if environment is not None:
        settings |= {
            "spark.archives": f"{environment.resolve()}#{_UNPACKED}",
            "spark.pyspark.python": f"./{_UNPACKED}/{ENVIRONMENT_PYTHON}",
        }
    return settings


def _refusal(master: str | None, log: Path) -> SparkError | None:
    """That a master which can be reached took no driver: Spark writes it into its log alone."""
    try:
        told = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if "All masters are unresponsive" not in told:
        return None
    return SparkError(
        f"The master {master} answers, but does not take this driver: it wants another secret, or "
        "it is of another version of Spark.",
        "Give the cluster's name as --master, or its secret as spark.authenticate.secret in a "
        f"file: see docs/cluster.md. The rest is in {log}.",
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
