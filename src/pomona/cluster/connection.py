"""One SSH connection to a host: whom it trusts, how it becomes root, and what went wrong."""

from __future__ import annotations

import os
import re
import shlex
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pomona.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncssh import SSHClientConnection, SSHClientConnectionOptions, SSHKey
    from asyncssh.known_hosts import SSHKnownHosts

_PATIENCE = 15.0
"""Seconds until a host that does not answer counts as down."""
_PIECE = 1 << 18
_USUAL_PORT = 22
_TARGET = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?P<host>[^@\s:]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>\d+))?"
)


@dataclass(frozen=True)
class Login:
    """How to log in, the same on every host; what is not given here is looked up as ``ssh`` does.

    Attributes:
        user: default: that of ``~/.ssh/config``, else the one who runs this.
        key: file of the private key. Default: those of ``~/.ssh/config``, of the agent and
            the usual ones.
        known_hosts: file of the host keys that are trusted. Default: the user's.
        port: default: that of ``~/.ssh/config``, else 22.
    """

    user: str = ""
    key: str = ""
    known_hosts: str = ""
    port: int = 0

    def at(self, target: str) -> tuple[str, dict[str, Any]]:
        """Host and the options of ``asyncssh.connect`` for ``[user@]host[:port]``.

        Raises:
            UsageError: that is no host.
        """
        found = _TARGET.fullmatch(target)
        if found is None or found["host"].startswith("-"):
            raise UsageError(f"{target!r} is no host.", "Give [USER@]HOST[:PORT].")
        options: dict[str, Any] = {}
        if user := found["user"] or self.user:
            options["username"] = user
        if port := int(found["port"] or self.port):
            options["port"] = port
        if self.key:
            options["client_keys"] = [self.key]
        if self.known_hosts:
            options["known_hosts"] = self.known_hosts
        return found["host"].strip("[]"), options


@dataclass(frozen=True)
class Done:
    """A command that has ended on a host.

    Attributes:
        code: its exit code.
        out: what it printed.
        err: what it printed on stderr, without blanks at its ends.
    """

    code: int
    out: str
    err: str


class Remote:
    """A host that answers.

    Attributes:
        target: as the user named it.
    """

    def __init__(self, target: str, connection: SSHClientConnection) -> None:
        self.target = target
        self._connection = connection
        self._sudo = ""

    async def run(self, command: str, told: str = "") -> Done:
        """Run a shell command to its end, with ``told`` as its standard input."""
        done = await self._connection.run(command, input=told, encoding="utf-8", errors="replace")
        code = -1 if done.returncode is None else done.returncode
        return Done(code, str(done.stdout or ""), str(done.stderr or "").strip())

    async def become_root(self) -> None:
        """Make sure that :meth:`as_root` works.

        Raises:
            ClusterError: the user is neither root nor may use sudo without a password.
        """
        who = (await self.run("id -un; id -u")).out.split()
        if who[-1:] == ["0"]:
            return
        trial = await self.run("sudo -n true")
        if trial.code:
            user = who[0] if who else "the user"
            why = trial.err.splitlines()[-1] if trial.err else "sudo refuses"
            raise ClusterError(
                f"{self.target}: {user} is not root and may not use sudo without a password: {why}",
                f"Log in as root, or allow it there: echo '{user} ALL=(root) NOPASSWD: ALL' > "
                f"/etc/sudoers.d/{user}",
            )
        self._sudo = "sudo -n "

    async def as_root(self, command: str, told: str = "") -> Done:
        """Run a shell command as root."""
        return await self.run(f"{self._sudo}sh -c {shlex.quote(command)}", told)

    async def write(self, path: str, text: str, mode: int) -> None:
        """Write a file as root; nobody sees half of it, or sees it before it has its mode.

        Raises:
            ClusterError: it cannot be written.
        """
        at = shlex.quote(path)
        done = await self.as_root(
            f"umask 077 && mkdir -p -m 755 {shlex.quote(os.path.dirname(path))} && "  # noqa: PTH120
            f"cat > {at}.new && chmod {mode:o} {at}.new && mv -f {at}.new {at}",
            text,
        )
        if done.code:
            raise ClusterError(f"{self.target}: cannot write {path}: {done.err}")

    async def send(self, file: Path, path: str, sent: Callable[[int], None]) -> None:
        """Send a local file to a path, as root.

        Args:
            file: which.
            path: where to; it appears when all of it is there.
            sent: told how many more bytes have gone.

        Raises:
            ClusterError: it cannot be written there.
        """
        at = shlex.quote(path)
        command = f"umask 077 && cat > {at}.new && mv -f {at}.new {at}"
        async with self._connection.create_process(
            f"{self._sudo}sh -c {shlex.quote(command)}", encoding=None
        ) as process:
            with file.open("rb") as stream, suppress(BrokenPipeError, ConnectionResetError):
                while piece := stream.read(_PIECE):
                    process.stdin.write(piece)
                    await process.stdin.drain()
                    sent(len(piece))
                process.stdin.write_eof()
            done = await process.wait()
        if done.returncode:
            told = done.stderr or b""
            why = (told if isinstance(told, str) else told.decode(errors="replace")).strip()
            raise ClusterError(f"{self.target}: cannot write {path}: {why}")

    async def follow(self, command: str) -> AsyncIterator[str]:
        """Lines of a command that root runs, as they come."""
        full = f"{self._sudo}sh -c {shlex.quote(command)}"
        async with self._connection.create_process(full, errors="replace") as process:
            async for line in process.stdout:
                yield str(line).rstrip("\n")

    async def tunnel(self, port: int, to: int) -> int:
        """Lead a loopback port of this machine to a loopback port of the host.

        Args:
            port: of this machine; any free one where it is taken.
            to: of the host.

        Returns:
            The port of this machine.
        """
        try:
            listener = await self._connection.forward_local_port("127.0.0.1", port, "127.0.0.1", to)
        except OSError:
            listener = await self._connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", to)
        return int(listener.get_port())

    async def closed(self) -> None:
        """Wait until the connection ends."""
        await self._connection.wait_closed()


@asynccontextmanager
async def connect(target: str, login: Login) -> AsyncIterator[Remote]:
    """Log in to a host whose key is known.

    Raises:
        UsageError: that is no host, or a file that is named cannot be read.
        ClusterError: the host is down, unknown or another than it was, or does not let us in.
    """
    import asyncssh

    host, options = login.at(target)
    for name in (login.key, login.known_hosts):
        if name and not os.access(name, os.R_OK):
            raise UsageError(f"{name} cannot be read.", "Give an existing file.")
    presented: list[_Presented] = []

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: SSHKey) -> bool:
            # Asked only for keys that no known host has: never yes.
            presented.append(_Presented(host, addr, port, key))
            return False

    try:
        settings = await asyncssh.SSHClientConnectionOptions.construct(
            None, config=(), host=host, **options
        )
        files = [login.known_hosts] if login.known_hosts else _known_files(target, settings)
        known = asyncssh.import_known_hosts("\n".join(map(_text_of, files)))
        connection = await asyncssh.connect(
            host,
            options=settings,
            client_factory=Client,
            # Given in any case: left out, the configuration could turn the check off.
            known_hosts=known,
            server_host_key_algs=_preferred(known, settings),
            connect_timeout=settings.connect_timeout or _PATIENCE,
            # A cut that nobody tells of ends the connection after three of these.
            keepalive_interval=_PATIENCE,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise _distrusted(target, known, files[0], presented, error) from error
    except asyncssh.PermissionDenied as error:
        user = options.get("username") or settings.username
        raise ClusterError(
            f"{target}: it does not let {user} in with "
            f"{f'the key {login.key}' if login.key else 'the keys of the agent or ~/.ssh'}.",
            f"See that the public key is in ~{user}/.ssh/authorized_keys there, or name another "
            "one with --key, or another --user.",
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ClusterError(
            f"{target}: the key {login.key or 'of ~/.ssh'} cannot be used: {error}.",
            "A key with a passphrase has to be in the agent (ssh-add FILE); leave --key out then.",
        ) from error
    except (TimeoutError, OSError, asyncssh.Error) as error:
        raise _unreachable(target, error) from error
    except ValueError as error:
        raise ClusterError(f"{target}: ~/.ssh/config or {files[0]}: {error}.") from error
    try:
        yield Remote(target, connection)
    except (OSError, asyncssh.Error) as error:
        raise ClusterError(
            f"{target}: the connection broke: {_plain(error)}.", "Run the same command again."
        ) from error
    finally:
        connection.close()
        with suppress(OSError, asyncssh.Error):
            await connection.wait_closed()


@dataclass(frozen=True)
class _Presented:
    """A host key that was not trusted."""

    host: str
    address: str
    port: int
    key: SSHKey


def _known_files(target: str, settings: SSHClientConnectionOptions) -> list[str]:
    """The files of known hosts that ``ssh`` would look into, the user's first.

    Raises:
        ClusterError: the configuration says that there is none, which turns off the check.
    """
    user: Any = settings.config.get("UserKnownHostsFile", ["~/.ssh/known_hosts"])
    all_users: Any = settings.config.get("GlobalKnownHostsFile", ["/etc/ssh/ssh_known_hosts"])
    if not user:
        raise ClusterError(
            f"{target}: ~/.ssh/config turns off the check of its host key.",
            "Give --known-hosts FILE, or take UserKnownHostsFile none out.",
        )
    return [str(Path(file).expanduser()) for file in (*user, *all_users)]


def _text_of(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _preferred(known: SSHKnownHosts, settings: SSHClientConnectionOptions) -> list[str]:
    """Kinds of host keys, first those that are known of the host, as ``ssh`` has them.

    Left to itself, the library asks for no others, and a changed host is one that hangs up.
    """
    from asyncssh import match_known_hosts
    from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

    port = settings.port if settings.port != _USUAL_PORT else None
    keys = match_known_hosts(known, settings.host_key_alias or settings.host, "", port)[0]
    names = [name for key in keys for name in key.sig_algorithms]
    names += [*get_default_certificate_algs(), *get_default_public_key_algs()]
    return [name.decode("ascii") for name in dict.fromkeys(names)]


def _distrusted(
    target: str, known: SSHKnownHosts, file: str, presented: list[_Presented], error: Exception
) -> ClusterError:
    """Why a host key was refused: the host is unknown, or it was another one before."""
    import asyncssh

    if not presented:
        return ClusterError(f"{target}: its host key is refused: {_plain(error)}.")
    seen = presented[-1]
    port = seen.port if seen.port != _USUAL_PORT else None
    before = asyncssh.match_known_hosts(known, seen.host, seen.address, port)[0]
    fingerprint = seen.key.get_fingerprint()
    kind = seen.key.get_algorithm()
    scan = f"ssh-keyscan{f' -p {port}' if port else ''} -t {_short(kind)} {seen.host}"
    compare = f"ssh-keygen -lf /etc/ssh/ssh_host_{_short(kind)}_key.pub"
    if before:
        name = f"[{seen.host}]:{port}" if port else seen.host
        return ClusterError(
            f"{target}: its host key has CHANGED: it shows {fingerprint} ({kind}), and another one "
            f"is known in {file}. Someone may be posing as it.",
            f"Only if you know why: compare with `{compare}` on the host itself, then "
            f"ssh-keygen -f {file} -R '{name}' and {scan} >> {file}",
        )
    return ClusterError(
        f"{target}: its host key is not known: {fingerprint} ({kind}).",
        f"Compare with `{compare}` on the host itself; if it is the same: {scan} >> {file}",
    )


def _short(algorithm: str) -> str:
    """The kind of a key as ``ssh-keyscan -t`` takes it."""
    for kind in ("ed25519", "ecdsa", "rsa"):
        if kind in algorithm:
            return kind
    return algorithm


def _unreachable(target: str, error: BaseException) -> ClusterError:
    if isinstance(error, socket.gaierror):
        why, fix = "its name cannot be resolved", "See that the name is spelled right."
    elif isinstance(error, ConnectionRefusedError):
        why, fix = "it refuses the connection", "See that its sshd runs, and at that port."
    elif isinstance(error, TimeoutError):
        why, fix = "it does not answer", ""
    else:
        why, fix = f"it cannot be reached: {_plain(error)}", ""
    return ClusterError(
        f"{target}: {why}.", fix or "See that it is up and that a way leads there: ssh to it."
    )


def _plain(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__
