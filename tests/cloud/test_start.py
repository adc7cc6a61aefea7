"""The very user data of the template, run in a file system of its own against moto."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pomona.cloud
from pomona.cloud import release, stack
from pomona.cloud.account import Cloud
from pomona.cloud.plan import Wish, parameters

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:moto"),
    pytest.mark.skipif(
        subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
        reason="no right to make a mount namespace here",
    ),
]

_AWS = f"""#!{sys.executable}
import sys
import boto3

words = sys.argv[1:]
if words[:2] == ["s3", "cp"]:
    source, target = [w for w in words[2:] if not w.startswith("--")]
    bucket, _, key = source.removeprefix("s3://").partition("/")
    boto3.client("s3").download_file(bucket, key, target)
else:
    given = dict(zip(words[2::1], words[3::1]))
    client = boto3.client("ssm")
    if words[1] == "get-parameter":
        found = client.get_parameter(Name=given["--name"], WithDecryption=True)
        print(found["Parameter"]["Value"])
    else:
        client.put_parameter(
            Name=given["--name"], Type=given["--type"], Value=given["--value"], Overwrite=True
        )
"""
_IP = "#!/bin/sh\necho '192.0.2.1 dev eth0 src 10.77.0.4 uid 0'\n"
_BOOTSTRAP = '#!/bin/sh\necho "bootstrap $1 as $(id -u)"\n'


@pytest.fixture
def boot(aws: Any, cloud: Cloud, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Starts an instance of a role: its user data in a mount namespace; what it said."""
    bucket = "pomona-orchard"
    chosen = parameters(
        Wish(), cloud.name, bucket, make_bucket=True, machine="x86_64", glibc=(2, 34)
    )
    stack.create(cloud, chosen, {}, lambda _: None)
    release.make_secret(cloud)
    start = Path(pomona.cloud.__file__).with_name("start.sh").read_bytes()
    settings = f"POMONA_ARCHIVE=s3://{bucket}/cluster/x.tar.gz\nPOMONA_ARCHIVE_SHA256={'0' * 64}\n"
    for name, body in (
        ("start.sh", start),
        ("bootstrap.sh", _BOOTSTRAP.encode()),
        ("release.env", settings.encode()),
    ):
        aws("s3").put_object(Bucket=bucket, Key=f"cluster/{name}", Body=body)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("aws", _AWS), ("ip", _IP)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)

    def run(role: str, **environment: str) -> subprocess.CompletedProcess[str]:
        made = {name: identity for name, _, identity, _ in stack.resources(cloud)}
        (version,) = aws("ec2").describe_launch_template_versions(
            LaunchTemplateId=made[f"{role.title()}Template"]
        )["LaunchTemplateVersions"]
        data = base64.b64decode(version["LaunchTemplateData"]["UserData"])
        host = tmp_path / role
        shutil.rmtree(host, ignore_errors=True)
        for folder in ("run", "etc"):
            (host / folder).mkdir(parents=True)
        for name in ("passwd", "group", "hosts", "localtime"):
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), host / "etc" / name)
        (host / "user-data").write_bytes(data)
        script = (
            f"mount --bind {host}/etc /etc && mount --bind {host}/run /run && "
            f"exec sh {host}/user-data"
        )
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"} | environment,
        )

    return run


def test_master_and_worker_find_each_other(
    aws: Any, cloud: Cloud, boot: Callable[..., Any], tmp_path: Path
) -> None:
    early = boot("worker", POMONA_PATIENCE="0")
    assert early.returncode == 1
    assert "No master has told its address" in early.stderr

    done = boot("master")
    assert done.returncode == 0, done.stderr
    assert "bootstrap /etc/pomona/cluster.env as 0" in done.stdout
    told = aws("ssm").get_parameter(Name=cloud.parameter("master"))["Parameter"]["Value"]
    assert told == "10.77.0.4"

    done = boot("worker")
    assert done.returncode == 0, done.stderr
    secret = aws("ssm").get_parameter(Name=cloud.parameter("secret"), WithDecryption=True)
    for role in ("master", "worker"):
        folder = tmp_path / role / "etc" / "pomona"
        settings = dict(
            line.split("=", 1) for line in (folder / "cluster.env").read_text().splitlines()
        )
        assert settings["POMONA_ROLE"] == role
        assert settings["POMONA_CLUSTER"] == "orchard"
        assert settings["POMONA_MASTER_HOST"] == "10.77.0.4"
        assert settings["POMONA_ARCHIVE"] == "s3://pomona-orchard/cluster/x.tar.gz"
        kept = folder / "secret"
        assert kept.read_text().strip() == secret["Parameter"]["Value"]
        assert kept.stat().st_mode & 0o077 == 0
        assert secret["Parameter"]["Value"] not in done.stdout + done.stderr
    assert not Path("/etc/pomona").exists()


def test_what_cannot_be_fetched_is_told(aws: Any, boot: Callable[..., Any]) -> None:
    aws("s3").delete_object(Bucket="pomona-orchard", Key="cluster/release.env")
    done = boot("master")
    assert done.returncode == 1
    assert "Cannot fetch s3://pomona-orchard/cluster/release.env" in done.stderr
