"""The students' notebook: Spark, Keras, a pandas UDF, and spark.ml's scaler and PCA.

The recipe that goes round in courses and in vendors' guides on featurisation for transfer
learning: all files as ``binaryFile``, the label from the path, MobileNetV2 without its last layer,
its weights broadcast, a scalar iterator pandas UDF that feeds Keras, features back as arrays into
Parquet. No weights are downloaded: they are random, at the same cost. Spark has what the recipe
gives it, and enough memory. With ``--reduce`` it reads features instead and reduces them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator  # noqa: TC003 - Spark looks the type hints up
from pathlib import Path
from typing import Any

os.environ |= {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "PYSPARK_PYTHON": sys.executable,
}

import numpy as np
import pandas as pd
from PIL import Image
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, element_at, pandas_udf, split

SIZE = 224


def session() -> SparkSession:
    cores = len(os.sched_getaffinity(0))
    return (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.sql.parquet.writeLegacyFormat", "true")
        .config("spark.driver.memory", "6g")
        .config("spark.driver.maxResultSize", "2g")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )


def network() -> Any:
    from keras.applications.mobilenet_v2 import MobileNetV2
    from keras.models import Model

    whole = MobileNetV2(weights=None, include_top=True, input_shape=(SIZE, SIZE, 3))
    return Model(inputs=whole.input, outputs=whole.layers[-2].output)


def embed(images: str, out: str) -> dict[str, float]:
    spark = session()
    files = (
        spark.read.format("binaryFile")
        .option("pathGlobFilter", "*.jpg")
        .option("recursiveFileLookup", "true")
        .load(images)
    )
    files = files.withColumn("label", element_at(split(files["path"], "/"), -2))
    weights = spark.sparkContext.broadcast(network().get_weights())
    marks = tempfile.mkdtemp()

    def preprocess(content: bytes) -> Any:
        from keras.applications.mobilenet_v2 import preprocess_input

        image = Image.open(io.BytesIO(content)).convert("RGB").resize((SIZE, SIZE))
        return preprocess_input(np.array(image, dtype=np.float32))

    @pandas_udf("array<float>")
    def featurise(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        Path(marks, f"{time.time():.6f}").touch()
        model = network()
        model.set_weights(weights.value)
        for contents in batches:
            pixels = np.stack(contents.map(preprocess))
            found = model.predict(pixels, verbose=0)
            yield pd.Series([row.flatten() for row in found])

    begin = time.time()
    features = files.repartition(2 * spark.sparkContext.defaultParallelism).select(
        col("path"), col("label"), featurise("content").alias("features")
    )
    features.write.mode("overwrite").parquet(out)
    end = time.time()
    first = min(float(file.name) for file in Path(marks).iterdir())
    return {
        "images": spark.read.parquet(out).count(),
        "execution": end - begin,
        "work": end - first,
    }


def reduce(features: str, out: str, k: int) -> dict[str, float]:
    from pyspark.ml.feature import PCA, StandardScaler
    from pyspark.ml.functions import array_to_vector

    spark = session()
    spark.range(10).count()
    begin = time.time()
    rows = spark.read.parquet(features)
    rows = rows.select("path", array_to_vector(col("features").cast("array<double>")).alias("v"))
    scaler = StandardScaler(inputCol="v", outputCol="scaled", withMean=True, withStd=True)
    scaled = scaler.fit(rows).transform(rows)
    fitted = time.time()
    pca = PCA(k=k, inputCol="scaled", outputCol="components").fit(scaled)
    pca.transform(scaled).select("path", "components").write.mode("overwrite").parquet(out)
    end = time.time()
    return {"rows": spark.read.parquet(out).count(), "scaler": fitted - begin, "pca": end - fitted}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--reduce", type=int, help="components to keep of the features in SOURCE")
    asked = parser.parse_args()
    found = (
        embed(asked.source, asked.out)
        if asked.reduce is None
        else reduce(asked.source, asked.out, asked.reduce)
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
