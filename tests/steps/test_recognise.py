"""train, evaluate, export and predict as a user calls them; each test goes on from the last."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
from PIL import Image

from pomona.embedding.catalogue import DEFAULT_MODEL, resolve
from pomona.images.decoding import DecodeLimits, decode
from pomona.recognition.saving import load_recogniser
from pomona.samples import write_faults, write_samples
from pomona.storage import open_store
from tests.command import facts, pomona

_COUNT = 600


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("recogniser")
    write_samples(folder / "in", count=_COUNT, processes=1)
    return folder / "in", folder / "out"


def _evaluation(output: Path) -> dict[str, Any]:
    found = json.loads((output / "models" / "classifier" / "evaluation.json").read_text())
    assert isinstance(found, dict)
    return found


def test_run_trains_and_evaluates_on_the_test_split(place: tuple[Path, Path]) -> None:
    images, output = place
    found = facts("run", images, output)
    assert found["classifier"]["classes"] == 29
    told = _evaluation(output)
    tests = len(list((images / "Test").rglob("*.jpg")))
    assert told["images"] == tests == found["evaluation"]["images"]
    assert told["accuracy"]["share"] > 0.9
    assert told["accuracy"]["low"] < told["accuracy"]["share"]
    assert told["by_split"] == {"Test": told["accuracy"]}
    counts = told["duplicates"]
    parts = [counts[name] for name in ("accuracy_of_exact", "accuracy_of_near", "accuracy_without")]
    assert sum(part["images"] for part in parts) == tests
    assert sum(part["right"] for part in parts) == told["accuracy"]["right"]
    assert told["leave_out"]["left_out"] == "labels"
    assert (output / "models" / "fruit.onnx").stat().st_size < 6e6
    page = (output / "report.html").read_text()
    assert f"of {tests} test photographs rightly" in page
    assert "When it says that it is sure" in page


def test_the_evaluation_is_what_the_classifier_says_of_the_table(
    place: tuple[Path, Path],
) -> None:
    """Counted again from the tables, without Spark."""
    _, output = place
    recogniser, manifest = load_recogniser(open_store(output))
    rows = pl.read_delta(str(output / "features")).filter(pl.col("split") == "Test")
    probabilities, _ = recogniser.recognise(np.array(rows["features"].to_list(), np.float32))
    answers = np.array(recogniser.naming.classes)[probabilities.argmax(axis=1)]
    told = _evaluation(output)
    assert (answers == rows["label"].to_numpy()).sum() == told["accuracy"]["right"]
    assert manifest["images"]["train"] + manifest["images"]["validate"] <= _COUNT - rows.height


def test_again_there_is_nothing_to_do(place: tuple[Path, Path]) -> None:
    images, output = place
    found = facts("run", images, output)
    assert found["seconds"]["start"] == found["seconds"]["train"] == 0
    assert found["evaluation"]["images"] > 0
    assert facts("train", output)["seconds"]["start"] == 0
    assert facts("evaluate", output)["seconds"]["start"] == 0
    again = facts("train", output, "--penalty", "0.5")
    assert again["classifier"]["penalty"] == 0.5
    assert facts("evaluate", output)["seconds"]["evaluate"] > 0


def _varied(sources: list[Path], folder: Path, count: int) -> None:
    """Photographs of many shapes, colour modes and formats, each turned by its Exif."""
    rng = np.random.default_rng(4)
    kinds = [(kind, mode) for kind, modes in _KINDS.items() for mode in modes]
    for number in range(count):
        widest = 900 if number % 20 == 0 else 240
        width, height = (int(side) for side in rng.integers(16, widest, 2))
        kind, mode = kinds[number % len(kinds)]
        image = Image.open(sources[number % len(sources)]).resize((width, height))
        if "A" in mode:
            image.putalpha(int(rng.integers(1, 256)))
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        image.convert(mode).save(folder / f"photo{number:04d}.{kind}", exif=exif)


_KINDS = {"jpg": ("RGB", "L", "CMYK"), "png": ("RGB", "RGBA", "P", "LA"), "webp": ("RGB", "RGBA")}


def test_batch_predict_and_exported_file_give_the_same_probabilities(
    place: tuple[Path, Path], tmp_path: Path
) -> None:
    """A thousand varied photographs through all three ways, each in fp32."""
    _, output = place
    folder = tmp_path / "photos"
    folder.mkdir()
    _varied(sorted((place[0] / "Test").rglob("*.jpg")), folder, 1_000)
    (folder / "photo0000.jpg").write_bytes(b"")

    done = pomona("predict", output, folder, "--json")
    assert done.returncode == 0, done.stderr
    predictions = {item["path"]: item for item in json.loads(done.stdout)["predictions"]}
    assert predictions["photo0000.jpg"]["reason"] == "empty"
    assert len(predictions) == 1_000

    facts("embed", folder, tmp_path / "batch", "--precision", "fp32")
    rows = pl.read_delta(str(tmp_path / "batch" / "features"))
    assert rows.height == 999
    recogniser, _ = load_recogniser(open_store(output))
    batch, _ = recogniser.recognise(np.array(rows["features"].to_list(), np.float32))
    assert len(set(batch.argmax(axis=1))) > 10

    assert facts("export", output, tmp_path / "fruit.onnx")["bytes"] < 6_000_000
    session = ort.InferenceSession(tmp_path / "fruit.onnx", providers=["CPUExecutionProvider"])
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    size = resolve(DEFAULT_MODEL).spec.size
    for path, expected in zip(rows["path"], batch, strict=True):
        data = (folder / path).read_bytes()
        pixels = decode(data, wanted=size, limits=DecodeLimits()).pixels
        (exported,) = session.run(["probabilities"], {"image": pixels})
        np.testing.assert_allclose(exported, expected, atol=1e-3)
        best = predictions[path]["top"][0]
        assert best["confidence"] == pytest.approx(expected.max(), abs=1e-3)
        assert expected[labels.index(best["label"])] == pytest.approx(expected.max(), abs=1e-3)


def test_predict_imports_no_spark(place: tuple[Path, Path]) -> None:
    images, output = place
    image = next((images / "Test").rglob("*.jpg"))
    script = (
        "import sys\n"
        "from pomona.cli.app import app\n"
        f"code = app(['predict', {str(output)!r}, {str(image)!r}], standalone_mode=False)\n"
        "heavy = ('pyspark', 'deltalake', 'openvino', 'pandas', 'sklearn', 'obstore', 'boto3')\n"
        "assert not [n for n in sys.modules if n.split('.')[0] in heavy]\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert image.name in done.stdout


def test_the_built_in_recogniser_answers_and_says_why_images_are_rejected(
    tmp_path: Path,
) -> None:
    expected = write_faults(tmp_path / "bad", per_kind=1)
    done = pomona("predict", tmp_path / "bad", "--json")
    found = {item["path"]: item for item in json.loads(done.stdout)["predictions"]}
    wrong = {
        path: (reason, found[path].get("reason"))
        for path, reason in expected.items()
        if path in found and str(reason) != "unreadable" and found[path].get("reason") != reason
    }
    assert not wrong


def test_a_random_split_is_found_out(place: tuple[Path, Path], tmp_path: Path) -> None:
    """Every second frame of the same turntable in the test: what published figures rest on."""
    images, _ = place
    for number, path in enumerate(sorted((images / "Training").rglob("*.jpg"))):
        split = "Test" if number % 4 == 0 else "Training"
        target = tmp_path / "in" / split / path.parent.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    copied = next((tmp_path / "in" / "Training").rglob("*.jpg"))
    double = tmp_path / "in" / "Test" / copied.parent.name / "copy.jpg"
    shutil.copy(copied, double)
    facts("run", tmp_path / "in", tmp_path / "out")
    told = _evaluation(tmp_path / "out")["duplicates"]
    assert "The figure above flatters" in (tmp_path / "out" / "report.html").read_text()
    assert told["exact"] >= 1
    assert told["exact"] + told["near"] > 0.6 * told["compared"]


def test_images_without_labels_are_no_failure_and_are_remembered(
    place: tuple[Path, Path], tmp_path: Path
) -> None:
    images, _ = place
    (tmp_path / "in").mkdir()
    for number, path in enumerate(sorted((images / "Test").rglob("*.jpg"))[:12]):
        shutil.copy(path, tmp_path / "in" / f"{number}.jpg")
    done = pomona("run", tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "no classifier" in done.stderr
    assert facts("run", tmp_path / "in", tmp_path / "out")["seconds"]["start"] == 0
    done = pomona("train", tmp_path / "out")
    assert done.returncode == 1
    assert "at least 2" in done.stderr


def test_what_is_not_there_is_said(place: tuple[Path, Path], tmp_path: Path) -> None:
    images, output = place
    facts("embed", images, tmp_path / "bare")
    done = pomona("evaluate", tmp_path / "bare")
    assert done.returncode == 1
    assert "pomona train" in done.stderr
    done = pomona("predict", tmp_path / "bare", next(images.rglob("*.jpg")))
    assert done.returncode == 1
    assert "pomona train" in done.stderr
    done = pomona("predict", output)
    assert done.returncode == 2
    done = pomona("predict", output, tmp_path / "absent.jpg")
    assert done.returncode == 1
    assert "does not exist" in done.stderr


def test_a_file_with_weights_elsewhere_is_refused(place: tuple[Path, Path], tmp_path: Path) -> None:
    import onnx

    images, output = place
    model = onnx.load(output / "models" / "fruit.onnx")
    (tmp_path / "models").mkdir()
    onnx.save(
        model,
        tmp_path / "models" / "fruit.onnx",
        save_as_external_data=True,
        location="secret.bin",
    )
    done = pomona("predict", tmp_path, next(images.rglob("*.jpg")))
    assert done.returncode == 1
    assert "other files" in done.stderr


def test_a_classifier_of_an_earlier_version_answers_but_is_not_evaluated(
    place: tuple[Path, Path], tmp_path: Path
) -> None:
    images, output = place
    shutil.copytree(output, tmp_path / "old")
    manifest = tmp_path / "old" / "models" / "classifier" / "manifest.json"
    facts_of = json.loads(manifest.read_text())
    del facts_of["penalty"]
    manifest.write_text(json.dumps(facts_of))
    done = pomona("evaluate", tmp_path / "old")
    assert done.returncode == 1
    assert "earlier version" in done.stderr
    assert "pomona train" in done.stderr
    image = next((images / "Test").rglob("*.jpg"))
    (told,) = facts("predict", tmp_path / "old", image)["predictions"]
    assert told["verdict"]
