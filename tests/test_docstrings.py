"""Examples in the docstrings of what users import, run as they stand."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

import pomona
from pomona.images.source import ImageSource

_CLASSES = ("PCA", "PCAModel", "FruitClassifier", "FruitClassifierModel", "ImageEmbedder")
_OFFERED: dict[str, Any] = {
    **{name: getattr(pomona, name) for name in (*_CLASSES, "register", "start_session")},
    "ImageSource": ImageSource,
}


@pytest.fixture(scope="module")
def saved(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Fitted models on disk."""
    folder = tmp_path_factory.mktemp("saved")
    rows = [([1.0, 2.0, 0.5],), ([2.0, 4.1, 0.1],), ([3.0, 5.9, 0.9],), ([4.0, 8.2, 0.2],)]
    pomona.PCA(k=2).fit(spark.createDataFrame(rows, ["features"])).save(str(folder / "pca"))
    noise = np.random.default_rng(0).normal(size=(3, 40, 5))
    fruits = [
        (label, bool(i % 2), (noise[kind, i] + 9 * np.eye(3, 5)[kind]).tolist())
        for kind, label in enumerate(("Apple", "Kiwi", "Lime"))
        for i in range(40)
    ]
    frame = spark.createDataFrame(fruits, "label string, check boolean, features array<double>")
    classifier = pomona.FruitClassifier(validationIndicatorCol="check")
    classifier.fit(frame).save(str(folder / "classifier"))
    return {name: str(folder / name) for name in ("pca", "classifier")}


def test_everything_offered_is_documented_by_an_example() -> None:
    assert _OFFERED.keys() >= set(pomona.__all__) - {"PomonaError", "__version__"}
    for name in pomona.__all__:
        assert getattr(pomona, name), name
    assert set(pomona.__all__) <= set(dir(pomona))


@pytest.mark.parametrize("name", _OFFERED)
def test_the_example_runs(
    spark: SparkSession, photographs: Path, saved: dict[str, str], name: str
) -> None:
    found = doctest.DocTestParser().get_doctest(
        str(_OFFERED[name].__doc__),
        {"spark": spark, "images": str(photographs), "saved": saved, "np": np},
        name,
        None,
        None,
    )
    assert found.examples
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
        found, out=told.append
    )
    assert result.failed == 0, "".join(told)
