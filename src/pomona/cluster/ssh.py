"""A cluster on machines reached by SSH, once it is deployed."""

from __future__ import annotations

import asyncio
import json
import queue
import shlex
import threading
from typing import TYPE_CHECKING, Any

from pomona.cluster import record
from pomona.cluster.connection import Login, Remote, connect
from pomona.cluster.host import LOGS, PREFIX, PYTHON
from pomona.cluster.kinds import NodeState
from pomona.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from pomona.cluster.record import Cluster, Node

_SCRIPT = f"{PREFIX}/bootstrap.sh"
_MEBI_A_GIBI = 1024
_PAGE = (
    "import sys, urllib.request as r; sys.stdout.write(r.build_opener(r.ProxyHandler({}))"
    ".open('http://127.0.0.1:%d/json/', timeout=10).read().decode())"
)


class SshCluster:
    """What can be done with a deployed cluster; see :class:`pomona.cluster.kinds.ClusterHandle`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._login = Login(**cluster.details.get("login", {}))

    @property
    def targets(self) -> list[str]:
        """Its hosts as the user named them, the master's first."""
        return list(dict.fromkeys(node.address for node in self._cluster.nodes))

    def status(self) -> list[NodeState]:
        """Every process as its host tells it; on a host that does not answer, none runs."""
        told = asyncio.run(each(self.targets, self._login, _states))
        workers: dict[str, Any] = {}
        for found in told.values():
            if isinstance(found, tuple):
                workers |= found[1]
        return [self._state(node, told[node.address], workers) for node in self._cluster.nodes]

    def logs(self, node: str | None, lines: int, *, follow: bool = False) -> Iterator[str]:
        """The last lines of the log of a node or host, or of all; with ``follow``, what comes too.

        Raises:
            UsageError: there is no such node.
            ClusterError: a host cannot be reached.
        """
        chosen = [
            one
            for one in self._cluster.nodes
            if node in (None, one.name, one.host, one.address, one.address.rpartition("@")[2])
        ]
        if not chosen:
            names = ", ".join(one.name for one in self._cluster.nodes)
            raise UsageError(f"There is no node {node}.", f"Give one of these: {names}.")
        tail = f"exec tail -n {lines}{' -F' if follow else ''} {LOGS}"

        async def read(one: Node) -> AsyncIterator[str]:
            async with connect(one.address, self._login) as remote:
                await remote.become_root()
                async for line in remote.follow(f"{tail}/{one.role}.log 2>/dev/null"):
                    yield f"{one.name}: {line}"

        async def whole(one: Node) -> list[str]:
            return [line async for line in read(one)]

        async def gathered() -> list[list[str]]:
            return await asyncio.gather(*map(whole, chosen))

        if follow:
            return _merged([read(one) for one in chosen])
        return (line for found in asyncio.run(gathered()) for line in found)

    def stop(self) -> bool:
        """End its processes; they stay ended after a restart of their hosts.

        Raises:
            ClusterError: a host cannot be reached; those that could are stopped.
        """

        async def act(remote: Remote) -> bool:
            states = await _states(remote)
            await _script(remote, "--stop")
            return "running" in states[0].values()

        return any(_all(asyncio.run(each(self.targets, self._login, act)), "is not stopped"))

    def remove(self) -> None:
        """Take everything off its hosts, then forget it.

        Raises:
            ClusterError: a host cannot be reached; the record stays, to be removed again.
        """

        async def act(remote: Remote) -> None:
            await remote.become_root()
            await remove_from(remote, self._cluster.name)

        _all(asyncio.run(each(self.targets, self._login, act)), "has not been removed")
        record.forget(self._cluster.name)

    def ui(self, tell: Callable[[str], None]) -> None:
        """Open a tunnel to the master's page and keep it open."""
        master = self._cluster.nodes[0]
        port = master.ports["ui"]

        async def hold() -> None:
            async with connect(master.address, self._login) as remote:
                tell(f"http://127.0.0.1:{await remote.tunnel(port, port)}")
                await remote.closed()
            raise ClusterError(f"{master.address}: the tunnel ended.", "Open it again.")

        asyncio.run(hold())

    def _state(self, node: Node, told: Any, workers: dict[str, Any]) -> NodeState:
        if isinstance(told, ClusterError):
            return NodeState(node, running=False, told=told.what.removeprefix(f"{node.address}: "))
        running = told[0].get(node.role) == "running"
        if node.role == "master":
            alive = sum(facts["state"] == "ALIVE" for facts in workers.values())
            return NodeState(node, running, f"{alive} workers" if running else "")
        facts = workers.get(f"{node.host}:{node.ports['rpc']}")
        if not running or facts is None:
            return NodeState(node, running, "the master does not know it" if running else "")
        if facts["state"] != "ALIVE":
            return NodeState(node, running, f"the master counts it as {facts['state'].lower()}")
        memory = facts["memory"] / _MEBI_A_GIBI
        used = f", {facts['coresused']} in use" if facts["coresused"] else ""
        cores = f"{facts['cores']} core{'' if facts['cores'] == 1 else 's'}"
        return NodeState(node, running, f"{cores}{used}, {memory:.1f} GiB")


async def each(
    targets: list[str], login: Login, act: Callable[[Remote], Awaitable[Any]]
) -> dict[str, Any]:
    """Do something on all hosts at once.

    Returns:
        What came of it on each; a ClusterError where it failed.
    """

    async def one(target: str) -> Any:
        try:
            async with connect(target, login) as remote:
                return await act(remote)
        except ClusterError as error:
            return error

    return dict(zip(targets, await asyncio.gather(*map(one, targets)), strict=True))


def failures(told: dict[str, Any]) -> dict[str, ClusterError]:
    """The hosts, of what :func:`each` gave, on which it failed."""
    return {target: one for target, one in told.items() if isinstance(one, ClusterError)}


async def remove_from(remote: Remote, cluster: str) -> None:
    """Take a cluster off a host; one that it is not part of is left alone.

    Raises:
        ClusterError: the host is part of another cluster, or the script failed.
    """
    there = await membership(remote)
    if there and there != cluster:
        raise ClusterError(
            f"{remote.target}: it is part of the cluster {there}, not of {cluster}: left alone."
        )
    await _script(remote, "--remove")


async def membership(remote: Remote) -> str:
    """The cluster that a host is part of; empty if of none."""
    told = await remote.as_root(
        "sed -n 's/^POMONA_CLUSTER=//p' /etc/pomona/cluster.env 2>/dev/null"
    )
    return told.out.strip()


async def master_page(remote: Remote, port: int) -> dict[str, Any]:
    """What the master on this host knows, as its page tells programs; empty if it is not up."""
    told = await remote.run(f"{PYTHON} -c {shlex.quote(_PAGE % port)}")
    try:
        found: dict[str, Any] = json.loads(told.out)
    except ValueError:
        return {}
    return found


async def _states(remote: Remote) -> tuple[dict[str, str], dict[str, Any]]:
    """State by role on a host, and the workers that the master knows if it is there."""
    await remote.become_root()
    told = await _script(remote, "--status")
    states = {line.split()[0]: line.split()[1] for line in told.splitlines()}
    workers: dict[str, Any] = {}
    if states.get("master") == "running":
        page = await master_page(remote, await _ui_port(remote))
        # The last of those with one address is the one that registered last.
        for facts in sorted(page.get("workers", []), key=lambda one: one["state"] == "ALIVE"):
            workers[f"{facts['host']}:{facts['port']}"] = facts
    return states, workers


async def _ui_port(remote: Remote) -> int:
    told = await remote.as_root("sed -n 's/^POMONA_UI_PORT=//p' /etc/pomona/cluster.env")
    return int(told.out.strip() or 8080)


async def _script(remote: Remote, option: str) -> str:
    """Run the script that lies on a host, if it does."""
    done = await remote.as_root(f"[ ! -f {_SCRIPT} ] || sh {_SCRIPT} {option}")
    if done.code:
        raise ClusterError(f"{remote.target}: {done.err.removeprefix('pomona: ')}")
    return done.out


def _all(told: dict[str, Any], failed: str) -> list[Any]:
    """What came of it on every host.

    Raises:
        ClusterError: it failed on some; ``failed`` says what that means.
    """
    errors = failures(told)
    if not errors:
        return list(told.values())
    done = [target for target in told if target not in errors]
    lines = [error.what for error in errors.values()]
    raise ClusterError(
        f"{', '.join(errors)} {failed}"
        + (f"; {', '.join(done)} done" if done else "")
        + "".join(f"\n  {line}" for line in lines),
        next((error.fix for error in errors.values() if error.fix), "") + " Run it again then.",
    )


def _merged(sources: list[AsyncIterator[str]]) -> Iterator[str]:
    """Lines of several sources at once, as they come."""
    lines: queue.Queue[str | BaseException | None] = queue.Queue()
    loop = asyncio.new_event_loop()

    async def drain(source: AsyncIterator[str]) -> None:
        async for line in source:
            lines.put(line)

    async def drain_all() -> None:
        await asyncio.gather(*map(drain, sources))

    def work() -> None:
        try:
            loop.run_until_complete(task)
            lines.put(None)
        except asyncio.CancelledError:
            lines.put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the reader
            lines.put(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    task = loop.create_task(drain_all())
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (line := lines.get()) is not None:
            if isinstance(line, BaseException):
                raise line
            yield line
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(task.cancel)
        thread.join(20)
