from __future__ import annotations

import io
import os
import random
import tarfile
from typing import TYPE_CHECKING

import pytest

from pomona.storage.packing import LocalFile, Shard, build, plan_shards

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 100_000


def files_of(folder: Path, sizes: dict[str, int]) -> list[LocalFile]:
    found = []
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        found.append(LocalFile(name, os.fsencode(path), size))
    return found


def built(shard: Shard) -> bytes:
    return build(shard, lambda file, error: pytest.fail(f"{file}: {error}"))


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        found = {}
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found


@pytest.mark.parametrize("seed", range(5))
def test_every_file_is_in_one_shard_and_none_is_too_large(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"{'é' * (i % 3)}/{'long' * (i % 40)}/{i:03}.jpg" for i in range(120)]
    files = files_of(tmp_path, {name: chance.randrange(0, 24_000) for name in names})
    parcels = list(plan_shards(files, LIMIT))
    shards = [parcel for parcel in parcels if isinstance(parcel, Shard)]
    assert [shard.name for shard in shards] == [f"shard-{i:05}.tar" for i in range(len(shards))]
    assert [file for shard in shards for file in shard.files] == files
    contents: dict[str, bytes] = {}
    for shard in shards:
        data = built(shard)
        assert len(data) <= LIMIT
        contents |= members(data)
    assert contents == {name: (tmp_path / name).read_bytes() for name in names}
    assert len(shards) < sum(file.size + 2_500 for file in files) / LIMIT * 1.4 + 1


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    files = files_of(tmp_path, {f"a/{i}.jpg": 100 * i for i in range(50)})
    first = [built(s) for s in plan_shards(files, LIMIT) if isinstance(s, Shard)]
    for file in files:
        os.utime(file.address, (1, 1))
    again = [built(s) for s in plan_shards(files, LIMIT) if isinstance(s, Shard)]
    assert first == again


def test_files_of_one_sample_stay_together(tmp_path: Path) -> None:
    sizes = {f"a/{i:02}.{kind}": 9_000 for i in range(30) for kind in ("cls", "jpg", "json")}
    shards = list(plan_shards(files_of(tmp_path, sizes), LIMIT))
    assert len(shards) > 3
    places: dict[str, set[str]] = {}
    for shard in shards:
        assert isinstance(shard, Shard)
        for file in shard.files:
            places.setdefault(file.path.split(".")[0], set()).add(shard.name)
    assert all(len(names) == 1 for names in places.values())


def test_large_files_and_tars_go_by_themselves(tmp_path: Path) -> None:
    sizes = {"a.jpg": 10, "big.jpg": LIMIT // 4 + 1, "c.jpg": 10, "old.tar": 10, "x.TAR.GZ": 10}
    parcels = list(plan_shards(files_of(tmp_path, sizes), LIMIT))
    alone = [parcel.path for parcel in parcels if isinstance(parcel, LocalFile)]
    assert alone == ["big.jpg", "old.tar", "x.TAR.GZ"]
    shard = parcels[-1]
    assert isinstance(shard, Shard)
    assert [file.path for file in shard.files] == ["a.jpg", "c.jpg"]


def test_a_file_that_is_gone_is_told_and_the_rest_is_packed(tmp_path: Path) -> None:
    files = files_of(tmp_path, {"a.jpg": 10, "b.jpg": 10})
    (tmp_path / "a.jpg").unlink()
    shard = next(iter(plan_shards(files, LIMIT)))
    assert isinstance(shard, Shard)
    told = []
    data = build(shard, lambda file, error: told.append((file.path, error.errno)))
    assert list(members(data)) == ["b.jpg"]
    assert [path for path, _ in told] == ["a.jpg"]
