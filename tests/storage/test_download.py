from __future__ import annotations

import itertools
import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from pomona.errors import InputError, StorageError
from pomona.storage import Location
from pomona.storage.download import download
from tests.command import pomona
from tests.servers import roles
from tests.servers.moving import Watcher, counts, local, stopped_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pomona.storage.transfer import Transfer
    from tests.servers.guard import Guard

MEBI = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "out"


def fetch(folder: Path, place: str = "s3://orchard/out", **options: Any) -> Transfer:
    return download(Location.parse(place), Location.parse(folder), Watcher(), **options)


def fill(bucket: Any, count: int = 100) -> dict[str, bytes]:
    contents = {f"{i % 7}/{i:03}.bin": os.urandom(i * 10) for i in range(count)}
    for key, content in contents.items():
        bucket.put_object(Key=f"out/{key}", Body=content)
    return contents


def tampering(guard: Guard, key: str, times: int) -> None:
    """Flip a byte in so many answers that give an object."""
    left = itertools.count()

    def after(environ: dict[str, Any], _headers: list[Any], body: bytes) -> bytes:
        is_it = environ["REQUEST_METHOD"] == "GET" and environ["RAW_URI"].endswith(key)
        return body[:-1] + bytes([body[-1] ^ 1]) if is_it and next(left) < times else body

    guard.after = after


def test_a_prefix_is_fetched_whole_and_only_once(orchard: Any, folder: Path) -> None:
    contents = fill(orchard)
    orchard.put_object(Key="outside.bin", Body=b"x")
    assert counts(fetch(folder)) == (100, 100, 0, 0)
    assert local(folder) == contents
    assert sorted(path.name for path in folder.iterdir()) == sorted(set("0123456"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert counts(fetch(folder)) == (100, 0, 100, 0)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_killed_download_goes_on_and_shows_no_half_files(
    guard: Guard, orchard: Any, folder: Path
) -> None:
    contents = fill(orchard)
    command = ("download", "s3://orchard/out", folder, "--jobs", "2")
    stopped_after(guard, signal.SIGKILL, "GET", 30, *command)
    shown = {name: data for name, data in local(folder).items() if not name.startswith(".")}
    assert 25 <= len(shown) < 100
    assert all(contents[name] == data for name, data in shown.items())
    (staging,) = folder.glob(".pomona-download-*")
    done = pomona(*command, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["moved"], facts["unchanged"]) == (100 - len(shown), len(shown))
    assert local(folder) == contents
    assert not staging.exists()


def test_ctrl_c_leaves_no_half_files(guard: Guard, orchard: Any, folder: Path) -> None:
    contents = fill(orchard, 40)
    command = ("download", "s3://orchard/out", folder, "--jobs", "2")
    code, told = stopped_after(guard, signal.SIGINT, "GET", 10, *command)
    assert code == 130
    assert "run the same command again" in told
    shown = local(folder)
    assert 5 <= len(shown) < 40
    assert shown.items() <= contents.items()


def test_other_local_content_is_replaced(orchard: Any, folder: Path) -> None:
    contents = fill(orchard, 10)
    fetch(folder)
    (folder / "3" / "003.bin").write_bytes(b"x" * 30)
    (folder / "4" / "004.bin").write_bytes(b"x")
    (folder / "5" / "005.bin").unlink()
    (folder / "mine.txt").write_text("not theirs")
    assert counts(fetch(folder)) == (10, 3, 7, 0)
    assert local(folder) == contents | {"mine.txt": b"not theirs"}


@pytest.mark.parametrize("size", [100, 17 * MEBI])
def test_bytes_that_arrive_wrongly_are_asked_for_again(
    guard: Guard, orchard: Any, folder: Path, size: int
) -> None:
    content = os.urandom(size)
    orchard.put_object(Key="out/a.bin", Body=content)
    tampering(guard, "a.bin", 1)
    assert counts(fetch(folder)) == (1, 1, 0, 0)
    assert local(folder) == {"a.bin": content}


@pytest.mark.parametrize("in_parts", [False, True])
def test_bytes_that_are_always_wrong_never_get_their_name(
    guard: Guard, orchard: Any, folder: Path, tmp_path: Path, in_parts: bool
) -> None:
    orchard.put_object(Key="out/b.bin", Body=b"fine")
    if in_parts:
        (tmp_path / "a.bin").write_bytes(os.urandom(9 * MEBI))
        noted = {"Metadata": {"sha256": "0" * 64}}
        orchard.upload_file(str(tmp_path / "a.bin"), "out/a.bin", ExtraArgs=noted)
    else:
        orchard.put_object(Key="out/a.bin", Body=b"content")
    tampering(guard, "a.bin", 99)
    account = fetch(folder)
    assert counts(account) == (2, 1, 0, 1)
    assert "checksum differs" in account.failed["a.bin"]
    assert local(folder) == {"b.bin": b"fine"}


def test_parts_of_an_unusual_size_are_told_to_be_unverified(
    orchard: Any, folder: Path, tmp_path: Path
) -> None:
    from boto3.s3.transfer import TransferConfig

    (tmp_path / "a.bin").write_bytes(os.urandom(14_000_000))
    odd = TransferConfig(multipart_threshold=6_000_001, multipart_chunksize=6_000_001)
    orchard.upload_file(str(tmp_path / "a.bin"), "out/a.bin", Config=odd)
    account = fetch(folder)
    assert counts(account) == (1, 1, 0, 0)
    assert account.unverified == 1
    assert local(folder) == {"a.bin": (tmp_path / "a.bin").read_bytes()}


@pytest.mark.parametrize(
    "key",
    ["/etc/cron.d/x", "a//b", "//x", "bell\x07.jpg", "tab\there", "esc\x1b[2Jape", "../up.jpg",
     "a/../../up.jpg", "./x", "a/./b", ".."],
)  # fmt: skip
def test_keys_that_would_leave_the_folder_are_left_out(
    guard: Guard, orchard: Any, tmp_path: Path, key: str
) -> None:
    orchard.put_object(Key="out/good.jpg", Body=b"good")
    orchard.put_object(Key=f"out/{key}", Body=b"evil")
    assert f"out/{key}" in [item.key for item in orchard.objects.all()]
    account = fetch(tmp_path / "down" / "here")
    assert counts(account) == (1, 1, 0, 0)
    assert sum(account.left_out.values()) == 1
    assert local(tmp_path / "down") == {"here/good.jpg": b"good"}


def test_a_link_does_not_lead_out_of_the_folder(orchard: Any, tmp_path: Path) -> None:
    orchard.put_object(Key="out/sub/a.jpg", Body=b"a")
    orchard.put_object(Key="out/b.jpg", Body=b"b")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_bytes(b"precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "sub").symlink_to(tmp_path / "elsewhere")
    (folder / "b.jpg").symlink_to(tmp_path / "elsewhere" / "precious")
    account = fetch(folder)
    assert counts(account) == (2, 1, 0, 1)
    assert "leads out" in account.failed["sub/a.jpg"]
    assert local(tmp_path / "elsewhere") == {"precious": b"precious"}
    assert (folder / "b.jpg").read_bytes() == b"b"
    assert not (folder / "b.jpg").is_symlink()


def test_a_key_that_is_a_folder_as_well_gives_way(orchard: Any, folder: Path) -> None:
    for key in ("a", "a/b", "a/b/c.jpg", "a.jpg", "d/"):
        orchard.put_object(Key=f"out/{key}", Body=b"" if key == "d/" else key.encode())
    account = fetch(folder)
    assert local(folder) == {"a/b/c.jpg": b"a/b/c.jpg", "a.jpg": b"a.jpg"}
    assert account.left_out == {"key that is a folder as well": 2}


def test_what_is_in_the_way_is_told(orchard: Any, folder: Path) -> None:
    for key in ("a", "b/c", "d" * 300, "e"):
        orchard.put_object(Key=f"out/{key}", Body=b"1")
    (folder / "a").mkdir(parents=True)
    (folder / "b").write_text("a file")
    account = fetch(folder)
    assert counts(account) == (4, 1, 0, 3)
    assert account.failed["a"] == "a folder of that name is there"
    assert "Not a directory" in account.failed["b/c"] or "exists" in account.failed["b/c"]
    assert "too long" in account.failed["d" * 300]


def test_hidden_keys_are_left_out(orchard: Any, folder: Path) -> None:
    for key in (".lock", "a/.b/c", "_delta_log/0.json", "a.jpg"):
        orchard.put_object(Key=f"out/{key}", Body=b"1")
    account = fetch(folder)
    assert sorted(local(folder)) == ["_delta_log/0.json", "a.jpg"]
    assert account.left_out == {"hidden": 2}


def test_one_object_is_fetched_by_its_key(orchard: Any, folder: Path) -> None:
    orchard.put_object(Key="out/report.html", Body=b"<html>")
    orchard.put_object(Key="out/report.html.bak", Body=b"other")
    assert counts(fetch(folder, "s3://orchard/out/report.html")) == (1, 1, 0, 0)
    assert local(folder) == {"report.html": b"<html>"}


def test_a_whole_bucket_and_large_files(orchard: Any, folder: Path) -> None:
    contents = {"a/large.tif": os.urandom(33 * MEBI + 1), "b": b"", "c": b"1"}
    for key, content in contents.items():
        orchard.put_object(Key=key, Body=content)
    account = fetch(folder, "s3://orchard")
    assert counts(account) == (3, 3, 0, 0)
    assert account.unverified == 0
    assert local(folder) == contents


def test_objects_that_change_or_go_meanwhile_fail_alone(
    guard: Guard, orchard: Any, folder: Path
) -> None:
    for key in ("a", "b", "c"):
        orchard.put_object(Key=f"out/{key}", Body=b"1")
    once = itertools.count()

    def before(environ: dict[str, Any]) -> None:
        if environ["RAW_URI"].endswith("/a") and next(once) == 0:
            orchard.put_object(Key="out/b", Body=b"2")
            orchard.Object("out/c").delete()

    guard.before = before
    account = fetch(folder, jobs=1)
    assert counts(account) == (3, 1, 0, 2)
    assert "overwritten" in account.failed["b"]
    assert "deleted" in account.failed["c"]
    assert local(folder) == {"a": b"1"}


def test_nothing_there_is_told_and_makes_no_folder(orchard: Any, folder: Path) -> None:
    with pytest.raises(InputError, match="nothing below"):
        fetch(folder)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_told(orchard: Any, tmp_path: Path) -> None:
    orchard.put_object(Key="out/a", Body=b"1")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        fetch(tmp_path / "file" / "below")


def test_the_reader_fetches_results_alone(
    guard: Guard, become: Callable[..., None], folder: Path
) -> None:
    become()
    roles.prepare(guard.url)
    become(roles.documents()["reader"])
    assert counts(fetch(folder, "s3://results/out")) == (1, 1, 0, 0)
    assert counts(fetch(folder, "s3://results/out/report.html")) == (1, 0, 1, 0)
    assert guard.refused == []
    for place in ("s3://results", "s3://orchard/in"):
        with pytest.raises(StorageError, match="refuses it"):
            fetch(folder, place)
