from __future__ import annotations

import json
from pathlib import Path

import pytest

from pomona.cli.masters import with_cluster
from pomona.cluster import record
from pomona.cluster.record import Cluster, ClusterKind
from pomona.errors import UsageError
from pomona.settings import load_settings
from pomona.spark.session import write_private

_URL = "spark://127.0.0.1:7077"


def _recorded(kind: ClusterKind) -> None:
    secret = record.make_folder("grove") / "secret"
    write_private(secret, "hush\n")
    record.save(Cluster("grove", kind, _URL, secret_file=str(secret), conf={"spark.a": "1"}))


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws_home: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("given", ["grove", _URL])
def test_a_known_cluster_brings_what_a_driver_needs(given: str) -> None:
    _recorded("aws")
    found = with_cluster(load_settings(master=given, spark_conf={"spark.a": "2"}))
    assert found.master == _URL
    assert found.spark_conf["spark.authenticate.secret"] == "hush"
    assert found.spark_conf["spark.a"] == "2"  # what was given wins
    assert not [key for key in found.spark_conf if "AWS_" in key]  # workers there have a role
    assert "hush" not in json.dumps(found.model_dump(mode="json"))


@pytest.mark.parametrize("kind", ["local", "ssh"])
def test_executors_get_the_commands_credentials_and_the_ledger_does_not(
    kind: ClusterKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    _recorded(kind)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/on/this/machine")
    found = with_cluster(load_settings(master="grove"))
    key = found.spark_conf["spark.executorEnv.AWS_ACCESS_KEY_ID"]
    secret = found.spark_conf["spark.executorEnv.AWS_SECRET_ACCESS_KEY"]
    here = "spark.executorEnv.AWS_SHARED_CREDENTIALS_FILE" in found.spark_conf
    assert here == (kind == "local")
    told = json.dumps(found.model_dump(mode="json"))
    assert key not in told
    assert secret not in told


@pytest.mark.parametrize("master", ["local", "local[2]", "yarn", "k8s://https://h", "spark://h:1"])
def test_what_spark_calls_a_master_stays_as_it_is(master: str) -> None:
    _recorded("local")
    settings = load_settings(master=master)
    assert with_cluster(settings) is settings


def test_an_unknown_name_is_misuse() -> None:
    with pytest.raises(UsageError, match="no cluster glade"):
        with_cluster(load_settings(master="glade"))
