"""``--master`` as a person gives it: a cluster's name becomes its address and what it asks for."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pomona.settings import Settings

_KEYS = re.compile(
    r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|(DEFAULT_)?REGION|ENDPOINT_URL)"
)
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
    conf |= _credentials(found.kind)
    changed = {"master": found.master, "spark_conf": conf | settings.spark_conf}
    return settings.model_copy(update=changed)


def _credentials(kind: str) -> dict[str, str]:
    """The AWS settings of this process's environment, for its executors.

    On this machine all of them. On machines reached by SSH, which are the same person's and whose
    RPC is encrypted, the keys and where they are for, but no names of files. Workers on AWS have
    a role: nothing of the driver's is sent to them.
    """
    names = [name for name in os.environ if name.startswith("AWS_")]
    if kind == "aws":
        names = []
    elif kind == "ssh":
        names = [name for name in names if _KEYS.match(name)]
    return {f"spark.executorEnv.{name}": os.environ[name] for name in names}
