from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pomona.errors import RecognitionError
from pomona.recognition import FruitClassifier, FruitClassifierModel, learning
from pomona.recognition.linear import softmax
from pomona.recognition.normalising import normalise
from pomona.recognition.saving import load_recogniser
from pomona.storage import open_store

_RNG = np.random.default_rng(3)
_CENTRES = _RNG.random((3, 12)) * 3
_NAMES = ("Apple Red 1", "Apple Golden", "Kiwi")


def _frame(spark: SparkSession, kind: str = "array<float>") -> DataFrame:
    rows = []
    for label, centre in zip(_NAMES, _CENTRES, strict=True):
        for frame in range(60):
            features = np.abs(centre + _RNG.normal(scale=0.5, size=12))
            features[5] = 2.0
            rows.append((f"{label}/{frame}_100.jpg", label, features.tolist()))
    return spark.createDataFrame(rows, f"path string, label string, features {kind}").repartition(3)


def test_fit_in_a_pipeline_save_and_load_in_a_fresh_process(
    spark: SparkSession, tmp_path: Path
) -> None:
    frame = _frame(spark).cache()
    fitted = Pipeline(stages=[FruitClassifier(risk=0.05)]).fit(frame)
    found = fitted.transform(frame).orderBy("path").collect()
    assert np.mean([row.prediction == row.label for row in found]) > 0.9
    np.testing.assert_allclose([sum(row.probability) for row in found], 1, atol=1e-5)
    assert {row.verdict for row in found} <= {"sure", "fruit", "unsure", "strange"}
    fitted.save(str(tmp_path / "model"))
    again = PipelineModel.load(str(tmp_path / "model")).transform(frame).orderBy("path").collect()
    assert [tuple(row) for row in again] == [tuple(row) for row in found]

    model = fitted.stages[0]
    assert isinstance(model, FruitClassifierModel)
    model.save(str(tmp_path / "alone"))
    script = (
        "import sys, numpy as np\n"
        "from pomona.recognition.saving import load_recogniser\n"
        "from pomona.storage import open_store\n"
        f"recogniser, _ = load_recogniser(open_store({str(tmp_path / 'alone')!r}), 'data/')\n"
        "rows = np.arange(24, dtype=np.float32).reshape(2, 12)\n"
        "print(repr(recogniser.recognise(rows)[0].tolist()))\n"
        "assert not any(name.startswith(('pyspark', 'pandas')) for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = np.arange(24, dtype=np.float32).reshape(2, 12)
    assert done.stdout.strip() == repr(model.recogniser.recognise(rows)[0].tolist())


@pytest.mark.parametrize("few", [0, 1 << 20])
def test_answers_are_those_of_scikit_learn(
    spark: SparkSession, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass of many tasks a step, and all steps in one task."""
    monkeypatch.setattr(learning, "_FEW", few)
    frame = _frame(spark).withColumn("val", col("path").rlike("/5[0-9]_")).cache()
    model = FruitClassifier(regParam=0.03, validationIndicatorCol="val").fit(frame)
    local = frame.collect()
    rows = normalise(np.array([row.features for row in local]))
    labels = np.array([row.label for row in local])
    scaled = StandardScaler().fit(rows)
    standard = (rows - scaled.mean_) / np.where(scaled.var_ < 1e-12, 1, scaled.scale_)
    theirs = LogisticRegression(C=1 / (0.03 * len(rows)), class_weight="balanced")
    theirs.fit(standard, labels)
    ours = softmax(model.recogniser.classifier.logits(rows))
    assert model.classes == tuple(theirs.classes_)
    np.testing.assert_allclose(ours, theirs.predict_proba(standard), atol=0.03)


def test_vectors_and_numeric_labels_work_with_sparks_evaluator(spark: SparkSession) -> None:
    frame = (
        _frame(spark)
        .withColumn("features", array_to_vector(col("features")))
        .withColumn("label", (col("label") == "Kiwi").cast("double"))
    )
    model = FruitClassifier().fit(frame)
    found = model.transform(frame)
    assert isinstance(found.schema["probability"].dataType, VectorUDT)
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(found)
    assert accuracy > 0.95
    assert model.numClasses == 2


def test_rows_of_a_test_split_do_not_train(spark: SparkSession) -> None:
    train = _frame(spark).selectExpr("*", "'Training' as split")
    wrong = _frame(spark).selectExpr("path", "'Kiwi' as label", "features", "'Test' as split")
    model = FruitClassifier().fit(train.unionByName(wrong))
    found = model.transform(train).collect()
    assert np.mean([row.prediction == row.label for row in found]) > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("label"), "There is no column 'label'"),
        (lambda f: f.drop("path"), "There is no column 'path'"),
        (lambda f: f.drop("features"), "There is no column 'features'"),
        (lambda f: f.withColumn("features", col("label")), "is of type string"),
        (lambda f: f.where("label = 'Kiwi'"), "at least 2 labels"),
        (lambda f: f.where("path rlike '/[0-5]_'"), "left to validate on"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    spark: SparkSession, change: object, message: str
) -> None:
    with pytest.raises(RecognitionError, match=message):
        FruitClassifier().fit(change(_frame(spark)))  # type: ignore[operator]


def test_a_damaged_model_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    FruitClassifier().fit(_frame(spark)).save(str(tmp_path / "m"))
    arrays = tmp_path / "m" / "data" / "classifier.npz"
    arrays.write_bytes(arrays.read_bytes()[:-20] + bytes(20))
    with pytest.raises(RecognitionError, match="checksum"):
        load_recogniser(open_store(tmp_path / "m"), "data/")
