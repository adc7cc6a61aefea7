from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pomona.errors import StorageError
from pomona.storage import Changed, Location, NotFound, ReadFailed, open_store
from pomona.storage.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterable

AWKWARD = [
    "a b/c d.jpg",
    "à l’été/pêche.jpg",
    "plus+plus.jpg",
    "per%25cent%.jpg",
    "question?mark#hash.jpg",
    "back\\slash.jpg",
    "double//slash.jpg",
    "bell\x07.jpg",
    "tilde~*:|<>&'\".jpg",
    "k" * 1_014 + ".jpg",
]


def _store(text: str) -> S3Store:
    found = open_store(text)
    assert isinstance(found, S3Store)
    return found


def _listed(store: S3Store, left_out: list[tuple[str, str]] | None = None) -> dict[str, Any]:
    notes = left_out if left_out is not None else []
    batches: Iterable[pa.RecordBatch] = store.scan(lambda why, path: notes.append((why, path)))
    rows = [row for batch in batches for row in batch.to_pylist()]
    return {row["path"]: row for row in rows}


@pytest.mark.parametrize("key", AWKWARD)
def test_awkward_keys_are_listed_and_read_as_boto3_wrote_them(bucket: Any, key: str) -> None:
    bucket.put_object(Key=f"in/{key}", Body=key.encode())
    store = _store("s3://orchard/in")
    listed = _listed(store)
    assert list(listed) == [key]
    assert store.read(key, etag=listed[key]["etag"]) == key.encode()
    assert store.read_range(key, 2, 3, etag=listed[key]["etag"]) == key.encode()[2:5]
    assert store.stat(key) == (listed[key]["size"], listed[key]["etag"])


@pytest.mark.parametrize("key", [key for key in AWKWARD if "//" not in key and "\x07" not in key])
def test_awkward_keys_are_written_as_boto3_reads_them(bucket: Any, key: str) -> None:
    store = _store("s3://orchard/à la+carte 100%")
    store.write(key, key.encode())
    written = bucket.Object(f"à la+carte 100%/{key}" if len(key) < 1_000 else "x")
    if len(key) < 1_000:
        assert written.get()["Body"].read() == key.encode()


def test_a_prefix_ends_at_a_slash_and_may_be_an_object_too(bucket: Any) -> None:
    for key in ("a", "a/x.jpg", "ab/x.jpg", "a.jpg", "a/b/y.jpg"):
        bucket.put_object(Key=key, Body=b"?")
    assert list(_listed(_store("s3://orchard/a"))) == ["b/y.jpg", "x.jpg"]
    assert list(_listed(_store("s3://orchard/a/"))) == ["b/y.jpg", "x.jpg"]
    assert len(_listed(_store("s3://orchard"))) == 5


def test_folder_objects_and_hidden_keys_are_left_out(bucket: Any) -> None:
    for key in ("in/", "in/sub/", "in/.hidden.jpg", "in/.d/x.jpg", "in/sub/.y.jpg", "in/a.jpg"):
        bucket.put_object(Key=key, Body=b"" if key.endswith("/") else b"?")
    left_out: list[tuple[str, str]] = []
    assert list(_listed(_store("s3://orchard/in"), left_out)) == ["a.jpg"]
    assert sorted(path for _, path in left_out) == [".d/x.jpg", ".hidden.jpg", "sub/.y.jpg"]


def test_a_listing_of_many_pages_is_complete_and_in_order(bucket: Any) -> None:
    import moto.s3.models

    backends: Any = moto.s3.models.s3_backends
    objects: Any = backends["123456789012"]["aws"]  # a request to it takes 3 ms
    for number in range(2_345):
        objects.put_object("orchard", f"in/{number:05d}.jpg", b"x")
    assert list(_listed(_store("s3://orchard/in"))) == [f"{n:05d}.jpg" for n in range(2_345)]


def test_a_versioned_bucket_shows_what_is_there_now(bucket: Any) -> None:
    bucket.Versioning().enable()
    store = _store("s3://orchard/in")
    store.write("x.jpg", b"first")
    before = store.stat("x.jpg")
    assert before is not None
    store.write("x.jpg", b"second")
    store.write("y.jpg", b"gone")
    store.delete("y.jpg")
    assert list(_listed(store)) == ["x.jpg"]
    assert store.read("x.jpg") == b"second"
    with pytest.raises(Changed):
        store.read("x.jpg", etag=before.etag)
    with pytest.raises(NotFound):
        store.read("y.jpg")


def test_reads_have_the_same_outcomes_as_those_of_a_folder(bucket: Any) -> None:
    store = _store("s3://orchard/in")
    with pytest.raises(NotFound):
        store.read("absent.jpg")
    with pytest.raises(NotFound):
        store.open("absent.jpg")
    store.write("empty", b"")
    with pytest.raises(ReadFailed):
        store.open("empty")
    store.write("x", b"0123456789")
    status = store.stat("x")
    assert status is not None
    assert store.read("x", limit=4) == b"0123"
    assert store.read("x", limit=40) == b"0123456789"
    assert store.read_range("x", 8, 10) == b"89"
    assert store.read_range("x", 20, 10) == b""
    assert store.read("empty", limit=10) == b""
    bucket.put_object(Key="in/x", Body=b"other")
    with pytest.raises(Changed):
        store.read("x", etag=status.etag)
    with pytest.raises(Changed):
        store.read_range("x", 0, 2, etag=status.etag)


def test_existence_and_names(bucket: Any) -> None:
    store = _store("s3://orchard/out")
    assert not store.exists("runs")
    assert store.names("runs/") == []
    for key in ("runs/b.json", "runs/a.json", "runs/.lock", "runs/deep/c.json", "runs.txt"):
        store.write(key, b"{}")
    assert store.names("runs/") == ["a.json", "b.json"]
    assert store.exists("runs")
    assert store.is_folder("runs")
    assert store.exists("runs/a.json")
    assert not store.is_folder("runs/a.json")
    assert not store.exists("run")
    assert store.stat("runs") is None
    store.delete("runs/a.json")
    store.delete("runs/a.json")
    assert store.names("runs/") == ["b.json"]


def test_creating_and_replacing_are_conditional(bucket: Any) -> None:
    store = _store("s3://orchard/out")
    first = store.create("lease", b"mine")
    assert first
    assert store.create("lease", b"theirs") is None
    second = store.replace("lease", b"renewed", first)
    assert second
    assert store.replace("lease", b"stale", first) is None
    assert store.read("lease") == b"renewed"
    store.delete("lease")
    assert store.replace("lease", b"gone", second) is None


@pytest.mark.parametrize("size", [1, 70_000, 300_000])
def test_an_opened_object_reads_like_a_file(bucket: Any, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    bucket.put_object(Key="in/x", Body=data)
    with _store("s3://orchard/in").open("x") as stream:
        assert stream.size() == size
        assert stream.read() == data
        stream.seek(size // 2)
        assert stream.read(100) == data[size // 2 : size // 2 + 100]
        assert stream.read_at(10, max(0, size - 10)) == data[max(0, size - 10) :]


def test_a_parquet_file_is_read_by_ranges(bucket: Any) -> None:
    table = pa.table({"n": list(range(50_000)), "text": [f"row {n}" for n in range(50_000)]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    bucket.put_object(Key="in/x.parquet", Body=sink.getvalue())
    with _store("s3://orchard/in").open("x.parquet") as stream:
        assert pq.read_table(stream, columns=["text"]).equals(table.select(["text"]))


def test_large_objects_are_written_in_parts(bucket: Any) -> None:
    data = bytes(65 << 20)
    _store("s3://orchard/out").write("large", data)
    written = bucket.Object("out/large")
    assert written.content_length == len(data)
    assert written.e_tag.endswith('-5"')


def test_writes_ask_for_encryption(bucket: Any) -> None:
    from pomona.storage import StorageOptions

    options = StorageOptions(sse="aws:kms", kms_key="alias/orchard")
    store = open_store(Location.parse("s3://orchard/out", options))
    store.write("x", b"?")
    written = bucket.Object("out/x")
    assert written.server_side_encryption == "aws:kms"
    assert written.ssekms_key_id == "alias/orchard"


def test_a_bucket_that_is_absent_is_named(bucket: Any) -> None:
    store = _store("s3://orchid/in")
    for attempt in (
        lambda: _listed(store),
        lambda: store.read("x"),
        lambda: store.write("x", b"?"),
    ):
        with pytest.raises(StorageError, match=r"orchid.*no such bucket") as raised:
            attempt()
        assert "spelling" in raised.value.fix
