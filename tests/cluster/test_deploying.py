"""Deployment for real: three hosts with sshd, from nothing to a finished run, and away again."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest

from pomona.cluster import record
from pomona.cluster.packing import pack
from pomona.samples import write_samples
from tests.command import Started, facts, pomona
from tests.servers.moto import moto_server
from tests.servers.namespaces import Host, Network, developer, needs_sshd, network

pytestmark = [needs_sshd, pytest.mark.timeout(900)]
_NAME = "grove"
_IMAGES = 300
_LIMIT = 800.0
"""Seconds that sending and unpacking may take on a machine with other work."""


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Records of clusters and SSH settings of these tests' own."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("HOME", str(folder))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        (folder / ".ssh").mkdir()
        (folder / ".ssh" / "config").write_text("Host *\n  ConnectTimeout 2\n")
        yield folder


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three hosts for a cluster, and a fourth that is none of it; none has Python, Java or us."""
    folder = tmp_path_factory.mktemp("orchard")
    with network(4, folder, files=True, sshd=True, hide=developer()) as made:
        yield made


def _deploy(made: Network, archive: Path, *more: str | Path, hosts: int = 3) -> list[str]:
    chosen = [host.address for host in made.hosts[:hosts]]
    login = ["--user", "root", "--key", str(made.key), "--known-hosts", str(made.known_hosts)]
    shape = ["--cores", "1", "--memory", "1g", "--name", _NAME, "--archive", str(archive)]
    return ["cluster", "deploy", *chosen, *login, *shape, *map(str, more)]


def _seen(host: Host) -> dict[str, str]:
    """Every file of a host with its mode, owner and content.

    Not what passwords were before, and not what systemd-analyze, which a test here runs, leaves.
    """
    told = host.run(
        [
            "bash",
            "-c",
            "find /etc /var /opt /home /root /run /srv /tmp /usr/local -xdev "
            r"\( -type f -o -type l -o -type d \) ! -name '*-' ! -name .pwd.lock "
            "! -path /run/sshd.log ! -path '/run/systemd*' -printf '%p %y %m %u:%g %l\\n'; "
            "sha256sum /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/subuid",
        ]
    )
    lines = (line.partition(" ") for line in told.stdout.splitlines())
    return {first: rest for first, _, rest in lines}


def _processes(host: Host) -> dict[int, str]:
    """Arguments of every process of a host, by its number there."""
    told = host.run(["ps", "axww", "-o", "pid=,args="]).stdout
    return {int(line.split()[0]): line.split(None, 1)[1] for line in told.splitlines()}


def _java(host: Host) -> dict[int, str]:
    return {pid: argv for pid, argv in _processes(host).items() if "org.apache.spark" in argv}


@pytest.fixture(scope="module")
def before(orchard: Network) -> list[dict[str, str]]:
    return [_seen(host) for host in orchard.hosts]


@pytest.fixture(scope="module")
def grove(orchard: Network, before: list[dict[str, str]], environment: Path) -> Iterator[Network]:
    """The three hosts after one command."""
    done = pomona(*_deploy(orchard, environment), "--json", limit=_LIMIT)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["master"] == f"spark://{orchard.hosts[0].address}:7077"
    assert "master and worker" in done.stderr
    yield orchard
    if _NAME in record.names():
        assert pomona("cluster", "remove", _NAME).returncode == 0


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This installation as an archive."""
    return pack(tmp_path_factory.mktemp("pack") / "env.tar.gz").path


def _manifest_alone(path: Path, **changed: str) -> Path:
    """An archive with nothing but its manifest in it."""
    found = {"machine": os.uname().machine, "glibc": "2.17", "pomona": "0"} | changed
    data = json.dumps(found).encode()
    member = tarfile.TarInfo("pomona-env/pomona-env.json")
    member.size = len(data)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"machine": "riscv64"}, "the archive is for riscv64"),
        ({"glibc": "9.99"}, "the archive needs 9.99"),
    ],
)
def test_an_archive_that_does_not_fit_changes_nothing(
    orchard: Network, before: Any, tmp_path: Path, changed: dict[str, str], told: str
) -> None:
    done = pomona(*_deploy(orchard, _manifest_alone(tmp_path / "a.tar.gz", **changed)))
    assert done.returncode == 1
    assert done.stderr.count(told) == 3
    assert "Nothing was changed" in done.stderr
    assert [_seen(host) for host in orchard.hosts] == before


def test_a_host_that_is_down_changes_nothing_on_the_others(
    orchard: Network, before: Any, tmp_path: Path
) -> None:
    orchard.hosts[2].cut()
    try:
        done = pomona(*_deploy(orchard, _manifest_alone(tmp_path / "a.tar.gz")))
    finally:
        orchard.hosts[2].mend()
    assert done.returncode == 1
    assert f"pomona: {orchard.hosts[2].address}: it does not answer" in done.stderr
    assert "Nothing was changed" in done.stderr
    assert [_seen(host) for host in orchard.hosts] == before


def test_what_fails_half_way_is_told_and_removed(
    orchard: Network, before: Any, tmp_path: Path
) -> None:
    done = pomona(*_deploy(orchard, _manifest_alone(tmp_path / "a.tar.gz"), hosts=2))
    assert done.returncode == 1
    assert "2 hosts failed. Run the same command again" in done.stderr
    assert done.stderr.count("does not run on this host") == 2
    assert pomona("cluster", "remove", _NAME).returncode == 0
    assert record.names() == []
    assert [_seen(host) for host in orchard.hosts] == before


def test_what_is_no_archive(orchard: Network, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("plums")
    done = pomona(*_deploy(orchard, tmp_path / "a"))
    assert done.returncode == 2
    assert "no archive of an environment" in done.stderr


def test_every_process_runs_and_the_workers_are_known(grove: Network) -> None:
    told = facts("cluster", "status", _NAME)["clusters"][0]
    assert told["running"]
    assert [node["name"] for node in told["nodes"]] == [
        "master",
        "worker-1",
        "worker-2",
        "worker-3",
    ]
    assert told["nodes"][0]["told"] == "3 workers"
    assert {node["told"] for node in told["nodes"][1:]} == {"1 core, 1.0 GiB"}
    logs = pomona("cluster", "logs", _NAME, "--lines", "1000").stdout
    assert "worker-3: " in logs
    assert "Successfully registered with master" in logs


def test_only_members_reach_a_port_and_the_pages_are_on_loopback(grove: Network) -> None:
    master, worker, _, stranger = grove.hosts
    assert master.listening() >= {
        (master.address, 7077),
        (master.address, 7078),
        ("127.0.0.1", 8080),
        ("127.0.0.1", 8081),
    }
    for host in grove.hosts[:3]:
        open_ports = {at for at in host.listening() if at[0] != "127.0.0.1" and at[1] != 22}
        assert {address for address, _ in open_ports} == {host.address}
    assert worker.reaches(master.address, 7077)
    assert master.reaches(worker.address, 7078)
    assert not stranger.reaches(master.address, 7077, within=1)
    assert not stranger.reaches(worker.address, 7078, within=1)
    assert stranger.reaches(master.address, 22)


def test_the_secret_is_in_no_list_of_processes_and_for_one_user_alone(grove: Network) -> None:
    cluster = record.load(_NAME)
    secret = cluster.secret()
    assert Path(cluster.secret_file).stat().st_mode & 0o777 == 0o600
    for host in grove.hosts[:3]:
        assert not any(secret in argv for argv in _processes(host).values())
        nobody = ["setpriv", "--reuid=nobody", "--clear-groups", "grep", "-rsl", secret]
        places = ["/etc", "/opt/pomona/daemon", "/var/log", "/var/lib/pomona"]
        readable = host.run([*nobody, *places], check=False)
        assert not readable.stdout
        java = next(iter(_java(host)))
        assert host.run(["ps", "-o", "user=", "-p", str(java)]).stdout.strip() == "pomona"


def test_units_and_rotation_are_sound(grove: Network) -> None:
    host = grove.hosts[0]
    for role in ("master", "worker"):
        unit = f"/etc/systemd/system/pomona-{role}.service"
        told = host.run(["systemd-analyze", "verify", unit], check=False)
        assert not told.returncode, told.stderr
        assert f"pomona-{role}" not in told.stderr
        rated = host.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=25", unit], check=False
        )
        assert not rated.returncode, rated.stdout
    told = host.run(["logrotate", "--debug", "/etc/logrotate.d/pomona"])
    assert "error" not in told.stderr
    assert "considering log /var/log/pomona/master.log" in told.stderr


def test_the_same_again_restarts_nothing(grove: Network, environment: Path) -> None:
    running = [_java(host) for host in grove.hosts[:3]]
    done = pomona(*_deploy(grove, environment))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("nothing to change") == 3
    assert [_java(host) for host in grove.hosts[:3]] == running


def test_a_cluster_is_not_taken_over_or_shrunk_by_accident(
    grove: Network, environment: Path
) -> None:
    done = pomona(*_deploy(grove, environment, hosts=2))
    assert done.returncode == 2
    assert f"{grove.hosts[2].address} is part of the cluster" in done.stderr
    done = pomona(*_deploy(grove, environment), "--name", "other")
    assert done.returncode == 1
    assert done.stderr.count("it is part of another cluster, grove") == 3


def test_the_page_of_the_master_comes_through_a_tunnel(grove: Network) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pomona", "cluster", "ui", _NAME], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}/json/", timeout=20) as answer:
            assert json.loads(answer.read())["aliveworkers"] == 3
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "images"
    write_samples(folder, count=_IMAGES, processes=1)
    return folder


@pytest.fixture
def bucket(grove: Network, monkeypatch: pytest.MonkeyPatch, images: Path) -> Iterator[str]:
    """A bucket with the images, on an S3 service that the hosts can reach."""
    with moto_server(grove.address) as url:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIAPOMONATESTS00001",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(
            Bucket="orchard"
        )
        assert pomona("upload", images, "s3://orchard/in", "--quiet").returncode == 0
        yield url


_RUN = ["--precision", "fp32", "--engine", "onnxruntime", "--max-rejects", "50%"]


def _features(output: str, url: str | None = None) -> pl.DataFrame:
    options = {
        "aws_access_key_id": "AKIAPOMONATESTS00001",
        "aws_secret_access_key": "none",
        "aws_region": "us-east-1",
        "aws_endpoint_url": url or "",
        "aws_allow_http": "true",
    }
    table = pl.read_delta(f"{output}/features", storage_options=options if url else None)
    return table.sort("path").select("path", pl.col("features").list.to_array(512))


def test_a_run_outlives_a_killed_worker_and_a_cut_link(
    grove: Network, bucket: str, images: Path, tmp_path: Path
) -> None:
    wanted = facts("embed", images, tmp_path / "out", *_RUN)
    run = Started(
        "embed", "s3://orchard/in", "s3://orchard/out", "--master", _NAME, "--json",
        *_RUN, "--task-images", "4", "--chunk-tasks", "6",
        "--spark-conf", "spark.network.timeout=20s",
        "--spark-conf", "spark.network.timeoutInterval=5s",
        "--spark-conf", "spark.executor.heartbeatInterval=2s",
    )  # fmt: skip
    _, second, third, _ = grove.hosts
    s3 = boto3.client("s3", endpoint_url=bucket, region_name="us-east-1")
    parts = {"Bucket": "orchard", "Prefix": "out/features/part-"}
    run.await_sight(lambda: s3.list_objects_v2(**parts)["KeyCount"] >= 8, every=0.2)
    killed = _java(second)
    second.run(["kill", "-KILL", *map(str, killed)])
    third.cut()
    try:
        code, told = run.end()
    finally:
        third.mend()
    assert code == 0, told
    ours, theirs = _features("s3://orchard/out", bucket), _features(str(tmp_path / "out"))
    assert ours["path"].to_list() == theirs["path"].to_list()
    assert len(ours) == wanted["embedded"]
    difference = (ours["features"].to_numpy() - theirs["features"].to_numpy()).__abs__().max()
    assert difference < 1e-5
    until = time.monotonic() + 60
    while len(_java(second)) == 0:
        assert time.monotonic() < until, "the worker was not started again"
        time.sleep(0.5)


def test_stopped_it_stays_stopped_and_removed_it_leaves_no_trace(
    grove: Network, before: list[dict[str, str]], environment: Path
) -> None:
    assert pomona("cluster", "stop", _NAME).returncode == 0
    assert not any(_java(host) for host in grove.hosts)
    assert pomona("cluster", "status", _NAME).returncode == 1
    assert pomona(*_deploy(grove, environment)).returncode == 0
    assert all(_java(host) for host in grove.hosts[:3])
    grove.hosts[2].cut()
    try:
        done = pomona("cluster", "remove", _NAME)
    finally:
        grove.hosts[2].mend()
    assert done.returncode == 1
    assert f"{grove.hosts[2].address} has not been removed" in done.stderr
    assert record.names() == [_NAME]
    assert pomona("cluster", "remove", _NAME).returncode == 0
    assert record.names() == []
    for host, was in zip(grove.hosts, before, strict=True):
        assert _seen(host) == was
        assert not _java(host)
        assert "pomona" not in host.run(["nft", "list", "tables"]).stdout
