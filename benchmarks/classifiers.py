"""Our classifier beside scikit-learn's and spark.ml's on the same features and split.

    python benchmarks/classifiers.py FEATURES.npz TASK

FEATURES is what `recogniser.py --cache` keeps of a tar. TASK is `blocks` (labels are folders,
blocks of frames tested), `grocery` (train tested on val, fruit alone) or `species` (every fifth
variety tested). Temperatures are fitted for all of them on blocks of the training rows.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pomona.recognition.calibration import (
    PENALTIES,
    TEMPERATURES,
    Likelihoods,
    expected_error,
)
from pomona.recognition.learning import TRAINS, Block, descend
from pomona.recognition.linear import Spread, softmax
from pomona.recognition.normalising import normalise
from pomona.recognition.regression import Descent, Problem
from pomona.recognition.splitting import Role, Survey, plan_split
from pomona.recognition.statistics import ClassStatistics
from recogniser import Here


def main() -> None:
    with np.load(sys.argv[1], allow_pickle=False) as arrays:
        paths, rows = arrays["p"], arrays["x"]
    task = sys.argv[2]
    if task == "grocery":
        fruit = np.array(["/Fruit/" in path for path in paths])
        paths, rows = paths[fruit], rows[fruit]
    depth = -3 if task == "species" else -2
    names = np.array([path.split("/")[depth] for path in paths])
    classes, labels = np.unique(names, return_inverse=True)
    nothing = [None] * len(paths)
    survey = Survey().see(paths, names, nothing, nothing)
    roles = plan_split(survey).roles(list(paths), list(names), nothing, nothing)
    if task == "blocks":
        test, validate, train = (roles == r for r in (Role.TEST, Role.VALIDATE, Role.TRAIN))
    elif task == "grocery":
        test = np.array(["/val/" in path for path in paths])
        validate = ~test & (roles == Role.VALIDATE)
        train = ~test & ~validate
    else:
        varieties = np.array([path.split("/")[-2] for path in paths])
        known = np.unique(varieties)
        test = np.isin(varieties, known[::5])
        validate = np.isin(varieties, known[2::5])
        train = ~test & ~validate
    scaled = StandardScaler().fit(rows[train])
    standard = scaled.transform(rows).astype(np.float32)
    parts = (labels, train, validate, test)
    rooted = normalise(rows)
    tell("pomona", ours(rooted, *parts), *parts)
    tell("pomona, features as they are", ours(rows, *parts), *parts)
    candidates: dict[str, Any] = {
        "scikit-learn LDA, shrinkage 0.1": LinearDiscriminantAnalysis("lsqr", shrinkage=0.1),
        "scikit-learn LDA, shrinkage 0.9": LinearDiscriminantAnalysis("lsqr", shrinkage=0.9),
        "scikit-learn logistic, C 0.03": LogisticRegression(C=0.03, max_iter=300),
        "scikit-learn logistic, C 0.3": LogisticRegression(C=0.3, max_iter=300),
    }
    for name, model in candidates.items():
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(standard[train], labels[train])
        logits = np.full((len(rows), len(classes)), -1e4, np.float32)
        logits[:, model.classes_] = np.log(np.maximum(model.predict_proba(standard), 1e-30))
        tell(name, (logits, time.perf_counter() - begin), *parts)
    tell("spark.ml logistic, regParam 0.003", of_spark(standard, *parts), *parts)


def ours(rows: Any, labels: Any, train: Any, validate: Any, test: Any) -> tuple[Any, float]:
    """The best penalty on the rows that validate, as `pomona train` chooses it."""
    begin = time.perf_counter()
    count = int(labels.max()) + 1
    trained = np.flatnonzero(np.bincount(labels[train], minlength=count))
    numbers = np.searchsorted(trained, labels[train])
    statistics = ClassStatistics.of(rows[train], numbers, len(trained))
    spread = Spread(statistics)
    folds = np.full(len(numbers), TRAINS, np.int8)
    blocks = Here(Block(rows[train], numbers, folds))
    problems = [Problem.balanced(penalty, statistics.counts) for penalty in PENALTIES]
    tried = descend(
        blocks, np.arange(len(trained)), [Descent(spread, one) for one in problems], len(numbers)
    )
    logits = [np.full((len(rows), count), -1e4, np.float32) for _ in tried]
    for values, one in zip(logits, tried, strict=True):
        values[:, trained] = one.logits(rows)
    chosen, _ = Likelihoods.of([values[validate] for values in logits], labels[validate]).best()
    return logits[chosen], time.perf_counter() - begin


def of_spark(rows: Any, labels: Any, train: Any, validate: Any, test: Any) -> tuple[Any, float]:
    from pyspark.ml.classification import LogisticRegression as Theirs
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql.functions import col

    from pomona import start_session

    spark = start_session("local[2]", conf={"spark.driver.memory": "3g"})
    values = [
        (row.tolist(), float(label)) for row, label in zip(rows[train], labels[train], strict=True)
    ]
    frame = spark.createDataFrame(values, "features array<float>, label double")
    frame = frame.select(array_to_vector(col("features")).alias("features"), "label").cache()
    frame.count()
    begin = time.perf_counter()
    model = Theirs(regParam=0.003, maxIter=100).fit(frame)
    seconds = time.perf_counter() - begin
    weights = model.coefficientMatrix.toArray()
    return (rows @ weights.T + model.interceptVector.toArray()).astype(np.float32), seconds


def tell(name: str, found: Any, labels: Any, train: Any, validate: Any, test: Any) -> None:
    logits, seconds = found
    _, temperature = Likelihoods.of([logits[validate]], labels[validate]).best()
    probabilities = softmax(logits[test], temperature)
    right = probabilities.argmax(axis=1) == labels[test]
    true = probabilities[np.arange(int(test.sum())), labels[test]]
    facts = {
        "classifier": name,
        "accuracy": round(float(right.mean()), 4),
        "log loss": round(float(-np.log(np.maximum(true, 1e-12)).mean()), 3),
        "ece": round(expected_error(probabilities.max(axis=1), right), 3),
        "temperature": round(temperature, 2),
        "seconds": round(seconds, 1),
        "temperatures tried": len(TEMPERATURES),
    }
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
