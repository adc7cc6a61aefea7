from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from pomona.cloud import account, machines, remote, stack
from pomona.cloud.account import REGION, Cloud
from tests.servers.cloud import cloud_server
from tests.servers.moto import empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def _cloud_of_all_tests() -> Iterator[str]:
    with cloud_server() as url:
        yield url


@pytest.fixture
def aws(
    _cloud_of_all_tests: str, aws_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Any]]:
    """An empty AWS account on loopback, which the environment names; a boto3 client of it."""
    import boto3

    empty(_cloud_of_all_tests)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _cloud_of_all_tests)
    for module in (stack, machines, remote):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    account.forget()
    yield lambda service: boto3.client(service, region_name=REGION)
    account.forget()


@pytest.fixture
def cloud(aws: Any) -> Cloud:
    """The cluster that a test is about."""
    return Cloud("orchard", REGION)


def make_archive(path: Path, machine: str = "x86_64", glibc: str = "2.34") -> Path:
    """A file that looks like what `pomona cluster pack` makes; nothing in it runs."""
    facts = {"pomona": "0.1.0", "python": "3.11.7", "machine": machine, "glibc": glibc}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (
            ("pomona-env/bin/python", b"#!/bin/sh\n"),
            ("pomona-env/pomona-env.json", json.dumps(facts).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An environment for x86_64 on Amazon Linux."""
    return make_archive(tmp_path / "pomona.tar.gz")
