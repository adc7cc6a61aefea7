"""The store under each role, on a server that judges the conditions of its policy too."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from pomona.access.policies import Prefix, Terms, pipeline_policy, reader_policy, uploader_policy
from pomona.errors import InputError, StorageError
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.samples import write_samples
from pomona.storage import Location, NotPermitted, open_store
from tests.command import facts, pomona
from tests.servers import roles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.guard import Guard

JPEG = b"\xff\xd8\xff\xe0 not decoded here"


@pytest.fixture
def places(guard: Guard, become: Callable[..., None]) -> Guard:
    become()
    roles.prepare(guard.url)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("x.jpg")
        member.size = len(JPEG)
        archive.addfile(member, io.BytesIO(JPEG))
    owner = roles.client(guard.url, {"aws_access_key_id": "A", "aws_secret_access_key": "x"})
    owner.put_object(Bucket="orchard", Key="tars/shard.tar", Body=tar.getvalue())
    return guard


def listed(place: str) -> list[str]:
    source = open_source(place)
    return [p for batch in list_images(source, SkippedFiles()) for p in batch["path"].to_pylist()]


def test_the_pipeline_lists_reads_and_writes(places: Guard, become: Callable[..., None]) -> None:
    become(roles.documents()["pipeline"])
    assert listed("s3://orchard/in") == ["a.jpg", "new/b.jpg"]
    assert open_store("s3://orchard/in").read("a.jpg") == b"in/a.jpg"
    store = open_store("s3://results/out")
    store.write("x/y", b"1")
    assert store.read("x/y") == b"1"
    store.delete("x/y")
    assert places.refused == []


def test_the_pipeline_reads_a_single_tar(places: Guard, become: Callable[..., None]) -> None:
    become(pipeline_policy(Prefix("orchard", "tars/shard.tar"), roles.OUTPUT, Terms()))
    assert listed("s3://orchard/tars/shard.tar") == ["x.jpg"]


def test_uploaded_run_and_downloaded_each_with_its_own_rights(
    places: Guard, become: Callable[..., None], tmp_path: Path
) -> None:
    write_samples(tmp_path / "images", count=60, processes=1)
    source, output = Prefix("orchard", "fruit"), roles.OUTPUT
    become(uploader_policy(source, Terms()))
    sent = facts("upload", tmp_path / "images", "s3://orchard/fruit")
    assert (sent["files"], sent["moved"]) == (60, 60)
    assert places.refused == []
    become(pipeline_policy(source, output, Terms()))
    for embedded in (60, 0):
        found = facts("run", "s3://orchard/fruit", "s3://results/out")
        assert (found["listed"], found["embedded"]) == (60, embedded)
        assert places.refused == []
    assert pomona("compact", "s3://results/out").returncode == 0
    assert places.refused == []
    become(reader_policy(output, Terms()))
    facts("download", "s3://results/out", tmp_path / "out")
    assert places.refused == []
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!")
    facts("run", tmp_path / "images", tmp_path / "local")
    tables = [
        pl.read_delta(str(tmp_path / place / "components")).sort("path")
        for place in ("out", "local")
    ]
    assert tables[0].drop("components").equals(tables[1].drop("components"))
    there, here = (np.array(table["components"].to_list()) for table in tables)
    np.testing.assert_allclose(there, here, atol=1e-4)


def test_an_empty_input_is_one_message(places: Guard, become: Callable[..., None]) -> None:
    become(pipeline_policy(Prefix("orchard", "nothing"), roles.OUTPUT, Terms()))
    with pytest.raises(InputError, match="INPUT does not exist"):
        open_source("s3://orchard/nothing")


@pytest.mark.parametrize(
    "place", ["s3://orchard", "s3://orchard/in-secret", "s3://orchard/other", "s3://results"]
)
def test_the_pipeline_lists_nothing_else(
    places: Guard, become: Callable[..., None], place: str
) -> None:
    become(roles.documents()["pipeline"])
    with pytest.raises(StorageError, match="refuses it"):
        listed(place)


def test_the_pipeline_writes_nowhere_else(places: Guard, become: Callable[..., None]) -> None:
    become(roles.documents()["pipeline"])
    for place, key in (("s3://orchard/in", "x"), ("s3://results", "x"), ("s3://orchard", "x")):
        with pytest.raises(StorageError, match="refuses it"):
            open_store(place).write(key, b"1")
        with pytest.raises(StorageError, match="refuses it"):
            open_store(place).delete(key)


def test_the_reader_reads_results_alone(places: Guard, become: Callable[..., None]) -> None:
    become(roles.documents()["reader"])
    store = open_store("s3://results/out")
    assert store.read("report.html") == b"out/report.html"
    assert store.names("") == ["report.html"]
    with pytest.raises(StorageError, match="refuses it"):
        store.write("report.html", b"1")
    with pytest.raises((StorageError, NotPermitted)):
        open_store("s3://orchard/in").read("a.jpg")
    with pytest.raises((StorageError, NotPermitted)):
        open_store(Location.parse("s3://results")).read("private.txt")


def test_the_uploader_adds_and_does_not_replace(places: Guard, become: Callable[..., None]) -> None:
    from pomona.storage.s3 import S3Store

    become(roles.documents()["uploader"])
    store = open_store("s3://orchard/in/new")
    assert isinstance(store, S3Store)
    assert store.names("") == ["b.jpg"]
    assert store.create("c.jpg", b"1")
    assert store.create("b.jpg", b"1") is None
    with pytest.raises(StorageError, match="refuses it"):
        store.write("b.jpg", b"1")
    with pytest.raises(StorageError, match="refuses it"):
        open_store("s3://orchard/in").write("c.jpg", b"1")
    with pytest.raises((StorageError, NotPermitted)):
        store.read("b.jpg")
    with pytest.raises(StorageError, match="refuses it"):
        store.delete("b.jpg")
