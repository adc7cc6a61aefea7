"""A cluster on this machine, for real: what it says of itself, and what it does when it is hurt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pomona.cluster import record
from pomona.cluster.process import runs
from pomona.samples import write_samples
from tests.command import Started, facts, gone, pomona

_FINE = ("--precision", "fp32", "--engine", "onnxruntime", "--task-images", "12")
_CHUNKS = ("--chunk-tasks", "4")
_COUNT = 240


def _status(name: str) -> dict[str, Any]:
    told = json.loads(pomona("cluster", "status", name, "--json").stdout)
    found: dict[str, Any] = told["clusters"][0]
    return found


def _table(moto: str, uri: str) -> pl.DataFrame:
    options = {
        "aws_access_key_id": "x",
        "aws_secret_access_key": "x",
        "aws_region": "us-east-1",
        "aws_endpoint_url": moto,
        "aws_allow_http": "true",
    }
    return pl.read_delta(uri, storage_options=options).sort("path")


def test_it_runs_authenticated_and_on_loopback_alone(grove: str) -> None:
    found = _status(grove)
    assert found["running"]
    assert [node["role"] for node in found["nodes"]] == ["master", "worker", "worker"]
    secret = record.load(grove).secret()
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout
    for node in found["nodes"]:
        ports = {f":{port}" for port in node["ports"].values()}
        lines = [line for line in listening.splitlines() if f"pid={node['pid']}," in line]
        assert len(lines) >= len(ports)
        assert all("127.0.0.1]:" in line or "127.0.0.1:" in line for line in lines), lines
        command = Path(f"/proc/{node['pid']}/cmdline").read_bytes()
        assert secret.encode() not in command
    for path in Path(found["folder"]).rglob("*"):
        if path.is_file() and secret.encode() in path.read_bytes():
            assert path.stat().st_mode & 0o077 == 0, path


def test_started_again_it_says_that_it_runs(grove: str) -> None:
    before = _status(grove)
    again = pomona("cluster", "start", "--name", grove, "-w", "2", "--cores", "1", "--json")
    told = json.loads(again.stdout)
    assert not told["started"]
    assert [n["pid"] for n in told["nodes"]] == [n["pid"] for n in before["nodes"]]
    other = pomona("cluster", "start", "--name", grove, "-w", "3")
    assert other.returncode == 2
    assert "in another shape" in other.stderr


def test_a_worker_killed_in_mid_run_changes_nothing(
    grove: str, bucket: Any, moto: str, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    write_samples(images, count=_COUNT, processes=1)
    for path in images.rglob("*.jpg"):
        bucket.upload_file(str(path), f"in/{path.relative_to(images)}")
    assert facts("embed", images, tmp_path / "out", *_FINE)["embedded"] == _COUNT
    run = Started("run", "s3://orchard/in", "s3://orchard/out", *_FINE, *_CHUNKS, "--master", grove)
    victim = next(node for node in _status(grove)["nodes"] if node["name"] == "worker-1")

    def half_way() -> bool:
        log = bucket.objects.filter(Prefix="out/features/_delta_log/")
        return len(list(log)) >= 3

    def strike() -> bool:
        if not half_way():
            return False
        assert record.load(grove).nodes[1].pid == victim["pid"]
        os.kill(victim["pid"], signal.SIGKILL)
        return True

    run.when(strike, 0)
    code, told = run.end()
    assert code == 0, told
    ours = _table(moto, "s3://orchard/out/features")
    theirs = pl.read_delta(str(tmp_path / "out" / "features")).sort("path")
    assert ours["path"].is_unique().all()
    assert ours.drop("etag").equals(theirs.drop("etag"))
    assert _table(moto, "s3://orchard/out/components")["path"].equals(ours["path"])
    keys = [item.key for item in bucket.objects.filter(Prefix="out/runs/")]
    ledger = json.loads(bucket.Object(keys[0]).get()["Body"].read())
    assert ledger["listed"] == ledger["embedded"] == _COUNT
    assert record.load(grove).secret() not in json.dumps(ledger)
    status = pomona("cluster", "status", grove, "--json")
    assert status.returncode == 1
    states = {n["name"]: n["running"] for n in json.loads(status.stdout)["clusters"][0]["nodes"]}
    assert states == {"master": True, "worker-1": False, "worker-2": True}
    assert "worker-2 executor" in pomona("cluster", "logs", grove, "--node", "worker-2").stdout


def test_a_worker_without_pomona_is_one_clear_message(grove: str, bucket: Any) -> None:
    python = Path(sys.executable).resolve()  # that of the virtual environment, without it
    bucket.put_object(Key="in/a.jpg", Body=b"never read")
    done = pomona(
        "embed", "s3://orchard/in", "s3://orchard/out", "--precision", "fp32",
        "--master", grove, "--spark-conf", f"spark.pyspark.python={python}",
    )  # fmt: skip
    assert done.returncode == 1
    assert "pomona cluster pack" in done.stderr
    assert len(done.stderr.splitlines()) <= 10


def test_stopped_nothing_of_it_is_left(grove: str) -> None:
    nodes = record.load(grove).nodes
    assert pomona("cluster", "stop").stdout == "grove is stopped\n"
    assert gone([node.pid for node in nodes])
    assert not any(runs(node.pid, node.born) for node in nodes)
    assert pomona("cluster", "stop", grove).stdout == "grove was not running\n"
    assert pomona("cluster", "ui", grove).returncode == 1
    assert pomona("cluster", "remove", grove).returncode == 0
    assert not record.folder_of(grove).exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cluster", "stop"), "There is none"),
        (("cluster", "start", "--name", "local"), "is no name"),
        (("cluster", "start", "--memory", "4"), "not understood"),
        (("cluster", "start", "--memory", "100m"), "too little"),
        (("embed", "a", "b", "--master", "glade"), "There is no cluster glade"),
        (("embed", "a", "b", "--master", "Glade!"), "a cluster's name"),
    ],
)
def test_mistakes_are_told(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    done = pomona(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
