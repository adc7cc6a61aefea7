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
def saved(
    spark: SparkSession, photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Fitted models on disk."""
    folder = tmp_path_factory.mktemp("saved")
    rows = [([1.0, 2.0, 0.5],), ([2.0, 4.1, 0.1],), ([3.0, 5.9, 0.9],), ([4.0, 8.2, 0.2],)]
    pomona.PCA(k=2).fit(spark.createDataFrame(rows, ["features"])).save(str(folder / "pca"))
    photos = spark.read.format("pomona.images").load(str(photographs))
    features = pomona.ImageEmbedder(handleInvalid="skip").transform(photos).cache()
    pomona.FruitClassifier().fit(features).save(str(folder / "classifier"))
    features.unpersist()
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
