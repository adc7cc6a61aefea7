from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pomona.storage import aws
from tests.servers.guard import guarded_moto
from tests.servers.moto import empty, moto_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.servers.guard import Guard

ACCESS_KEY = "AKIAPOMONATESTS00001"
SECRET_KEY = "secret-of-the-tests/0123456789abcdefghij"


@pytest.fixture
def aws_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """AWS settings of a test's own: made-up keys, and a folder for config and credentials."""
    import os

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    home = tmp_path / "aws"
    home.mkdir()
    for name, value in {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    aws.forget()
    yield home
    aws.forget()


@pytest.fixture(scope="session")
def _moto_of_all_tests() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def moto(_moto_of_all_tests: str, aws_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty S3 service, which the environment names too."""
    empty(_moto_of_all_tests)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _moto_of_all_tests)
    aws.forget()
    return _moto_of_all_tests


@pytest.fixture
def bucket(moto: str) -> Any:
    """An empty bucket, through boto3: what the store is compared with."""
    import boto3

    found = boto3.resource("s3", endpoint_url=moto, region_name="us-east-1").Bucket("orchard")
    found.create()
    return found


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One Spark for the whole test run, on two cores."""
    from pomona import start_session

    session = start_session("local[2]", conf={"spark.sql.shuffle.partitions": "2"})
    yield session
    session.stop()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn fruit, ``{split}/{label}/{name}``, one of them cut short; not to be changed."""
    from pomona.samples import write_samples

    folder = tmp_path_factory.mktemp("photographs") / "fruits"
    write_samples(folder, count=232, processes=1)
    whole = sorted((folder / "Training" / "Lime").iterdir())[0]
    (whole.parent / "cut.jpg").write_bytes(whole.read_bytes()[:1200])
    return folder


@pytest.fixture(scope="session")
def _guard_of_all_tests() -> Iterator[Guard]:
    with guarded_moto() as guard:
        yield guard


@pytest.fixture
def guard(
    _guard_of_all_tests: Guard, aws_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Guard]:
    """An empty S3 service that judges policies with their conditions; the environment names it."""
    guard = _guard_of_all_tests
    empty(guard.url)
    guard.policies.clear()
    guard.refused.clear()
    guard.before = guard.after = None
    monkeypatch.setenv("AWS_ENDPOINT_URL", guard.url)
    aws.forget()
    yield guard
    aws.forget()


@pytest.fixture
def become(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let what follows run with the rights of some documents; without any, those of the owner."""

    def act(*documents: dict[str, Any]) -> None:
        name = f"AKIA{len(guard.policies):016}" if documents else "AKIAOWNER00000000000"
        if documents:
            guard.policies[name] = list(documents)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        aws.forget()
        guard.refused.clear()

    return act


@pytest.fixture
def orchard(guard: Guard, become: Callable[..., None]) -> Any:
    """A bucket behind the gate, through boto3."""
    import boto3

    become()
    found = boto3.resource("s3", endpoint_url=guard.url, region_name="us-east-1").Bucket("orchard")
    found.create()
    return found
