"""Spark's own master and worker as processes on this machine: how they are launched and asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pomona.cluster.process import born, runs
from pomona.errors import ClusterError
from pomona.spark.java import find_java
from pomona.spark.session import properties, write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"

_PORT = re.compile(r"Successfully started service '(\w+)' on port (\d+)\.")
_PURPOSE = {"sparkMaster": "rpc", "MasterUI": "ui", "sparkWorker": "rpc", "WorkerUI": "ui"}
_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile=file:{log4j}"
_HEAP = "512m"
_LOG4J = """rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.deploy.name = org.apache.spark.deploy
logger.deploy.level = info
logger.utils.name = org.apache.spark.util.Utils
logger.utils.level = info
"""
_TIMEOUT = 5.0


@dataclass(frozen=True)
class Daemon:
    """A process that was launched.

    Attributes:
        name: of its log.
        pid: its number.
        born: when it began.
        log: what it says.
    """

    name: str
    pid: int
    born: str
    log: Path

    def ports(self, wanted: int, until: float) -> dict[str, int]:
        """The ports that it took, by what they are for, once it has taken so many.

        Args:
            wanted: how many.
            until: when to give up, on the monotonic clock.

        Raises:
            ClusterError: it ended, or it took too long.
        """
        while True:
            told = self.log.read_text(encoding="utf-8", errors="replace")
            found = {_PURPOSE[n]: int(p) for n, p in _PORT.findall(told) if n in _PURPOSE}
            if len(found) >= wanted:
                return found
            if not runs(self.pid, self.born) or time.monotonic() > until:
                raise ClusterError(
                    f"The {self.name} did not start{_last_words(told)}.",
                    f"The whole story is in {self.log}.",
                )
            time.sleep(0.1)


class Launcher:
    """Launches Spark's daemons with the Java that Pomona finds, and nothing of another Spark.

    Args:
        folder: of the cluster; settings and the Java launcher are laid down there.
        bind: the address that everything listens on.
        settings: of Spark, for master and workers; they may hold a secret.
        through: what makes a command run elsewhere; by default it runs here.
    """

    def __init__(
        self,
        folder: Path,
        bind: str,
        settings: Mapping[str, str],
        through: Callable[[list[str]], list[str]] = list,
    ) -> None:
        self._through = through
        self._folder = folder
        home = spark_home()
        conf = folder / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "log4j2.properties").write_text(_LOG4J, encoding="utf-8")
        self._properties = conf / "daemons.properties"
        write_private(self._properties, properties(settings))
        self.java = find_java()
        self._command = str(home / "bin" / "spark-class")
        # Credentials are a run's own: its driver hands them to its executors.
        dropped = ("SPARK_", "PYSPARK_", "AWS_")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(dropped)},
            "JAVA_HOME": str(self.java.spark_home_for(folder)),
            "SPARK_HOME": str(home),
            "SPARK_CONF_DIR": str(conf),
            "SPARK_LOCAL_IP": bind,
            "SPARK_LOCAL_DIRS": str(folder / "scratch"),
            "SPARK_DAEMON_MEMORY": _HEAP,
            "SPARK_DAEMON_JAVA_OPTS": _OPTIONS.format(log4j=conf / "log4j2.properties"),
        }
        (folder / "scratch").mkdir(exist_ok=True)

    def launch(self, name: str, kind: str, arguments: Sequence[str]) -> Daemon:
        """Start one; it outlives this process.

        Raises:
            ClusterError: the command cannot be run.
        """
        log = self._folder / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        command = [self._command, kind, "--properties-file", str(self._properties), *arguments]
        try:
            with log.open("ab") as stream:
                process = subprocess.Popen(
                    self._through(command),
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    cwd=self._folder,
                    env=self._environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise ClusterError(
                f"{self._command} cannot be run: {error.strerror}.", "Reinstall pyspark."
            ) from error
        process.returncode = 0  # it is not waited for: it shall outlive this process
        return Daemon(name, process.pid, born(process.pid), log)


def spark_home() -> Path:
    """The installed PySpark, which is a whole Spark."""
    import pyspark

    return Path(pyspark.__file__).parent


def master_facts(ui: str) -> dict[str, Any] | None:
    """What a master tells of itself and its workers; None where it does not answer.

    Args:
        ui: the URL of its page.
    """
    try:
        with urllib.request.urlopen(f"{ui}/json/", timeout=_TIMEOUT) as answer:  # noqa: S310
            found = json.loads(answer.read())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _last_words(told: str) -> str:
    lines = [line for line in told.splitlines() if "Exception" in line or " ERROR " in line]
    return f": {lines[0].strip()[:200]}" if lines else ""
