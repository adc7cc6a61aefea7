"""What this machine remembers of a cluster: one folder each, with its record and its logs.

The folder is ``clusters/NAME`` below the user's state folder, closed to others; the record in it
is ``cluster.json``. A secret is never in the record: it names the file that holds it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from platformdirs import user_state_path

from pomona.errors import ClusterError, UsageError
from pomona.spark.session import write_private

ClusterKind = Literal["local", "ssh", "aws"]
Role = Literal["master", "worker"]

_RECORD = "cluster.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")

_MASTERS = ("local", "yarn")
"""What --master takes in another sense."""


@dataclass(frozen=True)
class Node:
    """One process of a cluster.

    Attributes:
        host: its address, as the cluster's other hosts reach it.
        role: ``master`` or ``worker``.
        name: unique within the cluster, such as ``worker-1``; its log is named after it.
        pid: its process id on that host; 0 where something else keeps it running.
        born: when that process began (:func:`pomona.cluster.process.born`).
        ports: by what they are for: ``rpc``, ``ui``.
        address: how this machine reaches the host, such as ``user@host:22``; empty for itself.
    """

    host: str
    role: Role
    name: str
    pid: int = 0
    born: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True)
class Cluster:
    """A cluster, as it was made.

    Attributes:
        name: which the user knows it by.
        kind: who looks after its processes.
        master: its ``spark://`` URL.
        nodes: the master first.
        secret_file: path of the file with the secret of Spark's RPC, readable by its owner alone.
        conf: further Spark settings that a driver needs; none of them secret.
        versions: of Pomona, Python, Spark and Java on the hosts.
        made: when, UTC.
        details: what its kind needs besides.
    """

    name: str
    kind: ClusterKind
    master: str
    nodes: tuple[Node, ...] = ()
    secret_file: str = ""
    conf: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    made: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its record, its secret and its logs are."""
        return folder_of(self.name)

    def secret(self) -> str:
        """The secret of its RPC.

        Raises:
            ClusterError: the file is gone or cannot be read.
        """
        try:
            return Path(self.secret_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeError) as error:
            raise ClusterError(
                f"The secret of the cluster {self.name} cannot be read: {self.secret_file}: "
                f"{error}.",
                "Remove the cluster and make it again.",
            ) from error

    def driver_conf(self) -> dict[str, str]:
        """What a driver needs to use it, its secret included: for a file, not for a command."""
        conf = dict(self.conf)
        if self.secret_file:
            conf |= {
                "spark.authenticate": "true",
                "spark.network.crypto.enabled": "true",
                "spark.authenticate.secret": self.secret(),
            }
        return conf

    def with_nodes(self, nodes: tuple[Node, ...]) -> Cluster:
        """The same with other nodes."""
        return replace(self, nodes=nodes)


def clusters_path() -> Path:
    """The folder of all clusters of this user."""
    return user_state_path("pomona") / "clusters"


def folder_of(name: str) -> Path:
    """The folder of one cluster, whether it exists or not.

    Raises:
        UsageError: that is no name.
    """
    if not is_name(name):
        raise UsageError(
            f"{name!r} is no name for a cluster.",
            "Take lower-case letters, digits and hyphens, at most 40; not local, not yarn.",
        )
    return clusters_path() / name


def is_name(text: str) -> bool:
    """Whether a cluster may be called that."""
    return _NAME.match(text) is not None and text not in _MASTERS


def names() -> list[str]:
    """The clusters that are recorded."""
    return sorted(
        path.parent.name
        for path in clusters_path().glob(f"*/{_RECORD}")
        if is_name(path.parent.name)
    )


def make_folder(name: str) -> Path:
    """The folder of a new cluster, closed to others, with a folder for logs in it."""
    folder = folder_of(name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    (folder / "logs").mkdir(exist_ok=True)
    return folder


def save(cluster: Cluster) -> None:
    """Write the record; readers see the old one or the new one, never half."""
    folder = make_folder(cluster.name)
    fresh = folder / f".{_RECORD}.{os.getpid()}"
    write_private(fresh, json.dumps(asdict(cluster), indent=2) + "\n")
    fresh.replace(folder / _RECORD)


def load(name: str) -> Cluster:
    """The record of a cluster.

    Raises:
        UsageError: there is none of that name.
        ClusterError: it cannot be read.
    """
    path = folder_of(name) / _RECORD
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        facts["nodes"] = tuple(Node(**node) for node in facts["nodes"])
        cluster = Cluster(**facts)
        if cluster.kind not in get_args(ClusterKind):
            raise ValueError(f"kind {cluster.kind}")
    except FileNotFoundError as error:
        have = ", ".join(names())
        raise UsageError(
            f"There is no cluster {name}.",
            f"Give one of these: {have}." if have else "Make one: pomona cluster start.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"The record of the cluster {name} cannot be read: {path}: {error}.",
            "It may be of another version of Pomona. See that no process of it is left, then "
            "remove that folder.",
        ) from error
    return cluster


def forget(name: str) -> None:
    """Remove the record and everything beside it."""
    shutil.rmtree(folder_of(name), ignore_errors=True)
