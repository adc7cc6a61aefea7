from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from pomona.errors import LayoutError
from pomona.images.layout import NOWHERE, Layout, LayoutDetector, Place, without_shards

GROCERY = Path(__file__).parents[3] / "shared" / "data" / "grocery.tar"
SPECIES = "{split}/{species}/{label}/{name}"
DEEP = "{split}/**/{species}/{label}/{name}"


@pytest.mark.parametrize(
    ("template", "path", "place"),
    [
        ("{name}", "1.jpg", (None, None, None)),
        ("{name}", "a/b/1.jpg", (None, None, None)),
        ("{label}/{name}", "Apple/1.jpg", ("Apple", None, None)),
        ("{label}/{name}", "any/prefix/Apple/1.jpg", ("Apple", None, None)),
        ("{label}/{name}", "1.jpg", (None, None, None)),
        ("{split}/{label}/{name}", "Training/Apple Red 1/0_100.jpg", ("Apple Red 1", "Training")),
        ("{split}/{label}/{name}", "fold 3/Apple/1.jpg", ("Apple", "fold 3")),
        ("{split}/{label}/{name}", "Apple/1.jpg", (None, None, None)),
        (SPECIES, "Test/Pear/Abate/1.jpg", ("Abate", "Test", "Pear")),
        ("{species}/{group}/{label}/{name}", "Pear/tree 4/Abate/1.jpg", ("Abate", None, "tree 4")),
        ("{group}/{label}/{name}", "orchard/Apple/1.jpg", ("Apple", None, "orchard")),
        ("{label}/*/{name}", "Apple/2024/1.jpg", ("Apple", None, None)),
        ("{label}_{name}", "Apple_1_2.jpg", ("Apple", None, None)),
        ("{split}-{label}/{name}", "train-Red-Apple/1.jpg", ("Red-Apple", "train")),
        ("data/{label}/{name}", "x/data/Apple/1.jpg", ("Apple", None, None)),
        ("data/{label}/{name}", "x/other/Apple/1.jpg", (None, None, None)),
        ("a.c/{label}/{name}", "abc/Apple/1.jpg", (None, None, None)),
        ("{label}/{name}", "Äpfel \n\t'\"/1\n.jpg", ("Äpfel \n\t'\"", None, None)),
        ("{label}/{name}", "苹果/1.jpg", ("苹果", None, None)),
        ("{label}/{name}", "//1.jpg", (None, None, None)),
        # any number of folders
        ("{split}/**/{label}/{name}", "g/train/Apple/1.jpg", ("Apple", "train")),
        ("{split}/**/{label}/{name}", "g/VAL/Fruit/a/b/c/Apple/1.jpg", ("Apple", "VAL")),
        ("{split}/**/{label}/{name}", "train/test/Apple/1.jpg", ("Apple", "train")),
        ("{split}/**/{label}/{name}", "nowhere/Fruit/Apple/1.jpg", (None, None, None)),
        ("{split}/**/{label}/{name}", "retrain/Apple/1.jpg", (None, None, None)),
        ("{split}/**/{label}/{name}", "train/1.jpg", (None, None, None)),
        (DEEP, "train/Fruit/Lime/1.jpg", ("Lime", "train", "Fruit")),
        (DEEP, "train/Fruit/Pear/Abate/1.jpg", ("Abate", "train", "Pear")),
        ("data/{split}/**/{label}/{name}", "test/data/val/x/Apple/1.jpg", ("Apple", "val")),
        ("{label}/**/{name}", "Apple/2024/May/1.jpg", ("Apple", None, None)),
        ("{label}/**/{name}", "Apple/1.jpg", ("Apple", None, None)),
        ("**/{label}/{name}", "a/b/c/Apple/1.jpg", ("Apple", None, None)),
        ("{group}/**/x/{label}/{name}", "tree/1/2/x/Apple/1.jpg", ("Apple", None, "tree")),
        # a tar's name is no folder
        ("{label}/{name}", "Apple/shard-000.tar/1.jpg", ("Apple", None, None)),
        ("{label}/{name}", "shard-000.TAR/1.jpg", (None, None, None)),
        ("{split}/{label}/{name}", "Training/all.tar/Apple/1.jpg", ("Apple", "Training")),
        ("{split}/{label}.tar/{name}", "Training/Apple.tar/1.jpg", ("Apple", "Training")),
    ],
)  # fmt: skip
def test_place(template: str, path: str, place: tuple[str | None, ...]) -> None:
    assert Layout(template).place(path) == Place(*place, *[None] * (3 - len(place)))


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("", "not a relative path"),
        ("/{label}/{name}", "not a relative path"),
        ("{label}/{name}/", "not a relative path"),
        ("{label}", "does not end in {name}"),
        ("{name}/{label}", "does not end in {name}"),
        ("{label}/**", "does not end in {name}"),
        ("{klass}/{name}", "unknown part {klass}"),
        ("{}/{name}", "unknown part {}"),
        ("{label}/{label}/{name}", "names the same part twice"),
        ("**/{split}/**/{name}", "more than one"),
    ],
)
def test_malformed_templates_are_refused_at_once(template: str, complaint: str) -> None:
    with pytest.raises(LayoutError) as caught:
        Layout(template)
    assert complaint in caught.value.what
    assert "{name}" in caught.value.fix


def test_a_very_deep_path_does_not_take_long() -> None:
    deep = "a/" * 2_000 + "1.jpg"
    assert Layout(DEEP).place(deep) == NOWHERE
    assert Layout("**/{label}/{name}").place(deep).label == "a"


def detected(*paths: str) -> str:
    detector = LayoutDetector()
    detector.see(paths)
    return detector.layout().template


@pytest.mark.parametrize(
    ("paths", "template"),
    [
        ([], "{name}"),
        (["1.jpg", "2.jpg"], "{name}"),
        (["photos/1.jpg", "photos/2.jpg"], "{name}"),
        (["Apple/1.jpg", "Pear/2.jpg"], "{label}/{name}"),
        (["set/Apple/1.jpg", "set/Pear/2.jpg"], "{label}/{name}"),
        (["Apple/1.jpg", "Pear/2.jpg", "stray.jpg"], "{label}/{name}"),
        (["1.jpg", "2.jpg", "3.jpg", "Apple/1.jpg", "Pear/1.jpg"], "{name}"),
        (["Training/Apple/1.jpg", "Test/Apple/2.jpg"], "{split}/{label}/{name}"),
        (["fruits-360/Training/Apple/1.jpg", "x/Test/Apple/2.jpg"], "{split}/{label}/{name}"),
        (["train/1.jpg", "val/2.jpg"], "{split}/{name}"),
        (["Training/Pear/Abate/1.jpg", "Test/Pear/Abate/1.jpg"], SPECIES),
        (["train/Pear/1.jpg", "train/Fruit/Apple/2.jpg"], "{split}/**/{label}/{name}"),
        (["train/F/Lime/1.jpg", "val/F/Apple/Royal/2.jpg"], DEEP),
        (["train/a/b/Apple/1.jpg", "val/a/b/Pear/1.jpg"], DEEP),
        (["00.tar/1.jpg", "01.tar/2.jpg"], "{name}"),
        (["00.tar/train/Apple/1.jpg", "01.tar/val/Pear/2.jpg"], "{split}/{label}/{name}"),
        (["Apple/00.tar/1.jpg", "Pear/00.tar/2.jpg"], "{label}/{name}"),
        # as Fruits-360 itself has it: a folder of other pictures beside the splits
        (
            ["Training/Apple/1.jpg"] * 8 + ["Test/Apple/2.jpg"] * 3 + ["papers/1.jpg"],
            "{split}/{label}/{name}",
        ),
        (["train/Apple/1.jpg"] * 99 + ["train/stray/too/deep/1.jpg"], "{split}/{label}/{name}"),
        (["Apple/1.jpg", "Pear/1.jpg", "test/1.jpg"], "{label}/{name}"),
    ],
)  # fmt: skip
def test_detection(paths: list[str], template: str) -> None:
    assert detected(*paths) == template
    assert detected(*reversed(paths)) == template


def test_a_path_without_tars_is_left_alone() -> None:
    for path in ("a/b.jpg", "a.tar", "star/b.jpg", "a.tar.d/b.jpg"):
        assert without_shards(path) == path


@pytest.mark.skipif(not GROCERY.exists(), reason="the Grocery data are not here")
def test_grocery_keeps_its_splits_though_its_depth_is_mixed() -> None:
    with tarfile.open(GROCERY) as archive:
        paths = [member.name for member in archive if member.isfile()]
    detector = LayoutDetector()
    detector.see(paths)
    layout = detector.layout()
    assert layout.template == DEEP
    places = [layout.place(path) for path in paths]
    assert {place.split for place in places} == {"train", "val"}
    for path, (label, split, group) in zip(paths, places, strict=True):
        folders = path.split("/")[:-1]
        assert (split, group, label) == (folders[1], *folders[-2:])
