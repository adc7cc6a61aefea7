"""Laying a cluster down on machines reached by SSH: all hosts at once, the master started first.

Running it again goes on where it stopped, brings the hosts up to date and changes nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shlex
import socket
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pomona.cluster import record
from pomona.cluster.connection import Login, Remote, connect
from pomona.cluster.host import (
    ETC,
    PREFIX,
    HostSettings,
    Ports,
    bootstrap_script,
    driver_conf,
)
from pomona.cluster.record import Cluster, Node
from pomona.cluster.ssh import each, failures, master_page, remove_from
from pomona.errors import ClusterError, UsageError
from pomona.spark.session import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pomona.cluster.archive import Archive
    from pomona.cluster.host import HostRole

    Tell = Callable[[str], None]

_REGISTERED = 60
"""Seconds that workers have to be known to the master."""
_SURVEY = """
uname -sm
echo "$SSH_CONNECTION"
getconf GNU_LIBC_VERSION 2>/dev/null || echo none
(. /etc/os-release && echo "$PRETTY_NAME") 2>/dev/null || echo unknown
"""
_ROOT_SURVEY = f"""
echo "cluster $(sed -n 's/^POMONA_CLUSTER=//p' {ETC}/cluster.env 2>/dev/null)"
echo "secret $(sha256sum < {ETC}/secret 2>/dev/null)"
for release in {PREFIX}/releases/*; do echo "release ${{release##*/}}"; done
"""


@dataclass(frozen=True)
class Plan:
    """What is to be deployed.

    Attributes:
        name: of the cluster.
        targets: the hosts that work, as ``[user@]host[:port]``.
        master: the host of the master; one of them, or one that does nothing else.
        login: how to get to all of them.
        archive: the environment that they get.
        cores: that each worker offers; None: all.
        memory: that each worker offers; empty: what there is, less a reserve.
        firewall: whether hosts let only each other and this machine to their ports.
        drop: whether hosts that were part of the cluster and are not named leave it.
        ports: of the cluster.
    """

    name: str
    targets: tuple[str, ...]
    master: str
    login: Login
    archive: Archive
    cores: int | None = None
    memory: str = ""
    firewall: bool = True
    drop: bool = False
    ports: Ports = field(default_factory=Ports)

    @property
    def hosts(self) -> tuple[str, ...]:
        """All hosts, the master's first."""
        return (self.master, *(target for target in self.targets if target != self.master))

    def role(self, target: str) -> HostRole:
        """What one of them is."""
        if target != self.master:
            return "worker"
        return "both" if target in self.targets else "master"


@dataclass(frozen=True)
class _Found:
    """What a host is before anything is done to it.

    Attributes:
        machine: such as ``x86_64``.
        system: name and version for people.
        glibc: such as (2, 36); empty where it is another C library.
        address: its own in the cluster: the one by which this machine reaches it.
        client: this machine's as the host sees it.
        cluster: which it is part of.
        secret: checksum of the secret that it has.
        releases: that are unpacked on it.
    """

    machine: str
    system: str
    glibc: tuple[int, ...]
    address: str
    client: str
    cluster: str
    secret: str
    releases: frozenset[str]


def deploy(plan: Plan, tell: Tell) -> Cluster:
    """Make or update a cluster, and record it.

    Args:
        plan: what.
        tell: gets a line for each thing that was done.

    Raises:
        UsageError: the plan contradicts itself or what is there.
        ClusterError: some host cannot be reached or does not fit, and nothing was done; or it
            failed on some, which are named, and running it again goes on.
    """
    if len(set(plan.targets)) < len(plan.targets) or not plan.targets:
        raise UsageError("A host is named twice, or none is.", "Name each host once.")
    before = record.load(plan.name) if plan.name in record.names() else None
    _check_before(plan, before)
    return asyncio.run(_deploy(plan, before, tell))


async def _deploy(plan: Plan, before: Cluster | None, tell: Tell) -> Cluster:
    surveyed = await each(list(plan.hosts), plan.login, _survey)
    if errors := failures(surveyed):
        raise _failure(errors, "Nothing was changed on any host.")
    found: dict[str, _Found] = surveyed
    if errors := dict(_misfits(plan, found, before)):
        raise _failure(errors, "Nothing was changed on any host.")
    secret = _secret_of(plan.name, before)
    cluster = _record_of(plan, found, secret, tell)
    record.save(cluster)
    members = tuple(
        dict.fromkeys(
            [one.address for one in found.values()] + [one.client for one in found.values()]
        )
    )

    async def lay(remote: Remote) -> None:
        await remote.become_root()
        one = found[remote.target]
        await remote.write(f"{PREFIX}/bootstrap.sh", bootstrap_script(), 0o755)
        await remote.write(f"{ETC}/secret", cluster.secret(), 0o600)
        settings = HostSettings(
            role=plan.role(remote.target),
            cluster=plan.name,
            master_host=found[plan.master].address,
            archive=f"{PREFIX}/{plan.archive.release}.tar.gz",
            archive_sha256=plan.archive.sha256,
            bind=one.address,
            cores=plan.cores,
            memory=plan.memory,
            members=members if plan.firewall else (),
            ports=plan.ports,
        )
        await remote.write(f"{ETC}/cluster.env", settings.render(), 0o644)
        if plan.archive.release not in one.releases:
            await _upload(remote, plan.archive, tell)
            news[remote.target] = await _bootstrap(remote, "--prepare")

    async def start(remote: Remote) -> None:
        await remote.become_root()
        told = news.get(remote.target, []) + (await _bootstrap(remote, ""))[:-1]
        await remote.as_root(f"rm -f {PREFIX}/{plan.archive.release}.tar.gz")
        role = _ROLES[plan.role(remote.target)]
        tell(f"{remote.target}: {role}: {'; '.join(told) or 'nothing to change'}")

    news: dict[str, list[str]] = {}
    laid = await each(list(plan.hosts), plan.login, lay)
    failed = failures(laid)
    if plan.master in failed:
        raise _failure(failed, "Run the same command again; it goes on from here.")
    failed |= failures(await each([plan.master], plan.login, start))
    rest = [target for target in plan.hosts[1:] if target not in failed]
    if plan.master not in failed:
        failed |= failures(await each(rest, plan.login, start))
    if failed:
        raise _failure(failed, "Run the same command again; it goes on from here.")
    for target in _left(plan, before):
        await _drop(target, plan, tell)
    await _wait(plan, found)
    return cluster


_ROLES = {"master": "master", "worker": "worker", "both": "master and worker"}


def _check_before(plan: Plan, before: Cluster | None) -> None:
    if before is None:
        return
    if before.kind != "ssh":
        raise UsageError(
            f"There is a cluster {plan.name} already, of the kind {before.kind}.",
            "Give another --name.",
        )
    if (left := _left(plan, before)) and not plan.drop:
        raise UsageError(
            f"{', '.join(left)} is part of the cluster {plan.name} and is not named.",
            "Name every host of the cluster; add --drop for those that are not to leave it.",
        )


def _left(plan: Plan, before: Cluster | None) -> list[str]:
    """Hosts of the cluster that the plan has not."""
    nodes = before.nodes if before is not None else ()
    return [one for one in dict.fromkeys(node.address for node in nodes) if one not in plan.hosts]


async def _survey(remote: Remote) -> _Found:
    """Look at a host, and make sure that its root can be reached."""
    seen = (await remote.run(_SURVEY)).out.splitlines()
    await remote.become_root()
    told = (await remote.as_root(_ROOT_SURVEY)).out
    if len(seen) < 4 or len(seen[1].split()) != 4:
        raise ClusterError(f"{remote.target}: its shell does not answer as one does.")
    system, machine = seen[0].split()
    if system != "Linux":
        raise ClusterError(f"{remote.target}: it runs {system}; a cluster's hosts run Linux.")
    client, _, address, _ = seen[1].split()
    library, _, version = seen[2].partition(" ")
    root: dict[str, list[str]] = {"cluster": [], "secret": [], "release": []}
    for line in told.splitlines():
        key, *value = line.split()
        root[key] += value[:1]
    return _Found(
        machine=machine,
        system=seen[3],
        glibc=tuple(map(int, version.split("."))) if library == "glibc" else (),
        address=address,
        client=client,
        cluster="".join(root["cluster"]),
        secret="".join(root["secret"]),
        releases=frozenset(root["release"]),
    )


def _misfits(
    plan: Plan, found: dict[str, _Found], before: Cluster | None
) -> Iterator[tuple[str, ClusterError]]:
    """Hosts that cannot become what the plan wants."""
    seen: dict[str, str] = {}
    mine = hashlib.sha256(before.secret().encode()).hexdigest() if before is not None else ""
    for target, host in found.items():
        other = seen.setdefault(host.address, target)
        if other != target:
            yield target, ClusterError(f"{target}: it is the same host as {other}.")
        elif host.machine != plan.archive.machine:
            yield (
                target,
                ClusterError(
                    f"{target}: it is a {host.machine}, and the archive is for "
                    f"{plan.archive.machine}.",
                    f"Run pomona cluster pack on a {host.machine} and give the file as --archive.",
                ),
            )
        elif host.glibc < plan.archive.glibc:
            have = f"glibc {'.'.join(map(str, host.glibc))}" if host.glibc else "no glibc"
            yield (
                target,
                ClusterError(
                    f"{target}: {host.system} has {have}, and the archive needs "
                    f"{'.'.join(map(str, plan.archive.glibc))}.",
                    "Run pomona cluster pack on a system as old as that, or take a newer one.",
                ),
            )
        elif host.cluster and (host.cluster != plan.name or host.secret != mine):
            yield (
                target,
                ClusterError(
                    f"{target}: it is part of another cluster, {host.cluster}.",
                    f"pomona cluster remove {host.cluster} where that was deployed from, or on "
                    f"the host: sudo sh {PREFIX}/bootstrap.sh --remove",
                ),
            )


def _secret_of(name: str, before: Cluster | None) -> Path:
    """The file of the cluster's secret, made where there is none."""
    path = record.make_folder(name) / "secret"
    if before is None or not path.exists():
        write_private(path, secrets.token_urlsafe(48) + "\n")
    return path


def _record_of(plan: Plan, found: dict[str, _Found], secret: Path, tell: Tell) -> Cluster:
    master = found[plan.master]
    conf = driver_conf(plan.ports)
    if _is_own(master.client):
        conf |= {"spark.driver.host": master.client, "spark.driver.bindAddress": master.client}
    else:
        tell(
            f"the hosts see this machine as {master.client}, which is none of its addresses: "
            "executors will not reach a driver here; run it on the master"
        )
    nodes = [
        Node(
            host=master.address,
            role="master",
            name="master",
            ports={"rpc": plan.ports.master, "ui": plan.ports.master_ui},
            address=plan.master,
        )
    ]
    nodes += [
        Node(
            host=found[target].address,
            role="worker",
            name=f"worker-{number}",
            ports={"rpc": plan.ports.worker, "ui": plan.ports.worker_ui},
            address=target,
        )
        for number, target in enumerate(plan.targets, 1)
    ]
    return Cluster(
        name=plan.name,
        kind="ssh",
        master=f"spark://{master.address}:{plan.ports.master}",
        nodes=tuple(nodes),
        secret_file=str(secret),
        conf=conf,
        versions=plan.archive.versions,
        details={"login": asdict(plan.login), "release": plan.archive.release},
    )


def _is_own(address: str) -> bool:
    """Whether an address is one of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        try:
            trial.bind((address, 0))
        except OSError:
            return False
    return True


async def _upload(remote: Remote, archive: Archive, tell: Tell) -> None:
    """Send the archive, unless all of it is there from an attempt before."""
    path = f"{PREFIX}/{archive.release}.tar.gz"
    done = await remote.as_root(f"sha256sum < {shlex.quote(path)} 2>/dev/null || :")
    if done.out.split()[:1] == [archive.sha256]:
        return
    size = archive.path.stat().st_size
    tell(f"{remote.target}: sending the archive, {size / 1e6:,.0f} MB")
    await remote.send(archive.path, path, lambda _: None)


async def _bootstrap(remote: Remote, option: str) -> list[str]:
    """Run the script; what it did.

    Raises:
        ClusterError: it could not.
    """
    done = await remote.as_root(f"sh {PREFIX}/bootstrap.sh {option}")
    if done.code:
        why = done.err.splitlines()[-1] if done.err else f"code {done.code}"
        raise ClusterError(f"{remote.target}: {why.removeprefix('pomona: ')}")
    return [line.removeprefix("pomona: ") for line in done.out.splitlines()]


async def _drop(target: str, plan: Plan, tell: Tell) -> None:
    try:
        async with connect(target, plan.login) as remote:
            await remote.become_root()
            await remove_from(remote, plan.name)
        tell(f"{target}: left the cluster")
    except ClusterError as error:
        tell(f"{error.what} It is forgotten as it is.")


async def _wait(plan: Plan, found: dict[str, _Found]) -> None:
    """Wait until the master counts every worker.

    Raises:
        ClusterError: some do not come.
    """
    wanted = {found[target].address: target for target in plan.targets}
    alive: set[str] = set()
    async with connect(plan.master, plan.login) as remote:
        for _ in range(_REGISTERED):
            page: dict[str, Any] = await master_page(remote, plan.ports.master_ui)
            alive = {one["host"] for one in page.get("workers", []) if one["state"] == "ALIVE"}
            if wanted.keys() <= alive:
                return
            await asyncio.sleep(1)
    late = ", ".join(target for address, target in wanted.items() if address not in alive)
    raise ClusterError(
        f"The master does not hear of the worker on {late}.",
        f"See pomona cluster logs {plan.name}; a firewall may stand between the hosts.",
    )


def _failure(errors: dict[str, ClusterError], outcome: str) -> ClusterError:
    """What went wrong on some hosts, as one error: a line and a fix for each."""
    if len(errors) == 1:
        error = next(iter(errors.values()))
        return ClusterError(f"{error.what}\n{outcome}", error.fix)
    lines = [
        f"  {error.what}{f' Fix: {error.fix}' if error.fix else ''}" for error in errors.values()
    ]
    return ClusterError("\n".join([f"{len(errors)} hosts failed. {outcome}", *lines]))
