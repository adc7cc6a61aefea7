from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pomona.errors import UsageError
from pomona.samples import write_faults
from pomona.samples.faults import MAX_BYTES
from pomona.schema import Reason

if TYPE_CHECKING:
    from pathlib import Path

MAX_PIXELS = 50_000_000
PER_KIND = 20
NEVER_AT_REST = {Reason.CHANGED, Reason.READ_FAILED}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("faults") / "new"
    write_faults(directory, per_kind=PER_KIND, seed=3)
    return directory


@pytest.fixture(scope="module")
def rejects(folder: Path) -> dict[str, str]:
    loaded: dict[str, str] = json.loads((folder / "faults.json").read_text())["rejects"]
    return loaded


@pytest.fixture(scope="module")
def not_listed(folder: Path) -> list[str]:
    loaded: list[str] = json.loads((folder / "faults.json").read_text())["not_listed"]
    return loaded


def of(rejects: dict[str, str], *reasons: Reason) -> list[str]:
    return [path for path, reason in rejects.items() if reason in reasons]


def test_every_reason_that_a_file_can_show_has_its_share(
    rejects: dict[str, str],
) -> None:
    expected = {reason.value: PER_KIND for reason in Reason if reason not in NEVER_AT_REST}
    assert Counter(rejects.values()) == expected


def test_the_default_shows_every_variant(tmp_path: Path) -> None:
    some = write_faults(tmp_path / "some")
    more = write_faults(tmp_path / "more", per_kind=30)
    for reason in set(some.values()):
        variants = [
            {path.split("/")[1][3:] for path, other in faults.items() if other == reason}
            for faults in (some, more)
        ]
        assert variants[0] == variants[1], reason


def test_the_record_is_sorted_and_what_is_returned(tmp_path: Path) -> None:
    rejects = write_faults(tmp_path, per_kind=1)
    text = (tmp_path / "faults.json").read_text()
    record = json.loads(text)
    assert record["rejects"] == rejects
    assert list(rejects) == sorted(rejects)
    assert text == json.dumps(record, indent=2, sort_keys=True) + "\n"
    assert set(rejects.values()) == set(Reason) - NEVER_AT_REST


def test_folder_and_record_hold_the_same_files(
    folder: Path, rejects: dict[str, str], not_listed: list[str]
) -> None:
    found = set()
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_dir() and not path.is_symlink():
                waiting.append(path)
            else:
                found.add(path.relative_to(folder).as_posix())
    assert found == set(rejects) | set(not_listed)


def test_what_must_not_be_listed_is_there(folder: Path, not_listed: list[str]) -> None:
    assert not_listed == sorted(not_listed)
    assert (folder / ".hidden.jpg").stat().st_size > 0
    assert (folder / ".hidden" / "000.jpg").stat().st_size > 0
    leak = folder / "leak.jpg"
    assert leak.is_symlink()
    assert not leak.resolve().is_relative_to(folder.resolve())
    assert (folder / "loop").resolve() == folder.resolve()


def test_broken_bytes_do_not_decode(folder: Path, rejects: dict[str, str]) -> None:
    reasons = (Reason.EMPTY, Reason.TRUNCATED, Reason.NOT_AN_IMAGE, Reason.CORRUPT)
    for path in of(rejects, *reasons, Reason.ZERO_SIZED, Reason.VANISHED):
        # The error that Pillow chooses differs between formats; any of them will do.
        with pytest.raises((OSError, SyntaxError)), Image.open(folder / path) as image:
            image.load()


def test_headers_of_truncated_files_are_those_of_images(
    folder: Path, rejects: dict[str, str]
) -> None:
    heads = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8", b"BM", b"II*\0")
    for path in of(rejects, Reason.TRUNCATED):
        assert (folder / path).read_bytes().startswith(heads), path


def test_large_headers_promise_too_much(folder: Path, rejects: dict[str, str]) -> None:
    for path in of(rejects, Reason.TOO_MANY_PIXELS):
        assert (folder / path).stat().st_size < 100_000
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(folder / path) as image:
                    assert image.width * image.height > MAX_PIXELS
        except Image.DecompressionBombError:
            continue


def test_large_files_are_sparse(folder: Path, rejects: dict[str, str]) -> None:
    paths = of(rejects, Reason.TOO_MANY_BYTES)
    for path in paths:
        status = (folder / path).stat()
        assert status.st_size > MAX_BYTES
        assert status.st_blocks * 512 < 2**20


def test_unreadable_files_have_no_permissions(folder: Path, rejects: dict[str, str]) -> None:
    for path in of(rejects, Reason.UNREADABLE):
        assert (folder / path).stat().st_mode & 0o777 == 0
        if os.geteuid():
            with pytest.raises(PermissionError):
                (folder / path).read_bytes()


def test_vanished_files_are_links_to_nothing_inside(folder: Path, rejects: dict[str, str]) -> None:
    for path in of(rejects, Reason.VANISHED):
        link = folder / path
        assert link.is_symlink()
        assert not link.exists()
        assert link.resolve().is_relative_to(folder.resolve())


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    def write(name: str, seed: int) -> dict[str, bytes]:
        directory = tmp_path / name
        rejects = write_faults(directory, per_kind=5, seed=seed)
        skipped = {Reason.TOO_MANY_BYTES, Reason.UNREADABLE, Reason.VANISHED}
        return {
            path: (directory / path).read_bytes()
            for path, reason in rejects.items()
            if reason not in skipped
        }

    first, again, other = write("first", 1), write("again", 1), write("other", 2)
    assert first == again
    assert first != other


def test_misuse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="per_kind is 0"):
        write_faults(tmp_path, per_kind=0)
    with pytest.raises(UsageError, match="seed is -1"):
        write_faults(tmp_path, seed=-1)
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="is not empty"):
        write_faults(tmp_path)
