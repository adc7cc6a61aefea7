"""The hosts that other tests use are what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import gone
from tests.servers import namespaces
from tests.servers.namespaces import developer, needs_namespaces, needs_sshd, network

pytestmark = needs_namespaces


def _links() -> set[str]:
    told = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True)
    return {link["ifname"] for link in json.loads(told.stdout)}


def _spaces() -> set[str]:
    return {path.name for path in Path("/run/netns").glob("pm*")}


def _mine(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith(f"pm{os.getpid()}x")}


def test_hosts_reach_each_other_until_one_is_cut_off(tmp_path: Path) -> None:
    with network(2, tmp_path) as made:
        first, second = made.hosts
        server = second.start(
            [sys.executable, "-m", "http.server", "8000", "--bind", second.address],
            log=tmp_path / "log",
        )
        assert second.run(["hostname"]).stdout.strip() == second.name == "orchard2"
        while (second.address, 8000) not in second.listening():
            assert server.poll() is None, "the server ended"
        assert first.reaches(second.name, 8000)
        second.cut()
        assert not first.reaches(second.name, 8000, within=0.5)
        second.mend()
        assert first.reaches(second.name, 8000)


def test_nothing_stays_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plum"), network(2, tmp_path, files=True) as made:
        process = made.hosts[0].start(["sleep", "1000"], log=tmp_path / "log")
        assert len(_mine(_links())) == 3
        assert len(_mine(_spaces())) == 2
        raise ValueError("plum")
    assert not _mine(_links())
    assert not _mine(_spaces())
    assert process.returncode


def test_hosts_end_with_a_test_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from tests.servers.namespaces import network\n"
        "with network(1, pathlib.Path(sys.argv[1])) as made:\n"
        "    print(made.hosts[0]._pid, flush=True); time.sleep(100)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert gone([pid])
    namespaces._ip("netns", "del", f"pm{process.pid}x1n0")
    namespaces._ip("link", "del", f"pm{process.pid}x1b")


@needs_sshd
def test_a_host_has_files_of_its_own_and_lets_a_key_in(tmp_path: Path) -> None:
    with network(2, tmp_path, files=True, sshd=True, hide=developer()) as made:
        first, second = made.hosts
        before = first.written()
        first.run(["bash", "-c", "echo plum > /etc/plum; mkdir /opt/tree; touch /root/a /tmp/b"])
        assert first.written() - before == {"/etc/plum", "/opt/tree/", "/root/a", "/tmp/b"}
        assert first.path("/etc/plum").read_text() == "plum\n"
        assert not Path("/etc/plum").exists()
        assert second.run(["ls", "/etc/plum"], check=False).returncode
        assert first.run(["ls", Path(__file__)], check=False).returncode
        for python in (sys.executable, "/usr/bin/python3"):
            assert first.run([python, "-c", "pass"], check=False).returncode

        def ssh(*options: str, key: Path = made.key) -> Any:
            to = ["-o", f"UserKnownHostsFile={made.known_hosts}", "-o", "BatchMode=yes"]
            argv = ["ssh", "-F", "none", "-i", str(key), *to, *options, "hostname"]
            return subprocess.run(argv, capture_output=True, text=True, timeout=60)

        assert ssh(f"root@{second.address}").stdout == "orchard2\n"
        second.add_user("picker", made.key)
        assert ssh(f"picker@{second.address}").stdout == "orchard2\n"
        assert ssh(f"picker@{first.address}").returncode == 255
