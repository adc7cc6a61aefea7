from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from sklearn.decomposition import PCA as Reference  # noqa: N811

from pomona.errors import ReductionError, TableError
from pomona.reduction import PCA, PCAModel, load_pca
from pomona.storage import open_store

_RNG = np.random.default_rng(5)
_ROWS = _RNG.normal(size=(300, 10)) @ _RNG.normal(size=(10, 10))
_ROWS[:, 4] = 3.0


def _frame(spark: SparkSession, rows: np.ndarray, kind: str = "array<double>") -> DataFrame:
    values = [(int(i), row.tolist()) for i, row in enumerate(rows)]
    return spark.createDataFrame(values, f"id int, features {kind}").repartition(3)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (_ROWS, "array<double>"),
        (_ROWS, "array<float>"),
        (_ROWS + 1e6, "array<double>"),
        (np.repeat(_ROWS[:30], 5, axis=0), "array<double>"),
        (_ROWS[:6], "array<double>"),
    ],
    ids=["double", "float", "large offset", "duplicated rows", "n < d"],
)
def test_fit_and_transform_equal_scikit_learn(
    spark: SparkSession, rows: np.ndarray, kind: str
) -> None:
    model = PCA(k=4).fit(_frame(spark, rows, kind))
    theirs = Reference(n_components=4, svd_solver="full").fit(rows)
    np.testing.assert_allclose(
        model.principal.explained_variance_, theirs.explained_variance_, rtol=1e-5
    )
    np.testing.assert_allclose(
        model.explainedVariance.toArray(), theirs.explained_variance_ratio_, rtol=1e-5
    )
    signs = np.sign(np.sum(model.pc.toArray().T * theirs.components_, axis=1))
    found = model.transform(_frame(spark, rows, kind)).orderBy("id").collect()
    ours = np.array([row.components for row in found])
    expected = theirs.transform(rows) * signs
    np.testing.assert_allclose(ours, expected, atol=2e-5 * np.abs(expected).max())


def test_variance_takes_the_fewest_components_that_reach_it(spark: SparkSession) -> None:
    model = PCA(variance=0.8).fit(_frame(spark, _ROWS))
    shares = np.cumsum(Reference().fit(_ROWS).explained_variance_ratio_)
    assert len(model.explainedVariance) == int(np.argmax(shares >= 0.8)) + 1
    assert model.getK() is None
    assert model.getVariance() == 0.8


def test_vectors_come_back_as_vectors(spark: SparkSession) -> None:
    vectors = _frame(spark, _ROWS).select(array_to_vector(col("features")).alias("v"))
    reduced = PCA(k=2, inputCol="v", outputCol="w").fit(vectors).transform(vectors)
    assert isinstance(reduced.schema["w"].dataType, VectorUDT)
    assert len(reduced.first().w) == 2  # type: ignore[union-attr]


def test_a_saved_model_projects_the_same_in_a_process_without_spark(
    spark: SparkSession, tmp_path: Path
) -> None:
    frame = _frame(spark, _ROWS)
    model = PCA(k=3, outputCol="reduced").fit(frame)
    model.write().overwrite().save(str(tmp_path / "model"))
    model.write().overwrite().save(str(tmp_path / "model"))
    loaded = PCAModel.load(str(tmp_path / "model"))
    assert loaded.uid == model.uid
    assert loaded.getOutputCol() == "reduced"
    assert loaded.getK() == 3
    assert loaded.transform(frame).collect() == model.transform(frame).collect()
    code = (
        "import sys, numpy as np\n"
        "from pomona.reduction import load_pca\n"
        "from pomona.storage import open_store\n"
        "pca, _ = load_pca(open_store(sys.argv[1]), 'data/')\n"
        "assert 'pyspark' not in sys.modules\n"
        "print(*pca.transform(np.arange(10.0)[None])[0].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model")],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = model.principal.transform(np.arange(10.0)[None])[0]
    np.testing.assert_array_equal(np.array(done.stdout.split(), np.float32), expected)


def test_works_inside_a_pipeline_that_is_saved_and_loaded(
    spark: SparkSession, tmp_path: Path
) -> None:
    frame = spark.createDataFrame(
        [(float(a), float(b), float(a + b)) for a in range(5) for b in range(4)],
        "a: double, b: double, c: double",
    )
    pipeline = Pipeline(
        stages=[VectorAssembler(inputCols=["a", "b", "c"], outputCol="v"), PCA(inputCol="v", k=2)]
    )
    pipeline.save(str(tmp_path / "pipeline"))
    model = Pipeline.load(str(tmp_path / "pipeline")).fit(frame)
    model.save(str(tmp_path / "fitted"))
    loaded = PipelineModel.load(str(tmp_path / "fitted"))
    assert loaded.transform(frame).collect() == pipeline.fit(frame).transform(frame).collect()


@pytest.mark.parametrize(
    ("rows", "params", "error", "told"),
    [
        ([[1.0, 2.0]], {}, ReductionError, "at least 2"),
        ([], {}, ReductionError, "at least 2"),
        ([[1.0, 2.0]] * 5, {}, ReductionError, "same features"),
        ([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], {"k": 2}, ReductionError, "have 1 directions"),
        ([[1.0, 2.0], [2.0, 4.5]], {"k": 0}, ReductionError, "at least one component"),
        ([[1.0, 2.0], [2.0, 4.5]], {"variance": 1.5}, ReductionError, "share"),
        ([[1.0, 2.0], [2.0, 4.5]], {"inputCol": "absent"}, ReductionError, "no column 'absent'"),
        ([[1.0, 2.0], [2.0, 4.5]], {"inputCol": "id"}, ReductionError, "of type int"),
        ([[1.0, 2.0], [2.0]], {}, TableError, "several lengths"),
        ([[1.0, 2.0], None], {}, TableError, "no features"),
        ([[1.0, 2.0], [1.0, None]], {}, TableError, "null"),
        ([[1.0, 2.0], [1.0, float("nan")]], {}, ReductionError, "not finite"),
    ],
)
def test_what_cannot_be_reduced_is_one_clear_error(
    spark: SparkSession,
    rows: list[list[float]],
    params: dict[str, Any],
    error: type[Exception],
    told: str,
) -> None:
    frame = spark.createDataFrame(list(enumerate(rows)), "id int, features array<double>")
    with pytest.raises(error, match=told):
        PCA(**params).fit(frame.coalesce(1))


def test_the_chain_and_the_stage_read_each_others_models(
    spark: SparkSession, tmp_path: Path
) -> None:
    PCA(k=2).fit(_frame(spark, _ROWS)).save(str(tmp_path / "m"))
    principal, manifest = load_pca(open_store(tmp_path / "m"), "data/")
    assert (principal.k, manifest["kind"]) == (2, "pca")
