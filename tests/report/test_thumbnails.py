from __future__ import annotations

import base64
import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.report.thumbnails import CHANGED, FULL, GONE, LATE, UNDRAWABLE, Asked, read_pictures
from pomona.samples import write_faults, write_samples

_SIDE = 32


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs") / "in"
    write_samples(folder, count=300, processes=1)
    return folder


def _listed(source: str | Path) -> list[Asked]:
    skipped = SkippedFiles()
    return [
        Asked(row["path"], row["etag"])
        for batch in list_images(open_source(str(source)), skipped)
        for row in batch.select(["path", "etag"]).to_pylist()
    ]


def _read(source: str | Path, asked: list[Asked], **options: Any) -> Any:
    return read_pictures(
        str(source), asked, **{"name": "p", "side": _SIDE, "budget": 10**6, **options}
    )


def _drawn(pictures: Any, path: str) -> np.ndarray[Any, Any]:
    sheet, column, row = pictures.places[path]
    uri = pictures.sheets[sheet][0]
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    side = pictures.side
    return np.asarray(
        image.crop((column * side, row * side, (column + 1) * side, (row + 1) * side)), float
    )


def _expected(file: Path) -> np.ndarray[Any, Any]:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX), float)


def _nearest(drawn: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> int:
    """Which of many it is; neighbouring frames are alike, but none is as near as itself."""
    return int(np.abs(expected - drawn).mean(axis=(1, 2, 3)).argmin())


def test_every_picture_is_that_of_its_path(photographs: Path) -> None:
    asked = _listed(photographs)
    pictures = _read(photographs, asked)
    assert len(pictures.places) == len(asked) == 300
    assert pictures.note() == ""
    expected = np.stack([_expected(photographs / path) for path, _ in asked])
    for number, (path, _) in enumerate(asked):
        assert _nearest(_drawn(pictures, path), expected) == number


def test_pictures_out_of_tars(photographs: Path, tmp_path: Path) -> None:
    paths = sorted(p for p in photographs.rglob("*.jpg"))[:40]
    shards = tmp_path / "shards" / "folder.tar"  # a folder of such a name is no tar
    shards.mkdir(parents=True)
    for number in range(2):
        with tarfile.open(shards / f"{number}.tar", "w") as stream:
            for path in paths[number::2]:
                stream.add(path, f"Training/Pear/{path.parent.name}-{path.name}")
    for source in (tmp_path / "shards", shards / "0.tar"):
        asked = _listed(source)
        pictures = _read(source, asked)
        assert len(pictures.places) == len(asked) == (40 if source.is_dir() else 20)
        files = {f"{file.parent.name}-{file.name}": file for file in paths}
        expected = np.stack([_expected(file) for file in files.values()])
        for picture in asked:
            number = list(files).index(picture.path.rpartition("/")[2])
            assert _nearest(_drawn(pictures, picture.path), expected) == number


def test_pictures_out_of_a_bucket(photographs: Path, bucket: Any) -> None:
    for path in sorted(photographs.rglob("*.jpg"))[:12]:
        bucket.upload_file(str(path), f"in/{path.parent.name}/{path.name}")
    asked = _listed("s3://orchard/in")
    assert len(_read("s3://orchard/in", asked).places) == 12


def test_what_is_not_there_is_counted_with_its_reason(photographs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photographs, tmp_path / "in")
    paths = sorted(folder.rglob("*.jpg"))
    asked = _listed(folder)
    by_path = {folder / picture.path: picture for picture in asked}
    paths[0].unlink()
    paths[1].write_bytes(paths[2].read_bytes() + b"x")
    broken = folder / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    wanted = [by_path[path] for path in paths[:10]]
    wanted += [picture for picture in _listed(folder) if picture.path == "broken.jpg"]
    wanted += [Asked("gone.tar/1.jpg", "ab-3:200+30")]
    pictures = _read(folder, wanted)
    assert pictures.missing == {GONE: 2, CHANGED: 1, UNDRAWABLE: 1}
    assert len(pictures.places) == 8
    assert pictures.note().startswith("8 of 12 pictures are shown; 2 gone from INPUT")
    assert pictures.show(wanted[0].path, "gone") == ""


def test_the_upper_part_of_a_cut_photograph_is_shown(photographs: Path, tmp_path: Path) -> None:
    whole = next(photographs.rglob("*.jpg"))
    data = whole.read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) * 2 // 3])
    pictures = _read(tmp_path, _listed(tmp_path))
    top = slice(0, _SIDE // 4)
    assert np.abs(_drawn(pictures, "cut.jpg")[top] - _expected(whole)[top]).mean() < 10


def test_no_input_is_told_and_no_error(tmp_path: Path) -> None:
    pictures = _read(tmp_path / "nowhere", [Asked("a.jpg", "1-2")])
    assert pictures.note().startswith("There are no pictures: INPUT does not exist")
    assert _read("", [Asked("a.jpg", "1-2")]).note().startswith("There are no pictures: no run")


def test_room_and_time_are_kept_to(photographs: Path) -> None:
    asked = _listed(photographs)
    pictures = _read(photographs, asked, budget=60_000)
    assert 50_000 < sum(len(uri) for uri, _ in pictures.sheets) <= 60_000
    # The most wanted come first.
    shown = len(pictures.places)
    assert set(pictures.places) == {path for path, _ in asked[:shown]}
    assert pictures.missing == {FULL: 300 - shown}
    assert _read(photographs, asked, seconds=0).missing == {LATE: 300}


def test_markup_in_a_path_is_text(photographs: Path, tmp_path: Path) -> None:
    path = tmp_path / '<img src=x onerror=alert(1)>".jpg'
    path.write_bytes(next(photographs.rglob("*.jpg")).read_bytes())
    pictures = _read(tmp_path, _listed(tmp_path))
    shown = pictures.show(path.name, f"picture of {path.name}")
    assert "<img" not in shown
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;" in shown


def test_broken_files_of_every_kind_do_no_harm(tmp_path: Path) -> None:
    expected = write_faults(tmp_path / "bad", per_kind=2)
    pictures = _read(tmp_path / "bad", _listed(tmp_path / "bad"), seconds=60)
    assert pictures.asked >= 0.9 * len(expected)
    assert pictures.asked == len(pictures.places) + pictures.missing.total()
    shown = {str(expected[path]) for path in pictures.places if path in expected}
    assert "truncated" in shown
