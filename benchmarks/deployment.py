"""From three machines with nothing on them to a finished run and away again, a command a line.

    python benchmarks/deployment.py [HOSTS]

The machines are network namespaces with files, processes and an sshd of their own, in which
neither this Python nor this checkout can be seen. Needs root, openssh-server and nftables.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import boto3
import polars as pl

from pomona.cluster.packing import pack
from pomona.samples import write_samples
from tests.servers.moto import moto_server
from tests.servers.namespaces import Host, developer, missing, network

_IMAGES = 600
_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAPOMONATESTS00001", "AWS_SECRET_ACCESS_KEY": "none"}
_PLACES = "/etc /var /opt /home /root /run /srv /tmp /usr/local"


def line(text: str, seconds: float, outcome: str) -> None:
    print(f"{text:<58} {seconds:7.1f} s  {outcome}", flush=True)


def pomona(*arguments: str | Path, code: int = 0) -> tuple[float, str]:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pomona", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return time.monotonic() - begun, done.stdout + done.stderr


def files(host: Host) -> set[str]:
    told = host.run(["bash", "-c", f"find {_PLACES} -xdev ! -path /run/sshd.log; cat /etc/passwd"])
    return set(told.stdout.splitlines())


def started(host: Host, role: str) -> float:
    """When the Java of a role began, in ticks since this machine did."""
    found = host.run(["pgrep", "-f", f"deploy.{role}"]).stdout.split()
    stat = host.run(["cat", f"/proc/{found[0]}/stat"]).stdout
    return float(stat.rpartition(")")[2].split()[19])


def main() -> None:
    if why := missing(sshd=True):
        raise SystemExit(why)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    scratch = Path(tempfile.mkdtemp(prefix="pomona-deployment-"))
    os.environ |= {**_KEYS, "AWS_REGION": "us-east-1", "XDG_STATE_HOME": str(scratch / "state")}
    write_samples(scratch / "images", count=_IMAGES, processes=1)
    begun = time.monotonic()
    first = pack(scratch / "env.tar.gz")
    line("pomona cluster pack", time.monotonic() - begun, f"{first.size / 1e6:,.0f} MB")
    # An empty member more: another archive with the same content.
    second = scratch / "env2.tar.gz"
    second.write_bytes(first.path.read_bytes() + gzip.compress(b"", mtime=0))
    with (
        network(count, scratch / "hosts", files=True, sshd=True, hide=developer()) as made,
        moto_server(made.address) as url,
    ):
        os.environ["AWS_ENDPOINT_URL"] = url
        s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        s3.create_bucket(Bucket="orchard")
        before = [files(host) for host in made.hosts]
        login = ["--user", "root", "--key", made.key, "--known-hosts", made.known_hosts]
        deploy = ["cluster", "deploy", *(host.address for host in made.hosts), *login]
        deploy += ["--cores", "1", "--memory", "1g", "--archive"]
        seconds, _ = pomona(*deploy, first.path)
        line(f"pomona cluster deploy, {count} hosts, nothing there", seconds, "")
        seconds, told = pomona("cluster", "status")
        line("pomona cluster status", seconds, told.splitlines()[0])
        seconds, told = pomona("upload", scratch / "images", "s3://orchard/in", "--quiet")
        line("pomona upload", seconds, told.splitlines()[0])
        run = ["--precision", "fp32", "--engine", "onnxruntime"]
        seconds, _ = pomona(
            "run", "s3://orchard/in", "s3://orchard/out", "--master", "pomona", *run
        )
        options = {
            **{key.lower(): value for key, value in _KEYS.items()},
            "aws_region": "us-east-1",
            "aws_endpoint_url": url,
            "aws_allow_http": "true",
        }
        table = pl.read_delta("s3://orchard/out/features", storage_options=options)
        line("pomona run --master pomona", seconds, f"{len(table):,} rows")
        seconds, told = pomona(*deploy, first.path)
        assert told.count("nothing to change") == count, told
        line("the same deploy again", seconds, "nothing restarted")
        seconds, _ = pomona(*deploy, second)
        master, *workers = [started(made.hosts[0], "master")] + [
            started(host, "worker") for host in made.hosts
        ]
        assert all(master < worker for worker in workers), (master, workers)
        line("deploy of another archive", seconds, "master restarted before the workers")
        seconds, _ = pomona("cluster", "remove")
        left = set().union(
            *(files(host) ^ was for host, was in zip(made.hosts, before, strict=True))
        )
        line("pomona cluster remove", seconds, f"{len(left)} paths differ from before")
        assert not left, sorted(left)
    assert len(table) == _IMAGES


if __name__ == "__main__":
    main()
