from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from pomona.errors import StorageError
from pomona.storage import Changed, NotFound, StorageOptions, Wanted, ahead, open_store
from pomona.storage.location import Location
from tests.servers.faults import Fault, fault_proxy
from tests.servers.objects import object_server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def blobs(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "blobs"
    folder.mkdir()
    found = {f"{n:04d}.jpg": bytes([n % 251]) * (n * 7 % 5_000) for n in range(400)}
    for name, data in found.items():
        (folder / name).write_bytes(data)
    return found


def test_many_reads_are_in_order_and_in_flight(
    aws_home: Path, tmp_path: Path, blobs: dict[str, bytes]
) -> None:
    with object_server() as server:
        server.load(tmp_path / "blobs", "orchard", "in/")
        options = StorageOptions(endpoint_url=server.url)
        store = open_store(Location.parse("s3://orchard/in", options))
        local = open_store(tmp_path / "blobs")
        wanted = [Wanted(name, None, None, 10_000) for name in blobs]
        server.latency(0.02)
        assert list(store.read_many(wanted)) == list(blobs.values())
        assert list(local.read_many(wanted)) == list(blobs.values())
        server.latency(0)
        seen = server.counts()
    assert seen["GET"] == len(blobs)
    assert seen["most"] > ahead.IN_FLIGHT // 2


def test_what_goes_wrong_with_one_read_takes_its_place(bucket: Any) -> None:
    bucket.put_object(Key="in/a", Body=b"first")
    bucket.put_object(Key="in/b", Body=b"second")
    store = open_store("s3://orchard/in")
    found = list(
        store.read_many(
            [
                Wanted("a", None, None, 100),
                Wanted("absent", None, None, 100),
                Wanted("b", "0" * 32, None, 100),
                Wanted("b", None, 2, 3),
            ]
        )
    )
    assert found[0] == b"first"
    assert isinstance(found[1], NotFound)
    assert isinstance(found[2], Changed)
    assert found[3] == b"con"


def test_neighbouring_ranges_are_read_at_once(aws_home: Path, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8_192
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "x.tar").write_bytes(data)
    ranges = [(start, 3_000) for start in range(512, len(data) - 4_000, 3_584)]
    with object_server() as server:
        server.load(tmp_path / "tars", "orchard", "in/")
        options = StorageOptions(endpoint_url=server.url)
        store = open_store(Location.parse("s3://orchard/in", options))
        found = list(store.read_many(Wanted("x.tar", None, *span) for span in ranges))
        requests = server.counts()["GET"]
    assert found == [data[start : start + length] for start, length in ranges]
    assert requests <= len(data) // ahead._JOINED + 2


def test_bytes_in_memory_are_bounded(
    aws_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs: dict[str, bytes]
) -> None:
    monkeypatch.setattr(ahead, "BYTES_AHEAD", 20_000)
    with object_server() as server:
        server.load(tmp_path / "blobs", "orchard", "in/")
        options = StorageOptions(endpoint_url=server.url)
        store = open_store(Location.parse("s3://orchard/in", options))
        server.latency(0.02)
        wanted = [Wanted(name, None, None, 5_000) for name in blobs]
        assert list(store.read_many(wanted)) == list(blobs.values())
        server.latency(0)
        assert server.counts()["most"] <= 5


def test_a_refusal_of_everything_ends_the_reads(moto: str, bucket: Any) -> None:
    for number in range(40):
        bucket.put_object(Key=f"in/{number}", Body=b"?")
    with fault_proxy(moto) as proxy:
        proxy.faults.append(Fault("status", r"GET .*/in/\d", status=403, code="AccessDenied"))
        options = StorageOptions(endpoint_url=proxy.url, retry_seconds=1)
        store = open_store(Location.parse("s3://orchard/in", options))
        with pytest.raises(StorageError, match=r"Cannot read .*AccessDenied"):
            list(store.read_many(Wanted(str(n), None, None, 10) for n in range(40)))
        readers = [t for t in threading.enumerate() if t.name == "pomona-read"]
        for reader in readers:
            reader.join(30)  # the rest of the crew ends by itself
        assert not any(reader.is_alive() for reader in readers)
