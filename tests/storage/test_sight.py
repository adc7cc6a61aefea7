from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pomona.errors import StorageError, UsageError
from pomona.storage import Location, StorageOptions
from pomona.storage.sight import sights


def test_what_both_see_is_fine_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "b.jpg").write_bytes(b"fruit")
    (tmp_path / "out").mkdir()
    source = Location.parse(tmp_path / "in")
    with sights(source, Location.parse(tmp_path / "out")) as wanted:
        assert [sight.name for sight in wanted] == ["INPUT", "OUTPUT"]
        for sight in wanted:
            sight.look()
            sight.look()
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("change", ["gone", "other"])
def test_an_input_that_is_another_one_there_is_refused(tmp_path: Path, change: str) -> None:
    file = tmp_path / "in.tar"
    file.write_bytes(b"fruit")
    with sights(Location.parse(file), Location.parse(tmp_path)) as (source, _):
        file.unlink() if change == "gone" else file.write_bytes(b"fruits")
        with pytest.raises(UsageError, match="INPUT is not on every machine"):
            source.look()


def test_an_output_that_is_another_folder_there_is_refused(tmp_path: Path) -> None:
    with sights(None, Location.parse(tmp_path)) as (output,):
        elsewhere = replace(output, file=str(tmp_path / "elsewhere" / Path(output.file).name))
        with pytest.raises(UsageError, match="OUTPUT is not on every machine"):
            elsewhere.look()


def test_a_bucket_is_tried_and_an_unreachable_service_is_told_soon(bucket: Any, moto: str) -> None:
    here = Location.parse("s3://orchard/in")
    with sights(here, Location.parse("s3://orchard/out")) as wanted:
        for sight in wanted:
            sight.look()
    nowhere = StorageOptions(endpoint_url="http://127.0.0.1:9", region="x", path_style=True)
    with (
        sights(None, Location("s3", "orchard/out", replace(nowhere, retry_seconds=1))) as (far,),
        pytest.raises(StorageError, match="does not reach OUTPUT"),
    ):
        far.look()
