"""A Spark session for notebooks and scripts, set up as the chain sets up its own."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pomona.spark.meeting import meet
from pomona.spark.session import is_local, start_spark
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
    when the process ends. The data source ``pomona.images`` is registered.

    Args:
        master: as Spark names it; by default this machine with all its cores.
        conf: further Spark settings; a session that runs already keeps its own.

    Raises:
        SparkError: Java did not start, the master does not answer, or workers elsewhere have
            another Python or Pomona.

    Examples:
        >>> import pomona
        >>> spark = pomona.start_session()
        >>> spark.range(3).count()
        3
    """
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is None:
        with ExitStack() as stack:
            workspace = stack.enter_context(open_workspace())
            context = start_spark(master, scratch=workspace.scratch, log=workspace.log, extra=conf)
            stack.callback(context.stop)
            atexit.register(stack.pop_all().close)
        session = SparkSession(context)
    elif not is_local(session.sparkContext.master):
        meet(session.sparkContext)
    register(session)
    return session


def register(spark: SparkSession) -> None:
    """Let a session read ``pomona.images``; workers need Pomona installed.

    Examples:
        >>> import pomona
        >>> pomona.register(spark)
        >>> photos = spark.read.format("pomona.images").load(images)
    """
    from pomona.images.source import ImageSource

    spark.dataSource.register(ImageSource)
