from __future__ import annotations

import json
import os
import pickle
import random
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from pomona.errors import InputError
from pomona.images.decoding import DecodeLimits, RejectedImage
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.images.reading import read_images
from pomona.samples import write_faults
from pomona.samples.broken import encode
from pomona.schema import MANIFEST
from pomona.storage import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

JPEG = encode(Image.new("RGB", (8, 8), "tomato"), "JPEG")
PNG = encode(Image.new("RGB", (8, 8), "tomato"), "PNG")


def fill(root: Path, *paths: str | bytes, data: bytes = JPEG) -> None:
    for path in paths:
        file = os.path.join(os.fsencode(root), os.fsencode(path))  # noqa: PTH118
        os.makedirs(os.path.dirname(file), exist_ok=True)  # noqa: PTH103, PTH120
        with open(file, "wb") as stream:  # noqa: PTH123
            stream.write(data)


def rows(root: Path | str, skipped: SkippedFiles | None = None) -> list[dict[str, Any]]:
    found = []
    for batch in list_images(open_source(str(root)), skipped or SkippedFiles()):
        assert batch.schema == MANIFEST
        assert batch.num_rows
        batch.validate(full=True)
        found += batch.to_pylist()
    return found


def paths(root: Path | str) -> list[str]:
    return [row["path"] for row in rows(root)]


def read(root: Path | str) -> list[bytes | str]:
    """What reading gives for each listed row: the bytes, or the reason why not."""
    source = open_source(str(root))
    store = open_store(source.root)
    return [
        str(blob.reason) if isinstance(blob, RejectedImage) else blob
        for batch in list_images(source, SkippedFiles())
        for blob in read_images(store, batch, DecodeLimits())
    ]


def test_folders_are_walked_in_one_order_whatever_the_disk_says(tmp_path: Path) -> None:
    names = [f"{a}/{b}/{i}.jpg" for a in "bca" for b in ("x", "X", "é") for i in (10, 9, 1)]
    names += ["b.jpg", "a.jpg", "b/z.jpg", "b/x.jpg"]
    random.Random(0).shuffle(names)
    fill(tmp_path / "one", *names)
    random.Random(1).shuffle(names)
    fill(tmp_path / "two", *names)
    found = paths(tmp_path / "one")
    assert sorted(found) == sorted(names)
    assert found == paths(tmp_path / "two") == paths(tmp_path / "one")
    assert found[:2] == ["a.jpg", "b.jpg"]


def test_names_of_one_folder_are_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    names = ["a", "a.jpg", "a b.jpg", "a!.jpg", "ab.jpg", "A.jpg", "\x01a.jpg", "aé.jpg", "d", "l"]
    fill(tmp_path, *names)
    assert paths(tmp_path) == sorted(names, key=os.fsencode)


def test_size_and_version_are_those_of_the_file(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    (row,) = rows(tmp_path)
    assert row["size"] == len(JPEG)
    assert {row[name] for name in ("address", "container", "offset", "label", "reason")} == {None}
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    assert rows(tmp_path)[0]["etag"] != row["etag"]


def test_extensions_count_in_any_case_and_unknown_ones_by_content(tmp_path: Path) -> None:
    images = ["a.JPG", "b.Jpeg", "c.JFIF", "d.png", "e.WebP", "f.gif", "g.bmp", "h.TIF", "i.heic"]
    sniffed = ["noext", "x.unknown", "1.2", "trailing.", "jpg"]
    fill(tmp_path, *images, *sniffed)
    fill(tmp_path, "words.txt", "table.csv", "data.json", data=b"hello")
    fill(tmp_path, "noise", "x.bin", data=b"\0\1\2\3")
    skipped = SkippedFiles()
    assert {row["path"] for row in rows(tmp_path, skipped)} == {*images, *sniffed}
    assert skipped.counts == {"not an image": 5}
    assert skipped.examples["not an image"] in ("words.txt", "noise", "data.json")


def test_a_wrong_extension_is_no_obstacle(tmp_path: Path) -> None:
    fill(tmp_path, "really-a-png.jpg", data=PNG)
    assert read(tmp_path) == [PNG]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, ".a.jpg", ".git/b.jpg", "c/.d/e.jpg", "c/f.jpg", "._f.jpg")
    skipped = SkippedFiles()
    assert [row["path"] for row in rows(tmp_path, skipped)] == ["c/f.jpg"]
    assert skipped.counts == {"hidden": 4}


def test_a_hidden_folder_that_the_user_names_is_listed(tmp_path: Path) -> None:
    fill(tmp_path, ".cache/a.jpg")
    assert paths(tmp_path / ".cache") == ["a.jpg"]


def test_links_stay_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fill(tmp_path, "root/a.jpg", "root/sub/b.jpg", "secret.jpg", "rootless/c.jpg")
    links = {
        "inside.jpg": "sub/b.jpg",
        "outside.jpg": "../secret.jpg",
        "sibling.jpg": "../rootless/c.jpg",
        "absolute.jpg": str(tmp_path / "secret.jpg"),
        "folder": "sub",
        "outer": "..",
        "loop": ".",
        "self.jpg": "self.jpg",
        "nothing.jpg": "gone.jpg",
        "chain.jpg": "inside.jpg",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    skipped = SkippedFiles()
    found = {row["path"]: row["size"] for row in rows(root, skipped)}
    assert found == {
        "a.jpg": len(JPEG),
        "sub/b.jpg": len(JPEG),
        "inside.jpg": len(JPEG),
        "chain.jpg": len(JPEG),
        "nothing.jpg": -1,
        "self.jpg": -1,
    }
    assert skipped.counts == {"link that leaves the folder": 4, "link to a folder": 2}
    outcomes = dict(zip(paths(root), read(root), strict=True))
    assert outcomes["inside.jpg"] == JPEG
    assert outcomes["nothing.jpg"] == outcomes["self.jpg"] == "vanished"


def test_a_root_that_is_a_link_is_followed(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.jpg")
    (tmp_path / "real" / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert paths(tmp_path / "link") == ["a.jpg", "b.jpg"]


def test_pipes_sockets_and_devices_are_left_out_and_never_opened(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "pipe-link.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket may have 107 bytes only
        try:
            listener.bind("socket.jpg")
        finally:
            os.chdir(before)
        skipped = SkippedFiles()
        assert [row["path"] for row in rows(tmp_path, skipped)] == ["a.jpg"]
    assert skipped.counts == {"not a regular file": 3}


def test_a_pipe_in_the_place_of_a_listed_file_does_not_hang(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    source = open_source(str(tmp_path))
    batches = list(list_images(source, SkippedFiles()))
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    (outcome,) = read_images(open_store(source.root), batches[0], DecodeLimits())
    assert isinstance(outcome, RejectedImage)
    assert outcome.reason == "changed"


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux only")
def test_names_of_any_bytes_are_listed_and_read(tmp_path: Path) -> None:
    names = [b"\xff\xfe.jpg", b"caf\xe9/1.jpg", b"new\nline.jpg", b"\x1b[31m.jpg", b"a\\b.jpg"]
    names += ["苹果/ü.jpg".encode(), b" .jpg", b"'\";$(x).jpg", b"-rf.jpg"]
    fill(tmp_path, *names)
    found = rows(tmp_path)
    assert len({row["path"] for row in found}) == len(names)
    addresses = {row["address"] or row["path"].encode() for row in found}
    assert addresses == set(names)
    assert [row["path"] for row in found if row["address"]] == ["\\xff\\xfe.jpg", "caf\\xe9/1.jpg"]
    assert read(tmp_path) == [JPEG] * len(names)


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux only")
def test_one_file_with_a_name_that_is_not_utf8_is_an_input(tmp_path: Path) -> None:
    fill(tmp_path, b"\xff.jpg")
    file = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")
    (row,) = rows(file)
    assert (row["path"], row["address"]) == ("\\xff.jpg", b"\xff.jpg")


AS_NOBODY = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_listing import paths, read, rows
from pomona.errors import InputError

root = Path(sys.argv[2])
if os.geteuid() == 0:  # root reads everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
outcomes = [x if isinstance(x, str) else "read" for x in read(root / "files")]
print(json.dumps(dict(zip(paths(root / "files"), outcomes))))
for place in ("folders", "tars"):
    try:
        rows(root / place)
    except InputError as error:
        print(error.what, error.fix)
"""
CLOSED = {"files/closed.jpg": 0, "files/no-entry": 0o744, "folders/shut": 0, "tars/shut.tar": 0}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_what_may_not_be_read_is_a_reject_and_a_closed_folder_an_error(open_folder: Path) -> None:
    fill(open_folder, "files/a.jpg", "files/closed.jpg", "files/no-entry/b.jpg")
    fill(open_folder, "folders/shut/c.jpg", "tars/shut.tar")
    for name, mode in CLOSED.items():
        (open_folder / name).chmod(mode)
    here = str(Path(__file__).parent)
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-c", AS_NOBODY, here, str(open_folder)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        for name in CLOSED:
            (open_folder / name).chmod(0o755)
    assert done.returncode == 0, done.stderr
    outcomes, of_folder, of_tar = done.stdout.splitlines()
    assert json.loads(outcomes) == {
        "a.jpg": "read",
        "closed.jpg": "unreadable",
        "no-entry/b.jpg": "unreadable",
    }
    assert "Cannot list" in of_folder
    assert "/shut" in of_folder
    assert "may read" in of_folder
    assert "Cannot read the tar shut.tar" in of_tar


def test_what_happens_to_a_file_after_the_listing_is_told_apart(tmp_path: Path) -> None:
    fill(tmp_path, *[f"{name}.jpg" for name in ("deleted", "grown", "kept", "replaced", "touched")])
    source = open_source(str(tmp_path))
    (batch,) = list_images(source, SkippedFiles())
    (tmp_path / "deleted.jpg").unlink()
    with (tmp_path / "grown.jpg").open("ab") as stream:
        stream.write(b"more")
    os.utime(tmp_path / "touched.jpg", ns=(1, 1))
    (tmp_path / "other").write_bytes(JPEG)
    (tmp_path / "other").replace(tmp_path / "replaced.jpg")
    blobs = read_images(open_store(source.root), batch, DecodeLimits())
    outcomes = [str(b.reason) if isinstance(b, RejectedImage) else b for b in blobs]
    assert outcomes == ["vanished", "changed", JPEG, "changed", "changed"]


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b.jpg")
    os.truncate(tmp_path / "a.jpg", 1 << 40)  # sparse: reading it would need a terabyte
    assert read(tmp_path) == ["too_many_bytes", JPEG]


@pytest.mark.parametrize("name", ["absent", "a.jpg/b.jpg", "absent/deeper"])
def test_an_input_that_is_not_there_names_what_is(tmp_path: Path, name: str) -> None:
    fill(tmp_path, "a.jpg")
    with pytest.raises(InputError, match="does not exist") as caught:
        open_source(str(tmp_path / name))
    assert str(tmp_path) in caught.value.fix


@pytest.mark.parametrize("name", ["x.tar.gz", "X.TGZ", "x.tar.zst"])
def test_a_compressed_tar_is_refused_with_the_fix(tmp_path: Path, name: str) -> None:
    fill(tmp_path, name)
    with pytest.raises(InputError, match="compressed tar") as caught:
        open_source(str(tmp_path / name))
    assert "decompress it" in caught.value.fix
    skipped = SkippedFiles()
    assert rows(tmp_path, skipped) == []
    assert skipped.counts == {"compressed tar, to be decompressed first": 1}


def test_an_empty_folder_and_one_image_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert rows(tmp_path / "empty") == []
    fill(tmp_path, "one/a.jpg", "one/b.jpg")
    assert paths(tmp_path / "one" / "a.jpg") == ["a.jpg"]


def test_tars_stand_in_their_place_among_files(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "c.jpg", "sub/d.jpg")
    for place in ("b.tar", "sub/e.tar"):
        with tarfile.open(tmp_path / place, "w") as archive:
            for name in ("2.jpg", "1.jpg"):
                archive.add(tmp_path / "a.jpg", f"Apple/{name}")
    assert paths(tmp_path) == [
        *("a.jpg", "b.tar/Apple/2.jpg", "b.tar/Apple/1.jpg", "c.jpg", "sub/d.jpg"),
        *("sub/e.tar/Apple/2.jpg", "sub/e.tar/Apple/1.jpg"),
    ]
    assert read(tmp_path) == [JPEG] * 7


def test_the_faults_that_must_not_be_listed_are_not(tmp_path: Path) -> None:
    expected = write_faults(tmp_path, per_kind=2)
    assert paths(tmp_path) == sorted(expected, key=lambda path: (path.split("/")[0], path))


def test_a_source_travels_to_workers(tmp_path: Path) -> None:
    source = open_source(str(tmp_path))
    assert pickle.loads(pickle.dumps(source)) == source
