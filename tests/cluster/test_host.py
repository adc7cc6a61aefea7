from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pomona.cluster.host import HostSettings, Ports, bootstrap_script
from pomona.errors import UsageError
from tests.servers.namespaces import Host, needs_namespaces, network

_SHA = "0" * 64
_WORKER = HostSettings(
    role="worker",
    cluster="grove",
    master_host="10.0.0.1",
    archive="/opt/pomona/env.tar.gz",
    archive_sha256=_SHA,
)
_SECRET = "a-secret-of-the-tests-0123456789-abcdef"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"cluster": "a b"}, "no name"),
        ({"memory": "6 GB"}, "6g"),
        ({"memory": "0g"}, "6g"),
        ({"cores": 0}, "cores"),
        ({"master_host": "-oops"}, "no host"),
        ({"master_host": "a\nPOMONA_ROLE=master"}, "no host"),
        ({"archive": "/opt/$(reboot)"}, "no archive"),
        ({"archive_sha256": "beef"}, "no archive"),
        ({"bind": "orchard"}, "no address"),
        ({"members": ("10.0.0.1", "0.0.0.0/0")}, "no address"),
        ({"ports": Ports(master=80)}, "port"),
        ({"ports": Ports(worker=7077)}, "one port"),
        ({"ports": Ports(worker_ui=7090)}, "one port"),
    ],
)
def test_settings_that_are_none_are_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        dataclasses.replace(_WORKER, **changed).render()


def test_the_script_has_no_findings() -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    checker = str(shellcheck) if shellcheck.exists() else shutil.which("shellcheck")
    if checker is None:
        pytest.skip("shellcheck is not installed")
    told = subprocess.run(
        [checker, "--severity=style", "-"], input=bootstrap_script(), capture_output=True, text=True
    )
    assert not told.returncode, told.stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with network(1, tmp_path_factory.mktemp("host"), files=True) as made:
        yield made.hosts[0]


def _bootstrap(host: Host, settings: str, secret: str = _SECRET) -> str:
    """Run the script; what it refused with."""
    host.run(["mkdir", "-p", "/etc/pomona"])
    host.path("/etc/pomona/cluster.env").write_text(settings)
    host.path("/etc/pomona/secret").write_text(secret + "\n")
    host.path("/root/bootstrap.sh").write_text(bootstrap_script())
    done = host.run(["sh", "/root/bootstrap.sh"], check=False)
    assert done.returncode == 1, done.stdout
    return done.stderr


@needs_namespaces
@pytest.mark.parametrize(
    ("settings", "secret", "told"),
    [
        ("POMONA_ROLE=king\n", _SECRET, "master, worker or both"),
        ("POMONA_ROLE=worker", _SECRET, "checksum"),
        ("POMONA_PLUM=1\n", _SECRET, "not known: POMONA_PLUM"),
        ("plum\n", _SECRET, "without '='"),
        ("POMONA_ROLE=$(touch /root/plum)\n", _SECRET, "no setting needs"),
        ("POMONA_PREFIX=/usr\n", _SECRET, "has to end in /pomona"),
        ("POMONA_PREFIX=/opt/../pomona\n", _SECRET, "not taken"),
        (_WORKER.render(), "short", "shorter than 32"),
        (_WORKER.render(), "a b" * 20, "other characters"),
        (_WORKER.render() + "POMONA_MEMORY=6 GB\n", _SECRET, "6g or 900m"),
        (_WORKER.render() + "POMONA_CORES=01\n", _SECRET, "no port or number"),
        (_WORKER.render() + "POMONA_MASTER_HOST=\n", _SECRET, "needs POMONA_MASTER_HOST"),
        (_WORKER.render(), _SECRET, "no archive /opt/pomona/env.tar.gz"),
    ],
)
def test_the_script_refuses_what_it_cannot_do(
    host: Host, settings: str, secret: str, told: str
) -> None:
    assert told in _bootstrap(host, settings, secret)
    assert not host.path("/root/plum").exists()


@needs_namespaces
def test_a_damaged_archive_leaves_nothing_that_runs(host: Host) -> None:
    host.run(["mkdir", "-p", "/opt/pomona"])
    host.path("/opt/pomona/env.tar.gz").write_bytes(b"plums")
    assert "damaged" in _bootstrap(host, _WORKER.render())
    assert not list(host.path("/opt/pomona/releases").iterdir())
    done = host.run(["sh", "/root/bootstrap.sh", "--remove"])
    assert "removed" in done.stdout
    assert host.run(["getent", "passwd", "pomona"], check=False).returncode
    for path in ("/opt/pomona", "/etc/pomona", "/var/lib/pomona", "/var/log/pomona"):
        assert not host.path(path).exists()
