from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from pomona.access.policies import Prefix, Terms, uploader_policy
from pomona.errors import InputError, StorageError
from pomona.images.layout import Layout, LayoutDetector
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.storage import Location, StorageOptions
from pomona.storage.download import download
from pomona.storage.upload import upload
from tests.command import pomona
from tests.servers import roles
from tests.servers.moving import Watcher, counts, local, remote, stopped_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pomona.storage.transfer import Transfer
    from tests.servers.guard import Guard

MEBI = 1 << 20
COUNT, FEW = 200, 40


def photographs(folder: Path, count: int) -> Path:
    """Files in Fruits-360's shape; what is in them does not matter here."""
    chance = random.Random(0)
    for index in range(count):
        label = f"{('Training', 'Test')[index % 2]}/Apple Red {index % 5}"
        path = folder / label / f"{index}_100.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff" + chance.randbytes(chance.randrange(6_000)))
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("images") / "in", COUNT)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("few") / "in", FEW)


def send(folder: Path | str, to: str = "s3://orchard/in", **options: Any) -> Transfer:
    storage = StorageOptions(**options.pop("storage", {}))
    target = Location.parse(to, storage)
    return upload(Location.parse(folder), target, Watcher(), **options)


def test_a_folder_is_sent_whole_and_only_once(orchard: Any, images: Path) -> None:
    first = send(images)
    assert counts(first) == (COUNT, COUNT, 0, 0)
    assert first.unverified == 0
    assert remote(orchard, "in/") == local(images)
    assert counts(send(images)) == (COUNT, 0, COUNT, 0)
    path = next(images.rglob("*.jpg"))
    item = orchard.Object(f"in/{path.relative_to(images)}")
    assert item.content_type == "image/jpeg"
    assert item.metadata["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_progress_ends_at_the_total(orchard: Any, few: Path) -> None:
    watcher = Watcher()
    upload(Location.parse(few), Location.parse("s3://orchard/in"), watcher)
    assert watcher.told[-1] == (FEW, FEW, 0)
    assert watcher.told == sorted(watcher.told)


def test_a_killed_upload_goes_on(guard: Guard, orchard: Any, images: Path) -> None:
    command = ("upload", images, "s3://orchard/in", "--jobs", "2")
    stopped_after(guard, signal.SIGKILL, "PUT", 50, *command)
    there = len(remote(orchard, "in/"))
    assert 50 <= there < COUNT
    done = pomona(*command, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["moved"] + facts["unchanged"] == COUNT
    # What was under way when it was killed may have arrived.
    assert 50 <= facts["unchanged"] <= there + 2
    assert remote(orchard, "in/") == local(images)


def test_ctrl_c_ends_it_at_once_and_says_how_to_go_on(
    guard: Guard, orchard: Any, few: Path
) -> None:
    command = ("upload", few, "s3://orchard/in", "--jobs", "2")
    code, told = stopped_after(guard, signal.SIGINT, "PUT", 10, *command)
    assert code == 130
    assert "run the same command again" in told
    assert "Traceback" not in told
    assert counts(send(few))[0] == FEW
    assert remote(orchard, "in/") == local(few)


def test_a_changed_file_is_sent_again(orchard: Any, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    send(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"other")
    (tmp_path / "b.jpg").write_bytes(b"B.jpg")
    assert counts(send(tmp_path)) == (3, 2, 1, 0)
    assert remote(orchard, "in/") == {"a.jpg": b"other", "b.jpg": b"B.jpg", "c.jpg": b"c.jpg"}


def test_an_object_with_other_bytes_is_replaced(orchard: Any, few: Path) -> None:
    send(few)
    name, content = next(iter(local(few).items()))
    orchard.put_object(Key=f"in/{name}", Body=content[:-1] + bytes([content[-1] ^ 1]))
    assert counts(send(few)) == (FEW, 1, FEW - 1, 0)
    assert remote(orchard, "in/") == local(few)


def test_bytes_that_are_stored_wrongly_are_noticed(
    guard: Guard, orchard: Any, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())

    def alter(environ: dict[str, Any]) -> None:
        if environ["REQUEST_METHOD"] == "PUT" and environ["RAW_URI"].endswith("b.jpg"):
            data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(b"X" + data[1:])

    guard.before = alter
    account = send(tmp_path)
    assert counts(account) == (2, 1, 0, 1)
    assert "other bytes" in account.failed["b.jpg"]
    guard.before = None
    assert counts(send(tmp_path)) == (2, 1, 1, 0)
    assert remote(orchard, "in/") == {"a.jpg": b"a.jpg", "b.jpg": b"b.jpg"}


def test_a_large_file_goes_in_parts(orchard: Any, tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(os.urandom(33 * MEBI + 5))
    account = send(tmp_path)
    assert counts(account) == (1, 1, 0, 0)
    assert account.unverified == 0
    item = orchard.Object("in/large.tif")
    assert item.e_tag.endswith('-3"')
    assert item.content_type == "image/tiff"
    assert remote(orchard, "in/") == local(tmp_path)
    assert counts(send(tmp_path)) == (1, 0, 1, 0)
    with (tmp_path / "large.tif").open("r+b") as stream:
        stream.seek(20 * MEBI)
        stream.write(b"changed")
    assert counts(send(tmp_path)) == (1, 1, 0, 0)
    assert remote(orchard, "in/") == local(tmp_path)
    assert not list(orchard.multipart_uploads.all())


def test_a_part_that_fails_leaves_nothing(guard: Guard, orchard: Any, tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(os.urandom(33 * MEBI))

    def refuse(environ: dict[str, Any]) -> None:
        if "partNumber=2" in environ["QUERY_STRING"]:
            environ["HTTP_AUTHORIZATION"] = "Credential=REVOKED/"

    guard.policies["REVOKED"] = []
    guard.before = refuse
    account = send(tmp_path)
    assert counts(account) == (1, 0, 0, 1)
    assert "AccessDenied" in account.failed["large.tif"]
    assert not list(orchard.multipart_uploads.all())
    assert remote(orchard, "in/") == {}


def test_what_boto3_sent_in_its_own_parts_is_recognised(orchard: Any, tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(os.urandom(20 * MEBI))
    orchard.upload_file(str(tmp_path / "large.tif"), "in/large.tif")
    assert counts(send(tmp_path)) == (1, 0, 1, 0)


def test_what_the_listing_leaves_out_is_not_sent(orchard: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / ".hidden").mkdir(parents=True)
    (folder / "sub").mkdir()
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    (folder / "a.jpg").write_bytes(b"a")
    (folder / ".b.jpg").write_bytes(b"b")
    (folder / ".hidden" / "c.jpg").write_bytes(b"c")
    (folder / "inside.jpg").symlink_to(folder / "a.jpg")
    (folder / "leak.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "folder").symlink_to(folder / "sub")
    (folder / "sub" / "nothing.jpg").symlink_to(folder / "gone.jpg")
    (folder / "bell\x07.jpg").write_bytes(b"d")
    (folder / "empty.jpg").touch()
    account = send(folder)
    assert remote(orchard, "in/") == {"a.jpg": b"a", "inside.jpg": b"a", "empty.jpg": b""}
    assert account.left_out == {
        "hidden": 2,
        "link that leaves the folder": 1,
        "link to a folder": 1,
        "link to nothing": 1,
        "control characters in the name": 1,
    }


def test_names_in_any_spelling(orchard: Any, tmp_path: Path) -> None:
    names = ["pêche 1+2%.jpg", "a=b&c?#.jpg", "水果/x.jpg", "back\\slash.jpg", "quo'te\".jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb") as stream:  # noqa: PTH123
        stream.write(b"latin")
    account = send(tmp_path)
    assert not account.failed
    assert remote(orchard, "in/") == {
        **{name: name.encode() for name in names},
        "caf\\xe9.jpg": b"latin",
    }
    assert counts(send(tmp_path)) == (6, 0, 6, 0)


def test_a_key_that_is_too_long_fails_alone(orchard: Any, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / ("n" * 100 + ".jpg")).write_bytes(b"1")
    (tmp_path / "a.jpg").write_bytes(b"2")
    account = send(tmp_path)
    assert counts(account) == (2, 1, 0, 1)
    assert "1,024" in next(iter(account.failed.values()))


def test_many_bad_names_do_not_end_it(orchard: Any, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    for index in range(20):
        (deep / (f"{index:02}" + "n" * 100 + ".jpg")).write_bytes(b"1")
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "z.jpg").write_bytes(b"2")
    assert counts(send(tmp_path, jobs=1)) == (21, 1, 0, 20)


def test_a_file_that_vanishes_fails_alone(orchard: Any, tmp_path: Path) -> None:
    for index in range(20):
        (tmp_path / f"{index:02}.jpg").write_bytes(b"x")
    watcher = Watcher((tmp_path / "19.jpg").unlink)
    account = upload(Location.parse(tmp_path), Location.parse("s3://orchard/in"), watcher, jobs=1)
    assert counts(account) == (20, 19, 0, 1)
    assert "No such file" in account.failed["19.jpg"]


def test_a_service_that_knows_no_conditions_gets_the_files_too(
    guard: Guard, orchard: Any, few: Path, tmp_path: Path
) -> None:
    asked = itertools.count()

    def before(environ: dict[str, Any]) -> str | None:
        if "HTTP_IF_NONE_MATCH" not in environ:
            return None
        next(asked)
        return "501 NotImplemented"

    guard.before = before
    assert counts(send(few, jobs=1)) == (FEW, FEW, 0, 0)
    assert remote(orchard, "in/") == local(few)
    (tmp_path / "large.tif").write_bytes(os.urandom(17 * MEBI))
    assert counts(send(tmp_path / "large.tif")) == (1, 1, 0, 0)
    assert next(asked) == 2


def test_one_file_is_sent_below_the_prefix(orchard: Any, tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(b"1" * 100)
    assert counts(send(tmp_path / "shard.tar")) == (1, 1, 0, 0)
    assert remote(orchard, "in/") == {"shard.tar": b"1" * 100}


def test_a_folder_that_is_not_there_is_told(orchard: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        send(tmp_path / "absent")


def test_a_bucket_that_is_not_there_is_told(orchard: Any, images: Path) -> None:
    with pytest.raises(StorageError, match="no such bucket"):
        send(images, "s3://nowhere/in")


def test_encrypted_objects_are_compared_by_what_they_carry(
    guard: Guard, orchard: Any, few: Path, tmp_path: Path
) -> None:
    """Of an object that KMS encrypts the ETag is no MD5: here it is one, spelled backwards."""
    quoted = re.compile(rb'("|&quot;)([0-9a-f]{32})("|&quot;)')

    def backwards(text: bytes) -> bytes:
        return quoted.sub(lambda m: m.group(1) + m.group(2)[::-1] + m.group(3), text)

    def before(environ: dict[str, Any]) -> None:
        if "HTTP_IF_MATCH" in environ:
            environ["HTTP_IF_MATCH"] = backwards(environ["HTTP_IF_MATCH"].encode()).decode()

    def after(environ: dict[str, Any], headers: list[tuple[str, str]], body: bytes) -> bytes:
        for index, (name, value) in enumerate(headers):
            if name.lower() == "etag":
                headers[index] = (name, backwards(value.encode()).decode())
        is_listing = "list-type" in environ["QUERY_STRING"]
        return backwards(body) if is_listing else body

    guard.before, guard.after = before, after
    storage = {"sse": "aws:kms", "kms_key": "1234abcd-12ab-34cd-56ef-1234567890ab"}
    account = send(few, storage=storage)
    assert counts(account) == (FEW, FEW, 0, 0)
    assert account.unverified == FEW
    assert counts(send(few, storage=storage)) == (FEW, 0, FEW, 0)
    back = download(Location.parse("s3://orchard/in"), Location.parse(tmp_path), Watcher())
    assert counts(back) == (FEW, FEW, 0, 0)
    assert local(tmp_path) == local(few)
    again = download(Location.parse("s3://orchard/in"), Location.parse(tmp_path), Watcher())
    assert counts(again) == (FEW, 0, FEW, 0)


def test_the_uploader_adds_goes_on_and_replaces_nothing(
    guard: Guard, become: Callable[..., None], tmp_path: Path
) -> None:
    become()
    roles.prepare(guard.url)
    for name in ("c.jpg", "d.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "large.tif").write_bytes(os.urandom(17 * MEBI))
    become(roles.documents()["uploader"])
    assert counts(send(tmp_path, "s3://orchard/in/new")) == (3, 3, 0, 0)
    assert counts(send(tmp_path, "s3://orchard/in/new")) == (3, 0, 3, 0)
    assert guard.refused == []
    (tmp_path / "c.jpg").write_bytes(b"other")
    account = send(tmp_path, "s3://orchard/in/new")
    assert counts(account) == (3, 0, 2, 1)
    assert "may not replace" in account.failed["c.jpg"]
    become(uploader_policy(roles.FOLDER, Terms(), overwrite=True))
    assert counts(send(tmp_path, "s3://orchard/in/new")) == (3, 1, 2, 0)
    with pytest.raises(StorageError, match="refuses it"):
        send(tmp_path, "s3://orchard/in")


def test_rights_to_nothing_end_it_soon(
    guard: Guard, orchard: Any, become: Callable[..., None], images: Path
) -> None:
    listing = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::orchard"}
    become({"Statement": [listing]})
    with pytest.raises(StorageError, match="Nothing can be moved"):
        send(images)
    assert len(guard.refused) < COUNT


def listed(place: str) -> list[tuple[str, int, str | None]]:
    source = open_source(place)
    found = []
    for batch in list_images(source, SkippedFiles()):
        rows = batch.to_pylist()
        found += [(row["path"], row["size"], row["label"]) for row in rows]
    return found


def layout_of(paths: list[str]) -> Layout:
    detector = LayoutDetector()
    detector.see(paths)
    return detector.layout()


def test_packed_images_have_the_paths_and_labels_of_single_ones(orchard: Any, few: Path) -> None:
    assert counts(send(few, "s3://orchard/single")) == (FEW, FEW, 0, 0)
    packed = send(few, "s3://orchard/packed", pack=40_000)
    assert counts(packed) == (FEW, FEW, 0, 0)
    assert 2 < packed.objects < FEW / 4
    single = listed("s3://orchard/single")
    shards = listed("s3://orchard/packed")
    inside = [(path.partition(".tar/")[2], size, label) for path, size, label in shards]
    assert sorted(inside) == sorted(single)
    layouts = [layout_of([path for path, *_ in found]) for found in (single, shards)]
    assert layouts[0] == layouts[1]
    places = [
        {path.partition(".tar/")[2] or path: layouts[0].place(path) for path, *_ in found}
        for found in (single, shards)
    ]
    assert places[0] == places[1]
    assert counts(send(few, "s3://orchard/packed", pack=40_000)) == (FEW, 0, FEW, 0)


def test_a_killed_packing_goes_on(guard: Guard, orchard: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(100):
        (folder / f"{index:03}.jpg").write_bytes(os.urandom(50_000))
    command = ("upload", folder, "s3://orchard/in", "--pack", "--shard-mib", "1", "-j", "1")
    stopped_after(guard, signal.SIGKILL, "PUT", 2, *command)
    assert 2 <= len(remote(orchard, "in/")) < 6
    done = pomona(*command, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["files"], facts["moved"] + facts["unchanged"]) == (100, 100)
    assert facts["unchanged"] >= 38
    assert sorted(path.partition(".tar/")[2] for path, *_ in listed("s3://orchard/in")) == sorted(
        path.name for path in folder.iterdir()
    )


def test_shards_of_other_files_are_not_mixed_in(orchard: Any, tmp_path: Path) -> None:
    for index in range(8):
        (tmp_path / f"{index}.jpg").write_bytes(os.urandom(20_000))
    send(tmp_path, pack=100_000)
    assert sorted(remote(orchard, "in/")) == ["shard-00000.tar", "shard-00001.tar"]
    with pytest.raises(StorageError, match=r"shard-00001\.tar"):
        send(tmp_path, pack=1_000_000)
    orchard.put_object(Key="other/3.jpg", Body=b"x")
    with pytest.raises(StorageError, match=r"3\.jpg by itself"):
        send(tmp_path, "s3://orchard/other", pack=100_000)


@pytest.mark.parametrize(
    "arguments",
    [("upload", "s3://orchard/a", "s3://orchard/b"), ("upload", "a", "b"),
     ("download", "a", "b"), ("download", "s3://orchard/a", "s3://orchard/b")],
)  # fmt: skip
def test_the_wrong_way_round_is_misuse(arguments: tuple[str, ...]) -> None:
    done = pomona(*arguments)
    assert done.returncode == 2
    assert f"pomona {arguments[0]}" in done.stderr


def test_what_failed_is_told_and_the_exit_code_says_so(
    guard: Guard, become: Callable[..., None], tmp_path: Path
) -> None:
    become()
    roles.prepare(guard.url)
    (tmp_path / "b.jpg").write_bytes(b"not what is there")
    (tmp_path / "c.jpg").write_bytes(b"new")
    become(uploader_policy(Prefix("orchard", "in/new"), Terms()))
    done = pomona("upload", tmp_path, "s3://orchard/in/new", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["failed"].keys() == {"b.jpg"}
    assert "may not replace" in done.stderr
    assert len(done.stderr.splitlines()) <= 10
