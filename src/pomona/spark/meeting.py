"""The first job on workers elsewhere: whether they are there, and what they are.

It runs before anything of Pomona is asked of them, so its function travels by value: it needs no
Pomona of the right version, or any, to say what is wrong.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pomona.errors import SparkError
from pomona.spark.identity import source_hash
from pomona.spark.jobs import translate
from pomona.spark.session import slots_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyspark import SparkContext

PATIENCE = 60.0
"""Seconds to wait for the first executor."""
_SETTLED = 1.5
"""Seconds without a new executor after which those that are there are all, for now."""

_FIX = (
    "Install the same Pomona there, or ship this one: `pomona cluster pack`, then --environment "
    "with the archive that it made."
)


@dataclass(frozen=True)
class Greeting:
    """What one Python worker elsewhere tells of itself.

    Attributes:
        host: its machine.
        folder: its working directory, an executor's own on most clusters.
        python: its version.
        interpreter: which it is.
        pomona: version of the package; empty where there is none.
        source: its :func:`pomona.spark.identity.source_hash`; empty where it cannot be told.
        memory: free bytes of the machine, or of its control group; 0 where nothing tells.
        fault: why the package cannot be imported, if it cannot.
    """

    host: str
    folder: str
    python: str
    interpreter: str
    pomona: str = ""
    source: str = ""
    memory: int = 0
    fault: str = field(default="", compare=False)


def meet(context: SparkContext, *, patience: float = PATIENCE) -> list[Greeting]:
    """Wait for workers, and make sure that they have the driver's Python and Pomona.

    Args:
        context: Spark, with a master elsewhere.
        patience: seconds to wait for the first executor.

    Returns:
        A greeting from every task slot.

    Raises:
        SparkError: there is no worker, or one that would not compute what the driver expects.
    """
    await_executors(context, patience)
    try:
        slots = slots_of(context)
        told = context.parallelize(range(slots), slots).map(_greeting()).collect()
    except Exception as error:
        raise translate(error, "meeting the workers") from error
    greetings = [Greeting(**facts) for facts in told]
    judge(greetings)
    return greetings


def await_executors(context: SparkContext, patience: float) -> int:
    """Wait until there are executors and no more are coming; their number.

    Raises:
        SparkError: none came, or the master ended the application.
    """
    spark = context._jsc.sc()
    until, since, before = time.monotonic() + patience, time.monotonic(), 0
    while True:
        now = len(spark.statusTracker().getExecutorInfos()) - 1  # the driver counts as one
        if spark.isStopped():
            raise SparkError(
                f"The master {context.master} has ended the application.",
                "See its log: its workers may be unable to start executors.",
            )
        if now != before:
            before, since = now, time.monotonic()
        if now and time.monotonic() - since > _SETTLED:
            return now
        if time.monotonic() > until:
            if now:
                return now
            raise SparkError(
                f"No worker of {context.master} has offered a core within {patience:.0f} s.",
                "See whether it has workers, and whether other applications hold all their cores "
                "or memory (an executor takes spark.executor.memory, 1g by default).",
            )
        time.sleep(0.1)


def judge(greetings: Iterable[Greeting]) -> None:
    """Make sure that every worker has the driver's Python and Pomona.

    Raises:
        SparkError: one has not.
    """
    from pomona import __version__

    for one in greetings:
        if one.python.split(".")[:2] != platform.python_version().split(".")[:2]:
            raise SparkError(
                f"The worker {one.host} runs Python {one.python}, the driver "
                f"{platform.python_version()}.",
                _FIX,
            )
        if not one.pomona:
            raise SparkError(
                f"The worker {one.host} has no Pomona that works ({one.interpreter}: {one.fault}).",
                _FIX,
            )
        if one.pomona != __version__:
            raise SparkError(
                f"The worker {one.host} has Pomona {one.pomona}, the driver {__version__}.", _FIX
            )
        if one.source != source_hash():
            raise SparkError(
                f"The worker {one.host} has a Pomona {one.pomona} with other code than the "
                "driver's.",
                _FIX,
            )


def memory_of_a_slot(greetings: list[Greeting]) -> int:
    """Free bytes for each task slot, on the host that has the least; 0 where nothing tells."""
    slots = Counter(one.host for one in greetings)
    least = {one.host: one.memory for one in greetings if one.memory}
    return min((memory // slots[host] for host, memory in least.items()), default=0)


def _greeting() -> Callable[[int], dict[str, Any]]:
    """What runs on a worker. A function in a function is pickled by value, not by name."""

    def greet(_: int) -> dict[str, Any]:
        import os
        import platform
        import socket
        import sys
        import time

        found: dict[str, Any] = {
            "host": socket.gethostname(),
            "folder": os.getcwd(),  # noqa: PTH109
            "python": platform.python_version(),
            "interpreter": sys.executable,
        }
        try:
            import pomona

            found["pomona"] = pomona.__version__
            from pomona.memory import free_memory
            from pomona.spark.identity import source_hash

            found |= {"source": source_hash(), "memory": free_memory() or 0}
        except Exception as error:  # noqa: BLE001 - a broken installation can raise anything
            found["fault"] = f"{type(error).__name__}: {error}"[:200]
        time.sleep(0.2)  # so that no worker answers twice while another one starts
        return found

    return greet
