"""What can be done with a cluster once it is there, whoever looks after its processes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pomona.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pomona.cluster.record import Cluster, Node

_KINDS = {
    "local": "pomona.cluster.local:LocalCluster",
    "ssh": "pomona.cluster.ssh:SshCluster",
}
"""Kind of a record to the class that knows it; each takes the record."""


@dataclass(frozen=True)
class NodeState:
    """One process of a cluster as it is now.

    Attributes:
        node: which.
        running: whether its process runs.
        told: what is known besides, such as ``4 cores, 6.0 GiB, 2 in use``; empty if nothing.
    """

    node: Node
    running: bool
    told: str = ""


class ClusterHandle(Protocol):
    """A cluster of some kind. Every method may raise ClusterError."""

    def status(self) -> list[NodeState]:
        """Every node as it is now; a host that does not answer counts as not running."""

    def logs(self, node: str | None, lines: int, *, follow: bool = False) -> Iterator[str]:
        """The last lines of one node's log, or of every node's, each line with its node's name.

        With ``follow`` also what is added to the nodes' own logs, until the reader stops.
        """

    def stop(self) -> bool:
        """End its processes and keep its files; False where none ran."""

    def remove(self) -> None:
        """End its processes and remove everything that it laid down, the record last."""

    def ui(self, tell: Callable[[str], None]) -> None:
        """Tell the address of the master's UI, and keep it reachable until interrupted."""


def handle(cluster: Cluster) -> ClusterHandle:
    """What acts on a recorded cluster.

    Raises:
        ClusterError: this version does not know its kind.
    """
    if cluster.kind not in _KINDS:
        raise ClusterError(
            f"The cluster {cluster.name} is of the kind {cluster.kind}, which is looked after "
            "elsewhere.",
            "See pomona cloud --help." if cluster.kind == "aws" else "",
        )
    module, _, name = _KINDS[cluster.kind].partition(":")
    found: ClusterHandle = getattr(importlib.import_module(module), name)(cluster)
    return found
