"""Tars: those that the tar command and Python write, and those that nobody should."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from pomona.images import listing, tar
from pomona.images.decoding import DecodeLimits, RejectedImage
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.images.reading import read_images
from pomona.samples.broken import encode
from pomona.storage import Store, open_store
from pomona.storage.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

JPEG = encode(Image.new("RGB", (8, 8), "tomato"), "JPEG")
PNG = encode(Image.new("RGB", (9, 9), "olive"), "PNG")


def member(
    name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **extra: Any
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in extra.items():
        setattr(info, key, value)
    return info


def write(
    file: Path, *members: tuple[tarfile.TarInfo | str, bytes], form: int | None = None
) -> Path:
    with tarfile.open(file, "w", format=form or tarfile.PAX_FORMAT) as archive:
        for what, content in members:
            info = what if isinstance(what, tarfile.TarInfo) else member(what, len(content))
            archive.addfile(info, io.BytesIO(content))
    return file


def listed(file: Path, skipped: SkippedFiles | None = None) -> list[dict[str, Any]]:
    batches = list_images(open_source(str(file)), skipped or SkippedFiles())
    return [row for batch in batches for row in batch.to_pylist()]


def told(file: Path) -> dict[str, str | None]:
    """Path to reason, of what is listed."""
    return {row["path"]: row["reason"] for row in listed(file)}


def read(file: Path) -> dict[str, bytes | str]:
    """Path to bytes, or to the reason why there are none."""
    source = open_source(str(file))
    store = open_store(source.root)
    return {
        row["path"]: str(blob.reason) if isinstance(blob, RejectedImage) else blob
        for batch in list_images(source, SkippedFiles())
        for row, blob in zip(
            batch.to_pylist(), read_images(store, batch, DecodeLimits()), strict=True
        )
    }


FORMS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("form", FORMS)
def test_members_are_read_where_they_lie(tmp_path: Path, form: str) -> None:
    contents = {f"set/{kind}/{i}.jpg": JPEG + bytes(i * 300) for kind in "ab" for i in range(5)}
    file = write(tmp_path / "x.tar", *contents.items(), form=FORMS[form])
    assert read(file) == contents
    assert list(read(file)) == list(contents)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_long_and_foreign_names(tmp_path: Path, form: str) -> None:
    contents = {f"{'d' * 90}/{'e' * 90}/{'f' * 90}.jpg": JPEG, "Äpfel/苹果.jpg": PNG}
    assert read(write(tmp_path / "x.tar", *contents.items(), form=FORMS[form])) == contents


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar command")
@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "pax"])
def test_tars_of_the_tar_command(tmp_path: Path, form: str) -> None:
    contents = {"./Apple/1.jpg": JPEG, "./Pear/2.png": PNG}
    for name, content in contents.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).write_bytes(content)
    command = ["tar", f"--format={form}", "-cf", "x.tar", "-C", "in", "."]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=30)
    assert read(tmp_path / "x.tar") == {name[2:]: data for name, data in contents.items()}


def test_a_member_has_a_version_of_its_own(tmp_path: Path) -> None:
    rows = listed(write(tmp_path / "x.tar", ("a.jpg", JPEG), ("b.jpg", JPEG)))
    assert len({row["etag"] for row in rows}) == 2


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/etc/a.jpg", "etc/a.jpg"),
        ("../../a.jpg", "%2E%2E/%2E%2E/a.jpg"),
        ("a/../b.jpg", "a/%2E%2E/b.jpg"),
        ("./a//b/./c.jpg", "a/b/c.jpg"),
        ("new\nline.jpg", "new\nline.jpg"),
        ("back\\slash.jpg", "back\\slash.jpg"),
        ("\udcff.jpg", "\\xff.jpg"),
        (" .jpg", " .jpg"),
    ],
)
def test_odd_names_become_safe_ones(tmp_path: Path, name: str, path: str) -> None:
    file = write(tmp_path / "x.tar", (name, JPEG), form=tarfile.GNU_FORMAT)
    assert read(file) == {path: JPEG}
    assert read(tmp_path) == {f"x.tar/{path}": JPEG}


def test_what_is_no_ordinary_file_is_left_out_and_counted(tmp_path: Path) -> None:
    sparse = member("sparse.jpg", 0, tarfile.REGTYPE)
    sparse.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"}
    file = write(
        tmp_path / "x.tar",
        ("a.jpg", JPEG),
        (member("link.jpg", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        (member("hard.jpg", kind=tarfile.LNKTYPE, linkname="a.jpg"), b""),
        (member("pipe.jpg", kind=tarfile.FIFOTYPE), b""),
        (member("disk.jpg", kind=tarfile.BLKTYPE), b""),
        (member("tty.jpg", kind=tarfile.CHRTYPE), b""),
        (member("folder", kind=tarfile.DIRTYPE), b""),
        (sparse, b""),
        (".hidden.jpg", JPEG),
        ("._a.jpg", JPEG),
        (".git/b.jpg", JPEG),
        ("read me.txt", b"hello"),
        ("inner.tar", gzip.compress(b"x")),
        ("noext", PNG),
    )
    skipped = SkippedFiles()
    assert [row["path"] for row in listed(file, skipped)] == ["a.jpg", "noext"]
    assert skipped.counts == {
        "tar member that is no ordinary file": 6,
        "hidden": 3,
        "not an image": 2,
    }


def test_a_tar_inside_a_tar_is_not_opened(tmp_path: Path) -> None:
    inner = write(tmp_path / "inner.tar", ("deep.jpg", JPEG)).read_bytes()
    file = write(tmp_path / "outer.tar", ("inner.tar", inner), ("a.jpg", JPEG))
    assert read(file) == {"a.jpg": JPEG}


def test_of_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    file = write(tmp_path / "x.tar", ("a.jpg", JPEG), ("b.jpg", JPEG), ("./a.jpg", PNG))
    assert read(file) == {"b.jpg": JPEG, "a.jpg": PNG}
    assert list(read(file)) == ["b.jpg", "a.jpg"]


def test_labels_of_webdataset_shards(tmp_path: Path) -> None:
    file = write(
        tmp_path / "x.tar",
        ("000.jpg", JPEG), ("000.cls", b"7\n"), ("000.json", b"{}"),
        ("sub/000.cls", b"Gr\xc3\xbcn"), ("sub/000.jpg", JPEG),
        ("001.left.png", PNG), ("001.right.png", PNG), ("001.cls", b"8"),
        ("v1.2.jpg", JPEG), ("v1.2.cls", b"dots"),
        ("002.jpg", JPEG), ("003.jpg", JPEG), ("003.cls", b""),
        ("004.jpg", JPEG), ("004.cls", b"x" * 1_000),
    )  # fmt: skip
    assert {row["path"]: row["label"] for row in listed(file)} == {
        "000.jpg": "7",
        "sub/000.jpg": "Grün",
        "001.left.png": "8",
        "001.right.png": "8",
        "v1.2.jpg": "dots",
        "002.jpg": None,
        "003.jpg": None,
        "004.jpg": None,
    }


def test_a_long_tar_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_BATCH", 4)
    monkeypatch.setattr(tar, "_WINDOW", 2_000)
    contents = {f"{i}.jpg": JPEG + bytes(random.Random(i).randrange(5_000)) for i in range(10)}
    file = write(tmp_path / "x.tar", *contents.items())
    batches = list(list_images(open_source(str(file)), SkippedFiles()))
    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    assert read(file) == contents


def three(tmp_path: Path) -> tuple[Path, bytearray]:
    file = write(tmp_path / "x.tar", *[(f"{i}.jpg", JPEG) for i in range(3)])
    return file, bytearray(file.read_bytes())


HEADER = 512
STEP = HEADER + -(-len(JPEG) // 512) * 512
"""Bytes from one member of ``three`` to the next."""


def test_a_tar_cut_at_any_place_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    file, whole = three(tmp_path)
    for length in range(0, 3 * STEP + 1, 100):
        file.write_bytes(whole[:length])
        found = read(file)
        complete = [i for i in range(3) if length >= i * STEP + HEADER + len(JPEG)]
        assert {p: d for p, d in found.items() if isinstance(d, bytes)} == {
            f"{i}.jpg": JPEG for i in complete
        }
        assert {d for d in found.values() if isinstance(d, str)} <= {"truncated", "corrupt"}
        assert len(found) > len(complete)


def patched(whole: bytes | bytearray, at: int, field: int, value: bytes | bytearray) -> bytes:
    """A header with other bytes in one field, and the checksum that goes with them."""
    header = bytearray(whole[at : at + HEADER])
    header[field : field + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(whole[:at] + header + whole[at + HEADER :])


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (b"77777777777\0", {"0.jpg": None, "1.jpg": "truncated"}),
        (b"\x80" + b"\x7f" * 11, {"0.jpg": None, "1.jpg": "truncated"}),
        (b"\xff" * 12, {"0.jpg": None, "x.tar": "corrupt"}),
        (b"\xff" + b"\0" * 11, {"0.jpg": None, "x.tar": "corrupt"}),
        (b"not a number", {"0.jpg": None, "x.tar": "corrupt"}),
    ],
)
def test_sizes_that_cannot_be(tmp_path: Path, size: bytes, expected: dict[str, str | None]) -> None:
    file, whole = three(tmp_path)
    file.write_bytes(patched(whole, STEP, 124, size))
    assert told(file) == expected


@pytest.mark.parametrize("size", ["-1", "-100000", "9" * 30, "1e9", "nan", ""])
def test_sizes_of_extended_headers_that_cannot_be(tmp_path: Path, size: str) -> None:
    info = member("1.jpg", len(JPEG))
    info.pax_headers = {"size": size}
    file = write(tmp_path / "x.tar", ("0.jpg", JPEG), (info, JPEG), ("2.jpg", JPEG))
    found = read(file)
    assert found.pop("0.jpg") == JPEG
    assert set(map(str, found.values())) & {"corrupt", "truncated"}


def test_names_that_claim_a_gigabyte_take_no_memory(tmp_path: Path) -> None:
    file, whole = three(tmp_path)
    for kind in (b"L", b"K", b"x", b"g"):
        hostile = patched(whole, STEP, 156, kind)
        hostile = patched(bytearray(hostile), STEP, 124, b"07777777777\0")
        file.write_bytes(hostile)
        (row,) = [row for row in listed(file) if row["reason"]]
        assert (row["path"], row["reason"]) == ("x.tar", "corrupt")
        assert "claims" in row["message"]


def test_headers_that_announce_headers_without_end(tmp_path: Path) -> None:
    content = b"11 path=ab\n"
    header = member("x", len(content), tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT)
    (tmp_path / "x.tar").write_bytes((header + content.ljust(512, b"\0")) * 5_000)
    assert told(tmp_path / "x.tar") == {"x.tar": "corrupt"}


def test_bytes_changed_at_random_never_break_the_listing(tmp_path: Path) -> None:
    info = member("d" * 200 + ".jpg", len(JPEG))
    info.pax_headers = {"comment": "hello", "mtime": "1.5"}
    file = write(
        tmp_path / "x.tar", ("0.jpg", JPEG), (info, JPEG), ("2.jpg", JPEG), ("2.cls", b"7")
    )
    whole = file.read_bytes()
    headers = [at for at in range(0, len(whole), 512) if whole[at + 257 : at + 262] == b"ustar"]
    chance = random.Random(0)
    for turn in range(400):
        harmed = bytearray(whole)
        at = chance.choice(headers)
        for _ in range(chance.choice([1, 2, 8])):
            harmed[at + chance.randrange(512)] = chance.randrange(256)
        # Half of them keep a valid checksum, so that the damage is believed.
        file.write_bytes(patched(harmed, at, 0, harmed[at : at + 1]) if turn % 2 else harmed)
        for row in listed(file):
            assert row["path"]
            assert not row["path"].startswith("/")
            assert ".." not in row["path"].split("/")
            assert row["size"] >= 0


def test_two_tars_in_one_file_are_noticed(tmp_path: Path) -> None:
    file, whole = three(tmp_path)
    file.write_bytes(whole + whole)
    assert told(file) == {"0.jpg": None, "1.jpg": None, "2.jpg": None, "x.tar": "corrupt"}
    file.write_bytes(whole + bytes(100_000))
    assert "x.tar" not in told(file)


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (b"", "corrupt", "empty"),
        (b"x" * 5_000, "corrupt", "at byte 0"),
        (gzip.compress(bytes(5_000)), "corrupt", "gzip data: decompress"),
        (b"BZh91AY&SY" + bytes(600), "corrupt", "bzip2 data: decompress"),
    ],
)
def test_a_tar_in_name_only(tmp_path: Path, content: bytes, reason: str, message: str) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    for where in (tmp_path, tmp_path / "x.tar"):
        (row,) = listed(where)
        assert (row["path"], row["reason"]) == ("x.tar", reason)
        assert message in row["message"]


def test_a_tar_of_nothing_is_no_fault(tmp_path: Path) -> None:
    assert listed(write(tmp_path / "x.tar")) == []


def test_a_link_to_no_tar_is_a_reject(tmp_path: Path) -> None:
    (tmp_path / "x.tar").symlink_to("gone.tar")
    assert told(tmp_path) == {"x.tar": "vanished"}


def test_a_tar_whose_name_is_not_utf8_is_a_reject(tmp_path: Path) -> None:
    file, whole = three(tmp_path)
    file.unlink()
    with open(os.fsencode(tmp_path) + b"/\xff.tar", "wb") as stream:  # noqa: PTH123
        stream.write(whole)
    (row,) = listed(tmp_path)
    assert (row["path"], row["reason"]) == ("\\xff.tar", "read_failed")
    assert "rename" in row["message"]


def test_a_tar_that_changes_after_the_listing(tmp_path: Path) -> None:
    file, whole = three(tmp_path)
    source = open_source(str(file))
    (batch,) = list_images(source, SkippedFiles())
    file.write_bytes(whole[:STEP] + b"another content")
    outcomes = list(read_images(open_store(source.root), batch, DecodeLimits()))
    assert [str(o.reason) for o in outcomes if isinstance(o, RejectedImage)] == ["changed"] * 3
    file.unlink()
    outcomes = list(read_images(open_store(source.root), batch, DecodeLimits()))
    assert [str(o.reason) for o in outcomes if isinstance(o, RejectedImage)] == ["vanished"] * 3


@pytest.mark.parametrize("gone", [True, False])
def test_a_tar_that_changes_during_the_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    file, whole = three(tmp_path)
    monkeypatch.setattr(tar, "_WINDOW", 600)
    real = LocalStore.read_range

    def overtaken(
        store: Store, key: str, start: int, length: int, *, etag: str | None = None
    ) -> bytes:
        # Somebody else is at work between the first member and the second.
        if start >= STEP:
            if gone:
                file.unlink(missing_ok=True)
            else:
                file.write_bytes(whole + b"more")
        return real(store, key, start, length, etag=etag)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStore, "read_range", overtaken)
    found = told(file)
    assert found.pop("x.tar") == ("vanished" if gone else "changed")
    assert set(found) <= {"0.jpg", "1.jpg"}
