"""``--master`` as a person gives it: a cluster's name becomes its address and what it asks for."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pomona.settings import Settings

_SPARKS_OWN = re.compile(r"local(\[|\Z)|yarn\Z|k8s://")


def with_cluster(settings: Settings) -> Settings:
    """The settings with the master's address, and the secret and settings that a driver needs.

    A ``spark://`` address that is a recorded cluster's is treated like its name; what was given by
    ``--spark-conf`` wins.

    Raises:
        UsageError: there is no cluster of that name.
        ClusterError: its record or its secret cannot be read.
    """
    given = settings.master
    if _SPARKS_OWN.match(given):
        return settings
    from pomona.cluster import record
    from pomona.cluster.record import Cluster

    found: Cluster | None = None
    if given.startswith("spark://"):
        found = next((c for c in map(record.load, record.names()) if c.master == given), None)
    else:
        found = record.load(given)
    if found is None:
        return settings
    conf = found.driver_conf()
    if found.kind == "local":
        conf |= _credentials()
    changed = {"master": found.master, "spark_conf": conf | settings.spark_conf}
    return settings.model_copy(update=changed)


def _credentials() -> dict[str, str]:
    """The AWS settings of this process, for executors of the same user on the same machine.

    Those of workers elsewhere are their own: nothing of the driver's is sent to them.
    """
    return {
        f"spark.executorEnv.{name}": value
        for name, value in os.environ.items()
        if name.startswith("AWS_")
    }
