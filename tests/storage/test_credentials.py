"""Credentials: where they come from, how they are renewed, and where they must never appear."""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pomona.errors import StorageError
from pomona.samples import write_samples
from pomona.storage import Location, StorageOptions, aws, open_store
from pomona.storage.datafile import write_datafile
from pomona.storage.delta import delta_options
from pomona.storage.table import Table
from tests.command import pomona
from tests.conftest import ACCESS_KEY, SECRET_KEY
from tests.servers.faults import Fault, fault_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

_PROCESS = """
import datetime, json, pathlib
count = pathlib.Path({counter!r})
number = int(count.read_text() or 0) + 1 if count.exists() else 1
count.write_text(str(number))
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds={seconds})
print(json.dumps({{
    "Version": 1, "SecretAccessKey": "short",
    "AccessKeyId": f"AKIASHORTLIVED{{number:06}}U{{until.timestamp():.0f}}",
    "SessionToken": f"token-{{number}}", "Expiration": until.isoformat(),
}}))
"""


@pytest.fixture
def short_lived(bucket: Any, aws_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Credentials of two seconds from an outside program; how often it was asked."""
    script, counter = aws_home / "process.py", aws_home / "asked"
    script.write_text(_PROCESS.format(counter=str(counter), seconds=2))
    (aws_home / "config").write_text(
        f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} {script}\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    aws.forget()
    return lambda: int(counter.read_text()) if counter.exists() else 0


def test_credentials_of_seconds_are_renewed_for_objects_and_tables(
    short_lived: Callable[[], int],
) -> None:
    rows = pa.table({"path": ["a", "b"]})
    location = Location.parse("s3://orchard/out/things")
    table = Table(location, rows.schema)
    table.create()
    store = open_store(location)
    used: list[str] = []
    for _ in range(3):
        table.commit([write_datafile(store, rows, "x")])
        told = delta_options(location)
        assert told is not None
        used.append(told["aws_access_key_id"])
        time.sleep(2.1)
    assert table.rows() == 6
    assert len(set(used)) == 3
    assert short_lived() >= 3


def test_requests_are_signed_with_the_newest_credentials(
    short_lived: Callable[[], int], moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy(moto) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        aws.forget()
        store = open_store("s3://orchard/in")
        for number in range(3):
            store.write(f"{number}", b"?")
            time.sleep(2.1)
        signers = {signer for signer in proxy.signers if signer.startswith("AKIASHORTLIVED")}
    assert len(signers) >= 3


def test_a_whole_run_outlives_its_credentials_many_times(
    short_lived: Callable[[], int],
    bucket: Any,
    moto: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_samples(tmp_path / "in", count=240, processes=1)
    monkeypatch.delenv("AWS_CONFIG_FILE")
    owner = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    sent = pomona("upload", tmp_path / "in", "s3://orchard/in", env=owner)
    assert sent.returncode == 0, sent.stderr
    expired = Fault(
        "status",
        status=400,
        code="ExpiredToken",
        # A request may be on its way when its credentials run out.
        signed=lambda key: "U" in key and float(key.rpartition("U")[2]) < time.time() - 2,
    )
    config = str(Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).with_name("config"))
    with fault_proxy(moto) as proxy:
        proxy.faults.append(expired)
        run = ("run", "s3://orchard/in", "s3://orchard/out", "--precision", "fp32")
        fine = ("--task-images", "12", "--chunk-tasks", "2", "--endpoint-url", proxy.url)
        done = pomona(*run, *fine, "--json", env={"AWS_CONFIG_FILE": config})
        signers = {signer for signer in proxy.signers if signer.startswith("AKIASHORTLIVED")}
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["embedded"] == 240
    assert len(signers) >= 4
    assert expired.seen == 0


def test_long_lived_credentials_are_not_asked_for_at_every_request(
    bucket: Any, aws_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires = aws.credentials()()["expires_at"]
    assert expires is None  # keys from the environment do not change


def test_no_credentials_are_told_with_the_ways_to_get_some(
    moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    aws.forget()
    with pytest.raises(StorageError, match="No AWS credentials") as raised:
        open_store("s3://orchard/in").read("x")
    assert "aws sso login" in raised.value.fix


def test_a_profile_gives_region_endpoint_and_addressing(
    aws_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (aws_home / "config").write_text(
        "[profile garden]\nregion = eu-west-3\nendpoint_url = http://127.0.0.1:9\n"
        "s3 =\n  addressing_style = virtual\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "garden")
    (aws_home / "credentials").write_text(
        "[garden]\naws_access_key_id = AKIAGARDEN\naws_secret_access_key = x\n"
    )
    aws.forget()
    options = Location.parse("s3://orchard/in").options
    assert options is not None
    assert options.region == "eu-west-3"
    assert options.endpoint_url == "http://127.0.0.1:9"
    assert not options.path_style
    assert options.url_of("orchard") == "http://orchard.127.0.0.1:9"


def test_what_is_asked_for_wins_over_the_environment(
    aws_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    aws.forget()
    asked = StorageOptions(endpoint_url="http://127.0.0.1:2")
    options = Location.parse("s3://orchard/in", asked).options
    assert options is not None
    assert (options.endpoint_url, options.region) == ("http://127.0.0.1:2", "eu-central-1")
    assert options.path_style


@pytest.mark.parametrize(
    ("bucket_name", "url"),
    [
        ("orchard", "https://orchard.s3.eu-west-3.amazonaws.com"),
        ("with.dots", "https://s3.eu-west-3.amazonaws.com"),
    ],
)
def test_aws_is_spoken_to_over_tls_by_host_name(
    aws_home: Path, monkeypatch: pytest.MonkeyPatch, bucket_name: str, url: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    aws.forget()
    options = Location.parse(f"s3://{bucket_name}/in").options
    assert options is not None
    assert not options.plain_http
    assert options.url_of(bucket_name) == url


def test_locations_travel_without_credentials(bucket: Any) -> None:
    location = Location.parse("s3://orchard/in")
    open_store(location).write("x", b"?")
    travelling = pickle.dumps(location)
    assert SECRET_KEY.encode() not in travelling
    assert ACCESS_KEY.encode() not in travelling
    assert open_store(pickle.loads(travelling)).read("x") == b"?"


def test_no_secret_is_left_anywhere_by_a_whole_run(
    bucket: Any, moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "session-token-of-the-tests/AAAABBBBCCCC"
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    images, events = tmp_path / "images", tmp_path / "events"
    events.mkdir()
    write_samples(images, count=40, processes=1)
    (images / "broken.jpg").write_bytes(b"\xff\xd8 no more of it")
    for path in images.rglob("*.jpg"):
        bucket.upload_file(str(path), f"in/{path.relative_to(images)}")
    done = pomona(
        *("run", "s3://orchard/in", "s3://orchard/out", "-v", "--json"),
        *("--spark-conf", "spark.eventLog.enabled=true"),
        *("--spark-conf", f"spark.eventLog.dir=file:{events}"),
        *("--spark-conf", "spark.hadoop.fs.s3a.secret.key=given-by-hand-0000"),
        env={"XDG_STATE_HOME": str(tmp_path / "state"), "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["embedded"] == 40
    left = {
        f"s3://orchard/{item.key}": item.get()["Body"].read()
        for item in bucket.objects.filter(Prefix="out/")
    }
    left |= {str(p): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    left |= {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    assert any(name.endswith(".log") for name in left)
    assert any("events" in name for name in left)
    assert any("report.html" in name for name in left)
    for secret in (SECRET_KEY, token, ACCESS_KEY):
        assert not [name for name, data in left.items() if secret.encode() in data]
    ledgers = [data for name, data in left.items() if "/runs/" in name]
    assert ledgers
    assert not any(b"given-by-hand-0000" in data for data in ledgers)


def test_no_secret_is_in_an_error(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.servers.faults import Fault, fault_proxy

    with fault_proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        options = StorageOptions(endpoint_url=proxy.url, retry_seconds=1)
        location = Location.parse("s3://orchard/out/things", options)
        proxy.faults.append(Fault("status", ".", status=403, code="SignatureDoesNotMatch"))
        rows = pa.table({"path": ["a"]})
        attempts: list[Callable[[], object]] = [
            lambda: open_store(location).write("x", b"?"),
            lambda: open_store(location).read("x"),
            lambda: Table(location, rows.schema).create(),
        ]
        for attempt in attempts:
            with pytest.raises(StorageError) as raised:
                attempt()
            chain: BaseException | None = raised.value
            while chain is not None:
                assert SECRET_KEY not in f"{chain!r}"
                chain = chain.__cause__ or chain.__context__
