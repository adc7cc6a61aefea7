"""The whole chain from a bucket into a bucket, by the command line."""

from __future__ import annotations

import importlib.resources
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from pomona.embedding.catalogue import DEFAULT_MODEL
from pomona.samples import write_samples
from tests.command import facts, pomona

if TYPE_CHECKING:
    from pathlib import Path

_COUNT = 60
_AWKWARD = "in put/à l’été+100%/"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_samples(tmp_path / "images", count=_COUNT, processes=1)
    return tmp_path / "images"


def _table(moto: str, uri: str) -> pl.DataFrame:
    options = {
        "aws_access_key_id": "x",
        "aws_secret_access_key": "x",
        "aws_region": "us-east-1",
        "aws_endpoint_url": moto,
        "aws_allow_http": "true",
    }
    return pl.read_delta(uri, storage_options=options).sort("path")


def test_bucket_in_and_bucket_out_gives_what_folders_give(
    bucket: Any, moto: str, images: Path, tmp_path: Path
) -> None:
    for path in images.rglob("*.jpg"):
        bucket.upload_file(str(path), f"{_AWKWARD}{path.relative_to(images)}")
    bucket.put_object(Key=_AWKWARD, Body=b"")
    bucket.put_object(Key=f"{_AWKWARD}notes.txt", Body=b"not an image")
    network = importlib.resources.files("pomona.embedding") / "networks"
    for name in (f"{DEFAULT_MODEL}.onnx", f"{DEFAULT_MODEL}.json"):
        bucket.put_object(Key=f"models/{name}", Body=(network / name).read_bytes())
    asked = ("--model", f"s3://orchard/models/{DEFAULT_MODEL}.onnx", "--precision", "fp32")
    engine = ("--engine", "onnxruntime")
    found = facts("run", f"s3://orchard/{_AWKWARD}", "s3://orchard/out", *asked, *engine)
    assert (found["listed"], found["embedded"], found["unchanged"]) == (_COUNT, _COUNT, 0)
    local = tmp_path / "out"
    assert facts("run", images, local, "--precision", "fp32", *engine)["embedded"] == _COUNT
    ours = _table(moto, "s3://orchard/out/features")
    theirs = pl.read_delta(str(local / "features")).sort("path")
    assert ours["path"].to_list() == theirs["path"].to_list()
    assert ours["label"].to_list() == theirs["label"].to_list()
    assert np.allclose(ours["features"].to_list(), theirs["features"].to_list(), atol=1e-5)
    assert _table(moto, "s3://orchard/out/components").height == _COUNT
    page = bucket.Object("out/report.html").get()["Body"].read()
    assert b"<html" in page
    again = facts("run", f"s3://orchard/{_AWKWARD}", "s3://orchard/out", *asked, *engine)
    assert (again["embedded"], again["unchanged"]) == (0, _COUNT)
    counts = facts("compact", "s3://orchard/out")
    assert counts["features"]["files_after"] == 1
    assert _table(moto, "s3://orchard/out/features").equals(ours)
    bucket.Object("out/report.html").delete()
    assert facts("report", "s3://orchard/out")["status"] == "done"
    assert bucket.Object("out/report.html").content_length > len(page) // 2


def test_tars_in_a_bucket_are_read_and_hostile_members_do_no_harm(
    bucket: Any, images: Path
) -> None:
    files = sorted(images.rglob("*.jpg"))
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for path in files:
            archive.add(path, str(path.relative_to(images)))
        for name, kind in (
            ("/etc/passwd.jpg", tarfile.REGTYPE),
            ("../../up.jpg", tarfile.REGTYPE),
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("device.jpg", tarfile.CHRTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "/etc/passwd"
            data = files[0].read_bytes() if kind == tarfile.REGTYPE else b""
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    bucket.put_object(Key="in/a.tar", Body=sink.getvalue())
    huge = tarfile.TarInfo("huge.jpg")
    huge.size = 1 << 40
    bucket.put_object(Key="in/b.tar", Body=huge.tobuf(tarfile.GNU_FORMAT) + b"\xff\xd8")
    found = facts("embed", "s3://orchard/in", "s3://orchard/out", "--max-rejects", "50%")
    assert found["embedded"] == _COUNT + 2
    assert found["reasons"] == {"truncated": 1}
    assert found["skipped"] == {"tar member that is no ordinary file": 4}
    assert found["listed"] == found["embedded"] + found["rejected"]
    paths = _table_paths(bucket)
    assert {"a.tar/etc/passwd.jpg", "a.tar/%2E%2E/%2E%2E/up.jpg"} <= paths


def _table_paths(bucket: Any) -> set[str]:
    found = _table(bucket.meta.client.meta.endpoint_url, "s3://orchard/out/features")
    return set(found["path"].to_list())


def test_a_ledger_and_a_manifest_edited_by_hand_are_survived(bucket: Any, images: Path) -> None:
    for path in images.rglob("*.jpg"):
        bucket.upload_file(str(path), f"in/{path.relative_to(images)}")
    facts("run", "s3://orchard/in", "s3://orchard/out")
    for key, body in (
        ("out/runs/99999999T999999Z-ffff.json", b"[1, 2"),
        ("out/runs/99999999T999998Z-ffff.json", b'{"status": "done", "steps": 7}'),
        ("out/models/pca/manifest.json", json.dumps({"k": "many"}).encode()),
    ):
        bucket.put_object(Key=key, Body=body)
    found = facts("run", "s3://orchard/in", "s3://orchard/out")
    assert (found["embedded"], found["unchanged"]) == (0, _COUNT)
    assert found["seconds"]["reduce"] > 0  # the damaged PCA was fitted again
    assert json.loads(bucket.Object("out/models/pca/manifest.json").get()["Body"].read())["sha256"]


def test_a_model_that_reaches_for_other_files_is_refused(bucket: Any, images: Path) -> None:
    import onnx

    name = importlib.resources.files("pomona.embedding") / "networks" / f"{DEFAULT_MODEL}.onnx"
    model = onnx.load_model_from_string(name.read_bytes())
    weights = next(t for t in model.graph.initializer if t.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../../etc/passwd")
    bucket.put_object(Key="models/bad.onnx", Body=model.SerializeToString())
    bucket.put_object(Key="in/a.jpg", Body=next(images.rglob("*.jpg")).read_bytes())
    model_uri = "s3://orchard/models/bad.onnx"
    done = pomona("embed", "s3://orchard/in", "s3://orchard/out", "--model", model_uri)
    assert done.returncode == 1
    assert "other files" in done.stderr
    assert len(done.stderr.splitlines()) <= 10


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("s3://orchard/absent", "INPUT does not exist"),
        ("s3://orchid/in", "no such bucket"),
        ("s3://orchard/empty", "no images"),
        ("s3://orchard/a//b", "empty, '.' or '..' segments"),
        ("s3:///in", "names no bucket"),
    ],
)
def test_mistakes_are_told_in_a_few_lines(bucket: Any, source: str, told: str) -> None:
    bucket.put_object(Key="empty/", Body=b"")
    done = pomona("embed", source, "s3://orchard/out")
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) <= 10
