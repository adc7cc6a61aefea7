from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pomona
from pomona.errors import StorageError, UsageError
from pomona.samples import write_samples
from pomona.samples.dataset import Turntable, photograph, plan_samples
from pomona.samples.kinds import KINDS

COUNT = 4 * len(KINDS)


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def pixels(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image).astype(np.int16)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("samples") / "new" / "fruit"
    progress: list[int] = []
    summary = write_samples(directory, count=COUNT, processes=1, on_progress=progress.append)
    assert (summary.images, summary.classes) == (COUNT, len(KINDS))
    assert (summary.training, summary.test) == (3 * len(KINDS), len(KINDS))
    assert summary.seconds > 0
    assert progress == sorted(progress)
    assert progress[-1] == COUNT
    return contents(directory)


def test_there_are_many_kinds_and_four_of_them_have_varieties() -> None:
    names = [kind.name for kind in KINDS]
    fruits = Counter(name.split()[0] for name in names)
    assert len(set(names)) == len(names)
    assert names == sorted(names)
    assert len(fruits) >= 14
    assert sum(varieties >= 2 for varieties in fruits.values()) >= 4


def test_every_class_is_in_both_splits(samples: dict[str, bytes]) -> None:
    folders = Counter("/".join(path.split("/")[:2]) for path in samples)
    assert folders == {
        f"{split}/{kind.name}": images
        for kind in KINDS
        for split, images in (("Training", 3), ("Test", 1))
    }


def test_images_are_small_jpegs_filled_by_a_fruit_on_white(samples: dict[str, bytes]) -> None:
    for path, content in samples.items():
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (100, 100), "RGB"), path
        picture = pixels(content)
        corners = np.concatenate([picture[y, x] for y in (0, -1) for x in (0, -1)])
        assert corners.min() >= 240, path
        rows, columns = np.nonzero(picture.min(axis=2) < 235)
        assert max(np.ptp(rows), np.ptp(columns)) >= 75, path
        assert np.abs(picture[rows, columns] - picture[rows, columns].mean(0)).mean() > 5, path


def test_no_two_images_are_the_same(samples: dict[str, bytes]) -> None:
    assert len(set(samples.values())) == len(samples)


def test_no_fruit_is_in_both_splits() -> None:
    seen: dict[tuple[int, int], str] = {}
    for turntable in plan_samples(3000):
        key = turntable.kind, turntable.number
        assert key not in seen
        seen[key] = turntable.split
    assert set(seen.values()) == {"Training", "Test"}


@pytest.mark.parametrize("count", [1, 2, 28, 29, 30, 100, 1200, 10_001])
def test_the_plan_has_exactly_the_images_asked_for_evenly_spread(count: int) -> None:
    images: Counter[int] = Counter()
    test = 0
    for turntable in plan_samples(count):
        frames = turntable.upright + turntable.lying
        assert frames > 0
        images[turntable.kind] += frames
        test += frames * (turntable.split == "Test")
    assert images.total() == count
    assert len(images) == min(count, len(KINDS))
    assert max(images.values()) - min(images.values()) <= 1
    if count >= 1000:
        assert 0.23 < test / count < 0.27


def test_a_class_has_several_fruits_by_default() -> None:
    fruits = Counter((t.kind, t.split) for t in plan_samples(1200))
    assert all(fruits[kind, "Training"] >= 3 for kind in range(len(KINDS)))


def test_a_turn_changes_the_picture_and_keeps_the_fruit(tmp_path: Path) -> None:
    watermelon = next(i for i, kind in enumerate(KINDS) if kind.name == "Watermelon")
    assert photograph(tmp_path, Turntable("Training", watermelon, 0, 4, 2), seed=0) == 6
    assert photograph(tmp_path, Turntable("Test", watermelon, 1, 1, 0), seed=0) == 1
    names = sorted(path.name for path in (tmp_path / "Training" / "Watermelon").iterdir())
    upright = [f"000_{frame:04d}_100.jpg" for frame in range(4)]
    assert names == [*upright, "000_r_0000_100.jpg", "000_r_0001_100.jpg"]
    frames = [
        pixels((tmp_path / "Training" / "Watermelon" / name).read_bytes()) for name in upright
    ]
    for one, other in itertools.pairwise(frames):
        changed = np.abs(one - other).max(axis=2) > 30
        assert changed.mean() > 0.05
        shape, other_shape = one.min(axis=2) < 235, other.min(axis=2) < 235
        assert (shape & other_shape).sum() > 0.93 * (shape | other_shape).sum()
        assert np.abs(one[shape].mean(0) - other[other_shape].mean(0)).max() < 15


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_processes(tmp_path: Path) -> None:
    runs = []
    for name, processes in (("one", 1), ("again", 1), ("two", 2)):
        write_samples(tmp_path / name, count=12, seed=7, processes=processes)
        runs.append(contents(tmp_path / name))
    assert runs[0] == runs[1] == runs[2]
    write_samples(tmp_path / "other", count=12, seed=8, processes=1)
    other = contents(tmp_path / "other")
    assert set(other) == set(runs[0])
    assert not set(other.values()) & set(runs[0].values())


def test_one_image_can_be_had(tmp_path: Path) -> None:
    summary = write_samples(tmp_path, count=1)
    assert (summary.images, summary.classes, summary.training, summary.test) == (1, 1, 1, 0)
    assert len(contents(tmp_path)) == 1


@pytest.mark.parametrize("options", [{"count": 0}, {"seed": -1}, {"processes": 0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="less than") as caught:
        write_samples(tmp_path / "new", **options)  # type: ignore[arg-type]
    assert caught.value.fix
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["note.txt", ".hidden", "Training/Plum/000_0000_100.jpg"])
def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(UsageError, match="is not empty") as caught:
        write_samples(tmp_path, count=1)
    assert caught.value.fix
    assert contents(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="cannot be a folder"):
        write_samples(tmp_path / name, count=1)


def test_a_parent_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    # Root may write there all the same; a name longer than any file system takes stops it too.
    name = "new" if os.geteuid() else "n" * 300
    try:
        with pytest.raises(StorageError, match="cannot be created") as caught:
            write_samples(tmp_path / name, count=1)
    finally:
        tmp_path.chmod(0o700)
    assert caught.value.fix


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupt_leaves_only_whole_images(tmp_path: Path, processes: int) -> None:
    script = tmp_path / "run.py"
    directory = tmp_path / "fruit"
    script.write_text(
        "from pathlib import Path\n"
        "from pomona.samples import write_samples\n"
        "if __name__ == '__main__':\n"
        f"    write_samples(Path({str(directory)!r}), count=5000, processes={processes})\n"
    )
    source = str(Path(pomona.__file__).parents[1])
    run = subprocess.Popen(
        [sys.executable, str(script)],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
        start_new_session=True,
    )
    until = time.monotonic() + 30
    while not list(directory.rglob("*_100.jpg")) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert run.returncode != 0
    assert b"KeyboardInterrupt" in errors
    written = contents(directory)
    assert 0 < len(written) < 5000
    for path, content in written.items():
        assert path.endswith("_100.jpg")
        assert pixels(content).shape == (100, 100, 3)
