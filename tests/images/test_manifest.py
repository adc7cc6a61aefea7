from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from pomona.errors import LayoutError
from pomona.images.layout import Layout
from pomona.images.manifest import Manifest
from pomona.schema import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path


def _rows(paths: list[str], sizes: list[int] | None = None) -> pa.RecordBatch:
    rows = [
        {"path": path, "etag": "e", "size": size}
        for path, size in zip(paths, sizes or [5] * len(paths), strict=True)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=MANIFEST)


def test_what_was_written_is_read_as_often_as_one_likes(tmp_path: Path) -> None:
    batches = [_rows(["a", "b\n", "苹果"], [1, -1, 0]), _rows([]), _rows(["c"], [1 << 50])]
    manifest = Manifest.write(iter(batches), tmp_path / "m.arrow")
    assert (manifest.rows, manifest.bytes) == (4, (1 << 50) + 1)
    for _ in range(2):
        assert pa.Table.from_batches(manifest).equals(pa.Table.from_batches(batches))


def test_an_empty_listing(tmp_path: Path) -> None:
    manifest = Manifest.write([], tmp_path / "m.arrow")
    assert (manifest.rows, manifest.bytes, list(manifest)) == (0, 0, [])
    assert manifest.detect_layout().template == "{name}"


def test_it_is_read_batch_by_batch(tmp_path: Path) -> None:
    manifest = Manifest.write((_rows([str(i)] * 10) for i in range(50)), tmp_path / "m.arrow")
    assert [batch.num_rows for batch in manifest] == [10] * 50


def test_the_layout_is_that_of_all_paths_and_not_of_the_first(tmp_path: Path) -> None:
    """One large batch, as a tar gives it, whose first thousands of paths are of one depth."""
    shallow = [f"train/Fruit/Lime/{i}.jpg" for i in range(4_000)]
    deep = [f"val/Fruit/Apple/Gala/{i}.jpg" for i in range(4_000)]
    manifest = Manifest.write([_rows(shallow + deep)], tmp_path / "m.arrow")
    assert manifest.detect_layout().template == "{split}/**/{species}/{label}/{name}"


@pytest.mark.parametrize("template", ["{split}/{label}/{name}", "**/{label}/{name}", "{name}"])
def test_a_layout_that_fits_is_taken(tmp_path: Path, template: str) -> None:
    batches = [_rows(["stray.jpg"]), _rows(["train/Apple/1.jpg"] * 3_000)]
    Manifest.write(batches, tmp_path / "m.arrow").check_layout(Layout(template))
    Manifest.write([], tmp_path / "m.arrow").check_layout(Layout(template))


def test_a_layout_that_fits_nothing_is_refused_and_a_better_one_named(tmp_path: Path) -> None:
    paths = [f"train/Apple/{i}.jpg" for i in range(5_000)]
    manifest = Manifest.write([_rows(paths)], tmp_path / "m.arrow")
    with pytest.raises(LayoutError, match=r"train/Apple/0\.jpg") as caught:
        manifest.check_layout(Layout("{split}/{species}/{label}/{name}"))
    assert "{split}/{label}/{name}" in caught.value.fix
