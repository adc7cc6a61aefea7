from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pomona.cluster.connection import Login, connect
from pomona.errors import ClusterError, UsageError
from tests.servers.namespaces import Network, needs_sshd, network

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(2, tmp_path_factory.mktemp("orchard"), files=True, sshd=True) as made:
        made.hosts[0].add_user("picker", made.key)
        made.hosts[0].add_user("farmer", made.key)
        sudoers = made.hosts[0].path("/etc/sudoers.d")
        if sudoers.parent.joinpath("sudoers.d").exists() or shutil.which("sudo"):
            sudoers.mkdir(exist_ok=True)
            (sudoers / "farmer").write_text("farmer ALL=(root) NOPASSWD: ALL\n")
            (sudoers / "farmer").chmod(0o440)
        yield made


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without anything of SSH in it, and no agent."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


def _login(made: Network, **changed: str) -> Login:
    login = Login("root", str(made.key), str(made.known_hosts))
    return replace(login, **changed)  # type: ignore[arg-type]


def _as_root(target: str, login: Login, command: str = "id -u; cat") -> str:
    async def act() -> str:
        async with connect(target, login) as remote:
            await remote.become_root()
            return (await remote.as_root(command, "told")).out

    return asyncio.run(act())


def _refused(target: str, login: Login) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        _as_root(target, login)
    assert target in caught.value.what
    assert "\n" not in caught.value.what
    return caught.value


def test_root_is_reached(orchard: Network) -> None:
    assert _as_root(orchard.hosts[0].address, _login(orchard)) == "0\ntold"


def test_root_is_reached_by_sudo(orchard: Network) -> None:
    if not shutil.which("sudo"):
        pytest.skip("sudo is not installed")
    assert _as_root(f"farmer@{orchard.hosts[0].address}", _login(orchard)) == "0\ntold"


def test_who_may_not_use_sudo_is_told(orchard: Network) -> None:
    error = _refused(f"picker@{orchard.hosts[0].address}", _login(orchard))
    assert "picker is not root and may not use sudo" in error.what
    assert "/etc/sudoers.d/picker" in error.fix


def test_ssh_configuration_agent_and_usual_places_count(orchard: Network, home: Path) -> None:
    host = orchard.hosts[1]
    shutil.copyfile(orchard.known_hosts, home / ".ssh" / "known_hosts")
    (home / ".ssh" / "config").write_text(
        f"Host tree\n  HostName {host.address}\n  User root\n  IdentityFile {orchard.key}\n"
    )
    assert _as_root("tree", Login(), "hostname") == "orchard2\n"


def test_keys_of_the_agent_count(
    orchard: Network, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = home / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            assert agent.poll() is None, "no agent"
        subprocess.run(["ssh-add", "-q", orchard.key], check=True)
        assert (
            _as_root(orchard.hosts[0].address, _login(orchard, key=""), "hostname") == "orchard1\n"
        )
    finally:
        agent.terminate()
        agent.wait()


def test_an_unknown_host_key_is_refused_with_its_fingerprint(orchard: Network) -> None:
    host = orchard.hosts[0]
    error = _refused(host.address, _login(orchard, known_hosts="/dev/null"))
    public = host.path("/etc/ssh/orchard_host_key.pub")
    told = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True).stdout
    assert told.split()[1] in error.what
    assert "not known" in error.what
    assert f"ssh-keyscan -t ed25519 {host.address} >> /dev/null" in error.fix


def test_what_the_fix_says_makes_the_host_known(orchard: Network, home: Path) -> None:
    host = orchard.hosts[0]
    login = _login(orchard, known_hosts="")
    error = _refused(host.address, login)
    command = error.fix.rpartition("if it is the same: ")[2]
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    assert _as_root(host.address, login, "hostname") == "orchard1\n"


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_changed_host_key_is_refused(orchard: Network, tmp_path: Path, kind: str) -> None:
    host = orchard.hosts[0]
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", other], check=True)
    known = tmp_path / "known"
    known.write_text(f"{host.address} {other.with_suffix('.pub').read_text()}")
    error = _refused(host.address, _login(orchard, known_hosts=str(known)))
    assert "CHANGED" in error.what
    assert f"ssh-keygen -f {known} -R '{host.address}'" in error.fix


def test_the_kind_of_key_that_is_known_is_asked_for(orchard: Network, tmp_path: Path) -> None:
    host = orchard.hosts[1]
    rsa = host.path("/etc/ssh/second_host_key")
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", rsa], check=True)
    config = "/etc/ssh/orchard_sshd_config"
    text = host.path(config).read_text().replace("Port 22", "Port 2222")
    text = text.replace("Port 2222\n", "Port 2222\nHostKey /etc/ssh/second_host_key\n")
    host.path(config + "2").write_text(text)
    host.run(["/usr/sbin/sshd", "-f", config + "2"])
    known = tmp_path / "known"
    known.write_text(f"[{host.address}]:2222 {rsa.with_suffix('.pub').read_text()}")
    login = _login(orchard, known_hosts=str(known))
    assert _as_root(f"{host.address}:2222", login, "hostname") == "orchard2\n"


def test_configuration_cannot_turn_the_check_off(orchard: Network, home: Path) -> None:
    host = orchard.hosts[0].address
    (home / ".ssh" / "config").write_text(
        "Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile none\n"
    )
    error = _refused(host, _login(orchard, known_hosts=""))
    assert "turns off the check" in error.what
    (home / ".ssh" / "config").write_text("Host *\n  StrictHostKeyChecking no\n")
    assert "not known" in _refused(host, _login(orchard, known_hosts="")).what


def test_a_key_that_is_not_let_in_is_told(orchard: Network, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    error = _refused(orchard.hosts[0].address, _login(orchard, key=str(other)))
    assert f"does not let root in with the key {other}" in error.what


def test_a_key_with_a_passphrase_names_the_agent(orchard: Network, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "plums", "-f", other], check=True)
    assert "ssh-add" in _refused(orchard.hosts[0].address, _login(orchard, key=str(other))).fix


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("{network}.77", "cannot be reached"),
        ("{network}.10:2222", "refuses the connection"),
        ("orchard.invalid", "cannot be resolved"),
    ],
)
def test_a_host_that_is_down_is_told(orchard: Network, target: str, told: str) -> None:
    prefix = orchard.address.rpartition(".")[0]
    assert told in _refused(target.format(network=prefix), _login(orchard)).what


def test_a_connection_that_breaks_is_no_traceback(orchard: Network) -> None:
    host = orchard.hosts[1]

    async def act() -> None:
        async with connect(host.address, _login(orchard)) as remote:
            await remote.run("kill -KILL $PPID")
            await remote.run("true")

    with pytest.raises(ClusterError, match="connection broke"):
        asyncio.run(act())


@pytest.mark.parametrize("target", ["", "a b", "-oProxyCommand=x", "a@b@c", "host:port"])
def test_what_is_no_host(target: str) -> None:
    with pytest.raises(UsageError, match="no host"):
        _as_root(target, Login())


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        _as_root("tree", Login(key=str(tmp_path / "none")))
