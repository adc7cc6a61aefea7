from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pomona.cluster import process, record
from pomona.cluster.kinds import handle
from pomona.cluster.record import Cluster, Node
from pomona.errors import ClusterError, UsageError
from pomona.spark.session import write_private

_ONE = Cluster(
    name="grove",
    kind="local",
    master="spark://127.0.0.1:7077",
    nodes=(Node("127.0.0.1", "master", "master", 12, "then", {"rpc": 7077}),),
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_what_was_saved_is_loaded_and_only_its_owner_can_look(state: Path) -> None:
    record.save(_ONE)
    assert record.load("grove") == _ONE
    assert record.names() == ["grove"]
    assert _ONE.folder.stat().st_mode & 0o777 == 0o700
    assert (_ONE.folder / "cluster.json").stat().st_mode & 0o777 == 0o600
    record.forget("grove")
    assert record.names() == []
    assert not _ONE.folder.exists()


def test_the_secret_is_for_the_driver_and_not_in_the_record(tmp_path: Path) -> None:
    folder = record.make_folder("grove")
    write_private(folder / "secret", "hush-hush\n")
    one = Cluster("grove", "local", "spark://h:1", secret_file=str(folder / "secret"))
    record.save(one)
    assert "hush" not in (folder / "cluster.json").read_text()
    assert one.driver_conf()["spark.authenticate.secret"] == "hush-hush"
    assert "hush" not in repr(one)
    (folder / "secret").unlink()
    with pytest.raises(ClusterError, match="cannot be read"):
        one.driver_conf()


@pytest.mark.parametrize("name", ["", "local", "yarn", "Grove", "a/b", "..", "-x", "a" * 41, "a\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError):
        record.folder_of(name)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", json.dumps({"name": "grove"}), json.dumps({"nodes": [{"x": 1}]})]
)
def test_a_damaged_record_is_told(text: str) -> None:
    folder = record.make_folder("grove")
    (folder / "cluster.json").write_text(text)
    with pytest.raises(ClusterError, match="cannot be read"):
        record.load("grove")


def test_an_unknown_cluster_names_those_that_are_there() -> None:
    record.save(_ONE)
    with pytest.raises(UsageError) as caught:
        record.load("glade")
    assert "grove" in caught.value.fix


def test_a_kind_that_is_looked_after_elsewhere_is_told() -> None:
    with pytest.raises(ClusterError, match="aws"):
        handle(Cluster("grove", "aws", "spark://h:1"))


def _sleeper(*, deaf: bool = False) -> subprocess.Popen[bytes]:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN);" if deaf else ""
    code = f"import signal, time;{ignore}print('up', flush=True);time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    return child


@pytest.mark.parametrize("deaf", [False, True])
def test_a_process_is_ended_in_order_or_by_force(
    deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_GRACE", 0.5)
    child = _sleeper(deaf=deaf)
    since = process.born(child.pid)
    assert process.runs(child.pid, since)
    process.end([(child.pid, since)])
    assert not process.runs(child.pid, since)  # a zombie counts as gone
    assert child.wait() == -(signal.SIGKILL if deaf else signal.SIGTERM)
    assert process.born(child.pid) == ""


def test_another_process_of_the_same_number_is_left_alone() -> None:
    child = _sleeper()
    try:
        process.end([(child.pid, "0/0"), (child.pid, ""), (os.getpid(), "0/1")])
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
