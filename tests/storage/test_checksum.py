from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pomona.storage.checksum import PART, etag_of_file, part_size, proves_same

if TYPE_CHECKING:
    from pathlib import Path

MEBI = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 9 * MEBI, 16 * MEBI, 17 * MEBI])
@pytest.mark.parametrize("part", [5, 8, 15, 16])
def test_etags_are_those_that_boto3s_own_transfers_leave(
    bucket: Any, tmp_path: Path, size: int, part: int
) -> None:
    from boto3.s3.transfer import TransferConfig

    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    config = TransferConfig(multipart_threshold=part * MEBI, multipart_chunksize=part * MEBI)
    bucket.upload_file(str(path), "file", Config=config)
    etag = bucket.Object("file").e_tag.strip('"')
    assert proves_same(path, size, etag)
    if size:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        assert not proves_same(path, size, etag)


@pytest.mark.parametrize("etag", ["", "x", "0" * 32, "0" * 32 + "-3", "0" * 32 + "-0", "-1"])
def test_other_etags_prove_nothing(tmp_path: Path, etag: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert not proves_same(path, 7, etag)


@pytest.mark.parametrize("size", [0, PART, 5 << 40, 9_000 * PART, 9_000 * PART + 1])
def test_parts_are_never_too_many(size: int) -> None:
    part = part_size(size)
    assert part >= PART
    assert part % MEBI == 0
    assert size <= part * 10_000


def test_an_empty_file_is_one_part(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert etag_of_file(tmp_path / "file") == "d41d8cd98f00b204e9800998ecf8427e"
