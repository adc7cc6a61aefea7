"""A cluster on this machine: Spark's own master and workers, on loopback."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pomona.cluster import record
from pomona.cluster.daemons import MASTER, WORKER, Daemon, Launcher, master_facts
from pomona.cluster.kinds import NodeState
from pomona.cluster.process import end, runs
from pomona.cluster.record import Cluster, Node, Role
from pomona.errors import ClusterError, UsageError
from pomona.spark.session import usable_cores, write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEFAULT_NAME = "here"
_ADDRESS = "127.0.0.1"
_PATIENCE = 120.0
"""Seconds that master and workers have to come up."""
_DAY = 86_400
_GLANCE = 0.3
SETTINGS = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.decommission.enabled": "true",
    "spark.worker.cleanup.enabled": "true",
    "spark.worker.cleanup.appDataTtl": str(_DAY),
    "spark.master.rest.enabled": "false",
    "spark.port.maxRetries": "0",
}


@dataclass(frozen=True)
class Shape:
    """What a cluster is to be made of.

    Attributes:
        workers: how many.
        cores: of each; 0 shares out this machine's.
        memory_mib: of each, for its executors; 0 takes 1 GiB, and 1 GiB for each core.
        port: of the master; 0 takes a free one.
    """

    workers: int
    cores: int = 0
    memory_mib: int = 0
    port: int = 0

    @property
    def filled(self) -> Shape:
        """The same with nothing left open but the port."""
        cores = self.cores or max(1, usable_cores() // self.workers)
        return Shape(self.workers, cores, self.memory_mib or 1024 * (1 + cores), self.port)

    def facts(self) -> dict[str, int]:
        """For the record."""
        return {"workers": self.workers, "cores": self.cores, "memory_mib": self.memory_mib}


def start_local(name: str, shape: Shape) -> tuple[Cluster, bool]:
    """Start a cluster, unless one of that name runs already.

    Returns:
        The cluster, once its master lists every worker, and whether it was started now.

    Raises:
        UsageError: it runs in another shape, or a cluster of that name is on other machines.
        ClusterError: it does not come up; none of its processes is left then.
    """
    shape = shape.filled
    with _alone(name):
        if name in record.names():
            known = record.load(name)
            if known.kind != "local":
                raise UsageError(
                    f"The cluster {name} is on other machines.", "Give another --name."
                )
            states = LocalCluster(known).status()
            if all(state.running for state in states):
                if known.details.get("shape") != shape.facts():
                    raise UsageError(
                        f"The cluster {name} runs already, in another shape: "
                        f"{_told(known.details.get('shape', {}))}.",
                        f"Stop it first (pomona cluster stop {name}), or give another --name.",
                    )
                return known, False
            LocalCluster(known).stop()
        return _start(name, shape), True


def _start(name: str, shape: Shape) -> Cluster:
    from pomona import __version__

    folder = record.make_folder(name)
    shutil.rmtree(folder / "work", ignore_errors=True)
    secret_file, secret = folder / "secret", secrets.token_hex(32)
    write_private(secret_file, f"{secret}\n")
    launcher = Launcher(folder, _ADDRESS, SETTINGS | {"spark.authenticate.secret": secret})
    listen = ["--host", _ADDRESS, "--webui-port", "0"]
    daemons: list[Daemon] = []
    until = time.monotonic() + _PATIENCE

    def remember(url: str, ports: dict[str, dict[str, int]]) -> Cluster:
        """Should this process be killed now, the next one still knows what it has to end."""
        cluster = Cluster(
            name=name,
            kind="local",
            master=url,
            nodes=tuple(_node(daemon, ports.get(daemon.name, {})) for daemon in daemons),
            secret_file=str(secret_file),
            conf={"spark.driver.host": _ADDRESS, "spark.driver.bindAddress": _ADDRESS},
            versions={"pomona": __version__, "java": str(launcher.java)},
            details={"shape": shape.facts()},
        )
        record.save(cluster)
        return cluster

    try:
        master = launcher.launch("master", MASTER, [*listen, "--port", str(shape.port)])
        daemons.append(master)
        remember("", {})
        ports = {master.name: master.ports(2, until)}
        url = f"spark://{_ADDRESS}:{ports['master']['rpc']}"
        size = ["--cores", str(shape.cores), "--memory", f"{shape.memory_mib}m"]
        for number in range(1, shape.workers + 1):
            work = ["--work-dir", str(folder / "work" / f"worker-{number}")]
            worker = [*listen, "--port", "0", *size, *work, url]
            daemons.append(launcher.launch(f"worker-{number}", WORKER, worker))
            remember(url, ports)
        ports |= {daemon.name: daemon.ports(2, until) for daemon in daemons[1:]}
        _until_listed(ports["master"]["ui"], daemons, shape.workers, until)
    except BaseException:
        end([(daemon.pid, daemon.born) for daemon in daemons])
        raise
    return remember(url, ports)


def _node(daemon: Daemon, ports: dict[str, int]) -> Node:
    role: Role = "master" if daemon.name == "master" else "worker"
    return Node(_ADDRESS, role, daemon.name, daemon.pid, daemon.born, ports)


def _until_listed(ui: int, daemons: list[Daemon], workers: int, until: float) -> None:
    """Wait until the master lists every worker."""
    while True:
        facts = master_facts(f"http://{_ADDRESS}:{ui}") or {}
        if sum(worker.get("state") == "ALIVE" for worker in facts.get("workers", [])) >= workers:
            return
        dead = [daemon for daemon in daemons if not runs(daemon.pid, daemon.born)]
        if dead or time.monotonic() > until:
            one = dead[0] if dead else daemons[0]
            raise ClusterError(
                f"The {one.name} {'ended' if dead else 'does not list every worker'}.",
                f"The reason is in {one.log}.",
            )
        time.sleep(0.2)


class LocalCluster:
    """A recorded cluster on this machine."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def status(self) -> list[NodeState]:
        """Every process: whether it runs, and what the master says of it."""
        nodes = self._cluster.nodes
        alive = {node.name: runs(node.pid, node.born) for node in nodes}
        facts = master_facts(self._page) if alive.get("master") and nodes[0].ports else None
        by_port = {
            worker.get("port"): worker
            for worker in (facts or {}).get("workers", [])
            if worker.get("state") == "ALIVE"
        }
        return [_state(node, alive[node.name], facts, by_port) for node in nodes]

    def logs(self, node: str | None, lines: int, *, follow: bool = False) -> Iterator[str]:
        """The last lines of each log; a worker's newest executor has its own."""
        chosen = [one for one in self._cluster.nodes if node in (None, one.name)]
        if not chosen:
            raise UsageError(
                f"The cluster {self._cluster.name} has no node {node}.",
                f"Give one of: {', '.join(one.name for one in self._cluster.nodes)}.",
            )
        for one in chosen:
            for name, path in self._logs_of(one):
                try:
                    with path.open(encoding="utf-8", errors="replace") as stream:
                        last = deque(stream, lines)
                except OSError:
                    continue
                yield from (f"{name}: {line.rstrip()}" for line in last)
        if follow:
            yield from _added(
                {one.name: self._cluster.folder / "logs" / f"{one.name}.log" for one in chosen}
            )

    def stop(self) -> bool:
        """End the processes, workers first, so that none of them reports a lost master."""
        ours = [(node.pid, node.born) for node in reversed(self._cluster.nodes)]
        ran = any(runs(*one) for one in ours)
        end(ours)
        shutil.rmtree(self._cluster.folder / "scratch", ignore_errors=True)
        return ran

    def remove(self) -> None:
        """End the processes, then remove the folder."""
        self.stop()
        record.forget(self._cluster.name)

    def ui(self, tell: Callable[[str], None]) -> None:
        """Tell where the master's page is; it is on this machine, so nothing has to be opened."""
        if not self.status()[0].running:
            raise ClusterError(
                f"The cluster {self._cluster.name} does not run.", "pomona cluster start"
            )
        tell(f"{self._page}/")

    @property
    def _page(self) -> str:
        return f"http://{_ADDRESS}:{self._cluster.nodes[0].ports['ui']}"

    def _logs_of(self, node: Node) -> Iterator[tuple[str, Path]]:
        yield node.name, self._cluster.folder / "logs" / f"{node.name}.log"
        executors = list((self._cluster.folder / "work" / node.name).glob("app-*/*/stderr"))
        if executors:
            newest = max(executors, key=lambda path: path.stat().st_mtime)
            yield f"{node.name} executor {newest.parent.name}", newest


def _state(
    node: Node, alive: bool, facts: dict[str, Any] | None, by_port: dict[Any, dict[str, Any]]
) -> NodeState:
    if not alive:
        return NodeState(node, False, "its process has ended")
    if facts is None:
        return NodeState(node, node.role != "master", "the master does not answer")
    if node.role == "master":
        apps = len(facts.get("activeapps", []))
        return NodeState(node, True, f"{apps} application{'' if apps == 1 else 's'}")
    seen = by_port.get(node.ports.get("rpc"))
    if seen is None:
        return NodeState(node, False, "the master does not list it")
    return NodeState(
        node,
        True,
        f"{seen['coresused']} of {seen['cores']} cores in use, {seen['memory'] / 1024:.1f} GiB",
    )


def _told(shape: dict[str, int]) -> str:
    return ", ".join(f"{value} {name}" for name, value in shape.items())


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Keep others from starting the same cluster meanwhile."""
    folder = record.clusters_path()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    record.folder_of(name)
    descriptor = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _added(logs: dict[str, Path]) -> Iterator[str]:
    """Lines that are added to logs from now on, without end."""
    with ExitStack() as stack:
        streams = {}
        for name, path in logs.items():
            stream = stack.enter_context(path.open(encoding="utf-8", errors="replace"))
            stream.seek(0, os.SEEK_END)
            streams[name] = stream
        while True:
            for name, stream in streams.items():
                yield from (f"{name}: {line.rstrip()}" for line in stream)
            time.sleep(_GLANCE)
