"""What a host of a cluster is told: the settings that ``bootstrap.sh`` reads, and that script."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

from pomona.errors import UsageError

HostRole = Literal["master", "worker", "both"]

ETC = "/etc/pomona"
PREFIX = "/opt/pomona"
LOGS = "/var/log/pomona"
PYTHON = f"{PREFIX}/current/bin/python"
"""The interpreter of the release in use, on every host of a cluster that was bootstrapped."""
EXECUTORS = 16
"""Executors that find a port on one host, after the first."""

_MEMORY = re.compile(r"[1-9][0-9]*[mg]")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")
_FILE = re.compile(r"(/|s3://)[A-Za-z0-9_./@%+,=:-]+")


@dataclass(frozen=True)
class Ports:
    """TCP ports of a cluster, the same on every host.

    Attributes:
        master: of the master's RPC.
        worker: of a worker's RPC.
        blocks: of an executor's blocks; others on its host take the next :data:`EXECUTORS`.
        master_ui: of the master's page, on its loopback address.
        worker_ui: of a worker's page, on its loopback address.
    """

    master: int = 7077
    worker: int = 7078
    blocks: int = 7079
    master_ui: int = 8080
    worker_ui: int = 8081


@dataclass(frozen=True)
class HostSettings:
    """The settings of one host.

    Attributes:
        role: of this host.
        cluster: the cluster's name.
        master_host: name or address of the master; empty on a master: ``bind``.
        archive: file on the host, or ``s3://`` URL.
        archive_sha256: its checksum.
        bind: address of this host in the cluster; empty: that on the way to the master.
        cores: that a worker offers; None: all.
        memory: that a worker offers, such as ``6g``; empty: what there is, less a reserve.
        members: addresses that may connect; none: the host sets no rules.
        ports: of the cluster.
    """

    role: HostRole
    cluster: str
    master_host: str
    archive: str
    archive_sha256: str
    bind: str = ""
    cores: int | None = None
    memory: str = ""
    members: tuple[str, ...] = ()
    ports: Ports = field(default_factory=Ports)

    def render(self) -> str:
        """The file of settings.

        Raises:
            UsageError: a setting is none that the script takes.
        """
        self._check()
        facts = {
            "ROLE": self.role,
            "CLUSTER": self.cluster,
            "MASTER_HOST": self.master_host,
            "BIND": self.bind,
            "ARCHIVE": self.archive,
            "ARCHIVE_SHA256": self.archive_sha256,
            "CORES": str(self.cores or ""),
            "MEMORY": self.memory,
            "MEMBERS": " ".join(self.members),
            "PORT": str(self.ports.master),
            "WORKER_PORT": str(self.ports.worker),
            "BLOCK_PORT": str(self.ports.blocks),
            "UI_PORT": str(self.ports.master_ui),
            "WORKER_UI_PORT": str(self.ports.worker_ui),
            "SECRET_FILE": f"{ETC}/secret",
            "PREFIX": PREFIX,
        }
        return "".join(f"POMONA_{key}={value}\n" for key, value in facts.items() if value)

    def _check(self) -> None:
        from pomona.cluster.record import is_name

        if not is_name(self.cluster):
            raise UsageError(f"{self.cluster!r} is no name for a cluster.")
        if self.memory and not _MEMORY.fullmatch(self.memory):
            raise UsageError(
                f"{self.memory!r} is no amount of memory.", "Give one like 6g or 900m."
            )
        if self.cores is not None and not 1 <= self.cores <= 1024:
            raise UsageError(f"{self.cores} is no number of cores.", "Give 1 or more.")
        if not _HOST.fullmatch(self.master_host or "x"):
            raise UsageError(f"{self.master_host!r} is no host.")
        if not re.fullmatch("[0-9a-f]{64}", self.archive_sha256) or not _FILE.fullmatch(
            self.archive
        ):
            raise UsageError(f"{self.archive!r} with {self.archive_sha256!r} is no archive.")
        for address in filter(None, (self.bind, *self.members)):
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise UsageError(f"{address!r} is no address.") from error
        numbers = list(vars(self.ports).values())
        if any(not 1024 <= number <= 65535 - EXECUTORS for number in numbers):
            raise UsageError(f"{numbers}: a port is from 1024 to {65535 - EXECUTORS}.")
        blocks = range(self.ports.blocks, self.ports.blocks + EXECUTORS + 1)
        others = [number for number in numbers if number != self.ports.blocks]
        if len(set(others)) < len(others) or set(others) & set(blocks):
            raise UsageError(f"{numbers}: two things cannot have one port.")


def bootstrap_script() -> str:
    """The script that makes a host part of a cluster, and undoes that."""
    return resources.files("pomona.cluster").joinpath("bootstrap.sh").read_text(encoding="utf-8")


def driver_conf(ports: Ports) -> dict[str, str]:
    """What a driver sets for a cluster whose hosts were bootstrapped, beside the secret."""
    return {
        "spark.network.crypto.cipher": "AES/GCM/NoPadding",
        "spark.network.crypto.saslFallback": "false",
        "spark.pyspark.python": PYTHON,
        "spark.blockManager.port": str(ports.blocks),
        "spark.driver.blockManager.port": "0",
        "spark.port.maxRetries": str(EXECUTORS),
    }
