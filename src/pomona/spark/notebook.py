"""A Spark session for notebooks and scripts, set up as the chain sets up its own."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pomona.spark.session import start_spark
from pomona.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession


def start_session(
    master: str = "local[*]", *, conf: Mapping[str, str] | None = None
) -> SparkSession:
    """Start Spark, or take the session that this process already has.

    No Java has to be installed and no variable to be set; workers run this interpreter. Spark's
    own messages go to a log file, whose path an error names. Everything temporary is removed
    when the process ends.

    Args:
        master: as Spark names it; by default this machine with all its cores.
        conf: further Spark settings.

    Raises:
        SparkError: Java did not start, or the master does not answer.
    """
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    with ExitStack() as stack:
        workspace = stack.enter_context(open_workspace())
        context = start_spark(master, scratch=workspace.scratch, log=workspace.log, extra=conf)
        stack.callback(context.stop)
        atexit.register(stack.pop_all().close)
    return SparkSession(context)
