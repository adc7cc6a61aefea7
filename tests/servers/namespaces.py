"""Hosts on this machine: network namespaces on a bridge, each with files and processes of its own.

A host has an address in a private network, its own process ids (all of them end with the host)
and, with ``files``, its own /etc, /var, /opt, /home, /root, /run, /srv and /tmp: what it writes
there lies below :attr:`Host.folder` and nowhere else. This machine is on the network too, at
:attr:`Network.address`. Needs root; :func:`missing` says what a machine lacks.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

_TOOLS = ("ip", "unshare", "nsenter", "setpriv", "mount", "hostname")
_FRESH = ("opt", "home", "root", "run", "srv", "tmp")
"""Empty on a new host. The last of them may hold the folders that the others are mounted from."""
_COPIED = ("etc", "var")
"""On a new host what they are here."""
_WAIT = 30.0
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
_numbers = itertools.count(1)


@cache
def missing(*, sshd: bool = False) -> str:
    """What this machine lacks to make hosts; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts are made of network namespaces, by root on Linux"
    tools = (*_TOOLS, "ssh-keygen", "sshd") if sshd else _TOOLS
    if absent := [tool for tool in tools if not shutil.which(tool)]:
        return f"hosts need {', '.join(absent)}"
    with tempfile.TemporaryDirectory() as folder:
        options = f"lowerdir={folder},upperdir={folder}/upper,workdir={folder}/work"
        Path(folder, "upper").mkdir()
        Path(folder, "work").mkdir()
        apart = ["unshare", "--mount", "--net", "--pid", "--fork"]
        overlay = ["mount", "-t", "overlay", "overlay", "-o", options, "/mnt"]
        trial = subprocess.run([*apart, *overlay], capture_output=True, text=True)
    return f"hosts cannot be made here: {trial.stderr.strip()}" if trial.returncode else ""


needs_namespaces = pytest.mark.skipif(bool(missing()), reason=missing())
needs_sshd = pytest.mark.skipif(bool(missing(sshd=True)), reason=missing(sshd=True))


def developer() -> tuple[Path, ...]:
    """The checkout, this Python and its packages: what a host that is someone else's lacks."""
    places = {Path(__file__).resolve().parents[2]}
    places |= {Path(place).resolve() for place in sys.path if place and Path(place).is_dir()}
    places |= {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    places = {place for place in places if not place.is_relative_to("/usr")}
    found = [place for place in places if not places.intersection(place.parents)]
    system = [*Path("/usr/bin").glob("python3*"), *Path("/usr/bin").glob("java*")]
    system += Path("/usr/lib").glob("python3*")
    return (*sorted(found), *sorted(system))


@dataclass(frozen=True)
class Host:
    """One host.

    Attributes:
        name: which the others can resolve.
        address: in the private network.
        folder: what it has of its own: its ``root`` (files that it wrote), the log of its sshd.
        files: whether it has files of its own.
        host_key: its public SSH key in one line; empty without an sshd.
    """

    name: str
    address: str
    folder: Path
    files: bool
    _pid: int
    _link: str
    _started: list[subprocess.Popen[str]]
    host_key: str = ""

    def enter(self, argv: Sequence[str | Path]) -> list[str]:
        """A command that runs another one on the host."""
        into = ["--target", str(self._pid), "--mount", "--net", "--pid", "--uts", "--wd=/"]
        return ["nsenter", *into, "--", *map(str, argv)]

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float = 120,
        told: str = "",
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host to its end; ``told`` is its standard input."""
        done = subprocess.run(
            self.enter(argv),
            input=told,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=_ENVIRONMENT | (env or {}),
        )
        assert not check or done.returncode == 0, f"{self.name}: {argv}: {done.stderr}"
        return done

    def start(
        self, argv: Sequence[str | Path], *, log: Path, env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command on the host; it ends with the host at the latest.

        Args:
            argv: the command.
            log: takes what it says.
            env: beside what a login as root has.

        Returns:
            The process that waits for it: killing that one does not end the command.
        """
        with log.open("a") as stream:
            process = subprocess.Popen(
                self.enter(argv),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                text=True,
                env=_ENVIRONMENT | (env or {}),
            )
        self._started.append(process)
        return process

    def path(self, path: str) -> Path:
        """Where a file that the host wrote can be read from here."""
        return self.folder / "root" / path.lstrip("/")

    def written(self) -> set[str]:
        """Every path that differs from a host just made, sockets of sshd and logins left out."""
        root = self.folder / "root"
        return {f"/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file()} | {
            f"/{path.relative_to(root)}/" for path in root.rglob("*") if path.is_dir()
        }

    def listening(self) -> set[tuple[str, int]]:
        """Addresses and TCP ports that something listens on."""
        lines = self.run(["ss", "-Hltn"]).stdout.splitlines()
        ends = (line.split()[3].rsplit(":", 1) for line in lines)
        return {(address.strip("[]").removeprefix("::ffff:"), int(port)) for address, port in ends}

    def reaches(self, address: str, port: int, within: float = 2) -> bool:
        """Whether a TCP connection to a port comes about."""
        trial = ["timeout", str(within), "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
        return self.run(trial, check=False).returncode == 0

    def cut(self) -> None:
        """Take the host off the network."""
        _ip("link", "set", self._link, "down")

    def mend(self) -> None:
        """Put it back on the network."""
        _ip("link", "set", self._link, "up")

    def add_user(self, name: str, key: Path) -> None:
        """A user without rights who may log in with a key."""
        assert self.files
        self.run(["useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", name])
        self.run(["install", "-d", "-o", name, "-m", "700", f"/home/{name}/.ssh"])
        public = key.with_suffix(".pub").read_text()
        self.run(["bash", "-c", f"echo {shlex.quote(public)} > /home/{name}/.ssh/authorized_keys"])


@dataclass(frozen=True)
class Network:
    """Hosts on one bridge.

    Attributes:
        address: of this machine, for servers that the hosts shall reach.
        hosts: in the order of their addresses.
        key: private SSH key that logs in as root everywhere, where there are sshds.
        known_hosts: the hosts' keys as a person would have confirmed them.
    """

    address: str
    hosts: tuple[Host, ...]
    key: Path
    known_hosts: Path


@contextmanager
def network(
    count: int,
    folder: Path,
    *,
    files: bool = False,
    sshd: bool = False,
    hide: Sequence[Path] = (),
) -> Iterator[Network]:
    """Make hosts; they, their processes and the bridge are gone afterwards.

    Args:
        count: how many hosts.
        folder: for what they write; on a file system that takes overlays.
        files: give each its own files.
        sshd: start one on each, at port 22, which lets :attr:`Network.key` in.
        hide: files and folders that the hosts shall not see.
    """
    assert files or not sshd, "an sshd needs an /etc of its own"
    name = f"pm{os.getpid()}x{next(_numbers)}"
    prefix = _prefix()
    address = f"{prefix}.1"
    names = {f"{prefix}.{10 + index}": f"orchard{index + 1}" for index in range(count)}
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "key"
    if sshd:
        _keygen(key)
    hosts_file = folder / "hosts"
    lines = ["127.0.0.1 localhost", "::1 localhost", f"{address} outside"]
    hosts_file.write_text("\n".join([*lines, *(f"{a} {n}" for a, n in names.items())]) + "\n")
    running: list[subprocess.Popen[str]] = []
    made: list[Host] = []
    try:
        _ip("link", "add", f"{name}b", "type", "bridge")
        _ip("addr", "add", f"{address}/24", "dev", f"{name}b")
        _ip("link", "set", f"{name}b", "up")
        for index, (at, host_name) in enumerate(names.items()):
            space, link = f"{name}n{index}", f"{name}v{index}"
            _ip("netns", "add", space)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", link, "master", f"{name}b", "up")
            _ip("-n", space, "addr", "add", f"{at}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "route", "add", "default", "via", address)
            own = folder / host_name
            own.mkdir()
            process = _boot(space, host_name, own, hosts_file, files, hide)
            running.append(process)
            host = Host(host_name, at, own, files, _first(process), link, running)
            made.append(_with_sshd(host, key) if sshd else host)
        known = folder / "known_hosts"
        known.write_text("".join(f"{host.address} {host.host_key}\n" for host in made))
        yield Network(address, tuple(made), key, known)
    finally:
        for process in running:
            process.kill()
            process.wait()
        for index in range(count):
            with suppress(RuntimeError):
                _ip("link", "del", f"{name}v{index}")
            with suppress(RuntimeError):
                _ip("netns", "del", f"{name}n{index}")
        with suppress(RuntimeError):
            _ip("link", "del", f"{name}b")


def _boot(
    space: str, name: str, own: Path, hosts: Path, files: bool, hide: Sequence[Path]
) -> subprocess.Popen[str]:
    """Start a host's first process, by way of ``unshare``, which ends with it."""
    lines = ["set -eu", f"hostname {name}"]
    lines += [f"mount --bind {shlex.quote(str(hosts))} /etc/hosts"] if not files else []
    root = own / "root"
    for part in _COPIED if files else ():
        upper, work = root / part, own / "work" / part
        upper.mkdir(parents=True)
        work.mkdir(parents=True)
        options = f"lowerdir=/{part},upperdir={upper},workdir={work}"
        lines.append(f"mount -t overlay overlay -o {shlex.quote(options)} /{part}")
    if files:
        shutil.copyfile(hosts, root / "etc" / "hosts")
        (root / "etc" / "hostname").write_text(f"{name}\n")
    covered = [Path("/", part) for part in _FRESH] if files else []
    for place in covered:
        source = root / place.name
        source.mkdir()
        source.chmod({"tmp": 0o1777, "root": 0o700}.get(place.name, 0o755))
    # What lies below a folder that becomes empty is hidden by that.
    for place in hide:
        if not any(place.is_relative_to(cover) for cover in covered):
            lines.append(_cover(place))
    for place in covered:
        lines.append(f"mount --bind {shlex.quote(str(root / place.name))} {place}")
    lines += ["cd /", "echo ready", "exec >&-", "while :; do sleep 3600 & wait $!; done"]
    # Whoever started the host may be killed: then it ends too.
    bound = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{space}"]
    apart = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.Popen(
        [*bound, *apart, "bash", "-c", "\n".join(lines)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def _first(process: subprocess.Popen[str]) -> int:
    """The process id, as seen from here, of a host's first process, once the host is ready."""
    assert process.stdout is not None
    with process.stdout as told:
        if told.readline() != "ready\n":
            raise RuntimeError("a host did not come up")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return int(children.split()[0])


def _cover(place: Path) -> str:
    quoted = shlex.quote(str(place))
    if place.is_dir():
        return f"mount -t tmpfs -o size=4k,mode=755 none {quoted}"
    return f"mount --bind /dev/null {quoted}" if place.is_file() else ":"


def _with_sshd(host: Host, key: Path) -> Host:
    """The host with its sshd running."""
    ssh = host.path("/etc/ssh")
    ssh.mkdir(exist_ok=True)
    host_key = _keygen(ssh / "orchard_host_key")
    shutil.copyfile(key.with_suffix(".pub"), ssh / "orchard_authorized_keys")
    (ssh / "orchard_sshd_config").write_text(
        "Port 22\nHostKey /etc/ssh/orchard_host_key\nPidFile none\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nStrictModes no\nUseDNS no\n"
        "AuthorizedKeysFile .ssh/authorized_keys\nSubsystem sftp internal-sftp\n"
        "MaxStartups 100\n"
        "Match User root\nAuthorizedKeysFile /etc/ssh/orchard_authorized_keys\n"
    )
    host.run(["install", "-d", "-m", "755", "/run/sshd"])
    host.run(["/usr/sbin/sshd", "-f", "/etc/ssh/orchard_sshd_config", "-E", "/run/sshd.log"])
    until = time.monotonic() + _WAIT
    while True:
        with suppress(OSError), socket.create_connection((host.address, 22), timeout=1):
            break
        assert time.monotonic() < until, host.path("/run/sshd.log").read_text()
        time.sleep(0.05)
    return Host(**{**vars(host), "host_key": host_key})


def _keygen(path: Path) -> str:
    """Make a key pair; the public one in one line."""
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "orchard", "-f", str(path)]
    subprocess.run(made, check=True, capture_output=True)
    return path.with_suffix(".pub").read_text().strip()


def _prefix() -> str:
    """The first three numbers of a private network that nothing here uses."""
    told = subprocess.run(["ip", "-j", "route"], capture_output=True, text=True, check=True)
    used = [str(route.get("dst", "")) for route in json.loads(told.stdout or "[]")]
    start = os.getpid() * 7
    for number in range(start, start + 1000):
        prefix = f"10.{100 + number // 256 % 100}.{number % 256}"
        if not any(destination.startswith(f"{prefix}.") for destination in used):
            return prefix
    raise RuntimeError("no private network is free")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
