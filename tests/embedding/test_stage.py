from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import StringIndexer
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, concat, lit

from pomona import PCA, ImageEmbedder
from pomona.embedding.catalogue import DEFAULT_MODEL, resolve
from pomona.embedding.runtime import shared_runtime
from pomona.errors import ModelError, PomonaError
from tests.command import facts

_LABELS = ("Lime", "Banana", "Kiwi")


def _read(spark: SparkSession, folder: Path) -> DataFrame:
    return spark.read.format("pomona.images").option("partitionImages", 64).load(str(folder))


@pytest.fixture(scope="module")
def files(spark: SparkSession, photographs: Path) -> Iterator[DataFrame]:
    """The photographs of three fruits, 25 of them, one bad; kept, since every read is planned."""
    rows = _read(spark, photographs).where(col("label").isin(*_LABELS)).cache()
    yield rows
    rows.unpersist()


def test_features_are_those_of_the_batch_chain(
    spark: SparkSession, photographs: Path, tmp_path: Path
) -> None:
    asked = ("--precision", "fp32", "--engine", "openvino", "--master", "local[1]")
    facts("embed", photographs, tmp_path / "out", *asked)
    chain = pl.read_delta(str(tmp_path / "out" / "features")).sort("path")
    embedder = ImageEmbedder(outputType="array", precision="fp32", engine="openvino")
    rows = embedder.transform(_read(spark, photographs)).orderBy("path").collect()
    sound = [row for row in rows if row.reject is None]
    assert len(sound) == len(rows) - 1 == 232
    facts_of = ("path", "etag", "label", "split", "group", "width", "height")
    assert [tuple(row[name] for name in facts_of) for row in sound] == chain.select(facts_of).rows()
    ours = np.array([row.features for row in sound], np.float32)
    np.testing.assert_array_equal(ours, np.array(chain["features"].to_list(), np.float32))
    assert set(chain["model"]) == {embedder.identity}
    (bad,) = (row.reject for row in rows if row.reject is not None)
    (theirs,) = pl.read_delta(str(tmp_path / "out" / "rejects")).to_dicts()
    assert bad.asDict() == {name: theirs[name] for name in ("stage", "reason", "message")}


def test_addresses_give_what_files_give(
    spark: SparkSession, photographs: Path, files: DataFrame
) -> None:
    embedder = ImageEmbedder(inputCol="content")
    by_file = {row.path: row for row in embedder.transform(files).collect()}
    addresses = files.select("path", concat(lit(f"file:{photographs}/"), "path").alias("at"))
    odd = spark.createDataFrame(
        [("none", None), ("gone", f"{photographs}/gone.jpg"), ("odd", "ftp://x/y.jpg")],
        "path string, at string",
    )
    found = ImageEmbedder(inputCol="at").transform(addresses.union(odd))
    by_address = {row.path: row for row in found.collect()}
    assert by_address.keys() == by_file.keys() | {"none", "gone", "odd"}
    for path, row in by_file.items():
        assert by_address[path].features == row.features
        assert by_address[path].reject == row.reject
    assert by_address["none"].features is None
    assert by_address["none"].reject is None
    assert by_address["gone"].reject.reason == "vanished"
    assert "ftp" in by_address["odd"].reject.message


def test_vectors_and_arrays_hold_the_same(files: DataFrame) -> None:
    vectors = ImageEmbedder(outputCol="v").transform(files)
    both = ImageEmbedder(outputCol="a", outputType="array").transform(vectors)
    assert isinstance(both.schema["v"].dataType, VectorUDT)
    assert both.schema["a"].dataType.simpleString() == "array<float>"
    rows = both.where("v is not null").select(vector_to_array(col("v")).alias("v"), "a").collect()
    assert len(rows) == 24
    assert all(list(row.v) == list(row.a) for row in rows)


def test_what_becomes_of_bad_images_can_be_chosen(
    spark: SparkSession, photographs: Path, files: DataFrame
) -> None:
    plain = spark.read.format("binaryFile").load(f"{photographs}/Training/Lime")
    for rows, count in ((files, 25), (plain, 7)):
        kept = ImageEmbedder().transform(rows).collect()
        (bad,) = (row for row in kept if row.features is None)
        assert (len(kept), bad.reject.reason) == (count, "truncated")
        skipped = ImageEmbedder(handleInvalid="skip").transform(rows).collect()
        assert len(skipped) == count - 1
        assert all(row.features is not None and row.reject is None for row in skipped)
        strict = ImageEmbedder(handleInvalid="error").transform(rows)
        with pytest.raises(Exception, match="handleInvalid"):
            strict.select("features").collect()


def test_a_worker_loads_the_network_once() -> None:
    network = resolve(DEFAULT_MODEL)
    fetched: list[str] = []

    def fetch() -> Any:
        fetched.append(network.spec.name)
        return network

    first = shared_runtime(network.spec, fetch, "openvino", "fp32", 1)
    assert shared_runtime(network.spec, fetch, "openvino", "fp32", 1) is first
    assert fetched == [DEFAULT_MODEL]
    assert shared_runtime(network.spec, fetch, "onnxruntime", "fp32", 1) is not first


_FRESH = """
import json, sys
import pomona
from pyspark.ml import PipelineModel
from pyspark.sql.functions import col, concat, lit

spark = pomona.start_session("local[2]")
model = PipelineModel.load(sys.argv[1])
photos = spark.read.format("pomona.images").load(sys.argv[2])
rows = model.transform(photos.where(col("label").isin(*sys.argv[3].split(",")))).collect()
addresses = photos.select("path", concat(lit(sys.argv[2] + "/"), "path").alias("at"))
embedder = pomona.ImageEmbedder(inputCol="at").transform(addresses.where("path like '%cut.jpg'"))
print(json.dumps({
    "predictions": {row.path: [row.prediction, *row.probability.tolist()] for row in rows},
    "reject": embedder.first().reject.reason,
}))
"""


@pytest.mark.timeout(600)  # a second Spark, and a small one
def test_a_saved_pipeline_predicts_the_same_from_a_bucket_in_a_fresh_process(
    files: DataFrame, photographs: Path, tmp_path: Path, bucket: Any
) -> None:
    stages: list[Any] = [
        StringIndexer(inputCol="label", outputCol="y"),
        ImageEmbedder(handleInvalid="skip"),
        PCA(k=8),
        LogisticRegression(featuresCol="components", labelCol="y", maxIter=10),
    ]
    model = Pipeline(stages=stages).fit(files.where("split = 'Training'"))
    model.save(str(tmp_path / "model"))
    expected = {row.path: row for row in model.transform(files).collect()}
    right = sum(row.prediction == row.y for row in expected.values())
    assert right >= 23 and len(expected) == 24  # it has learned something
    for label in _LABELS:
        for file in photographs.glob(f"*/{label}/*.jpg"):
            bucket.upload_file(str(file), f"in/{file.relative_to(photographs)}")
    done = subprocess.run(
        [sys.executable, "-c", _FRESH, tmp_path / "model", "s3://orchard/in", ",".join(_LABELS)],
        capture_output=True,
        text=True,
        env=os.environ,
        cwd=tmp_path,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["reject"] == "truncated"
    predictions = {path: [row.prediction, *row.probability] for path, row in expected.items()}
    assert found["predictions"] == predictions


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that means each channel and multiplies by a matrix."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["m"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["m", "w"], ["features"]),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, "h", "w"))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ("n", 5))],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path_factory.mktemp("network") / "means.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    onnx.checker.check_model(onnx.load(path))
    return path


def test_a_network_of_ones_own_is_saved_with_the_stage(
    files: DataFrame, custom: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.onnx"
    shutil.copy(custom, mine)
    embedder = ImageEmbedder(model=str(mine), size=64, scale=[128.0, 128.0, 128.0])
    expected = embedder.transform(files).select("path", "features").collect()
    embedder.write().overwrite().save(str(tmp_path / "stage"))
    mine.unlink()
    loaded = ImageEmbedder.load(str(tmp_path / "stage"))
    assert (loaded.uid, loaded.identity) == (embedder.uid, embedder.identity)
    assert (loaded.getSize(), loaded.getScale(), loaded.getMean()) == (64, [128.0] * 3, None)
    assert loaded.transform(files).select("path", "features").collect() == expected
    with pytest.raises(ModelError, match="no network"):
        loaded.copy({loaded.size: 32}).transform(files)
    saved = tmp_path / "stage" / "data" / "network.onnx"
    saved.write_bytes(saved.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match="saved with"):
        ImageEmbedder.load(str(tmp_path / "stage"))
    saved.unlink()
    with pytest.raises(ModelError, match="lost its network"):
        ImageEmbedder.load(str(tmp_path / "stage"))


def test_a_stage_knows_when_the_network_that_ships_is_another(
    spark: SparkSession, tmp_path: Path
) -> None:
    ImageEmbedder().save(str(tmp_path / "stage"))
    (metadata,) = (tmp_path / "stage" / "metadata").glob("part-*")
    sha = resolve(DEFAULT_MODEL).spec.sha256
    metadata.write_text(metadata.read_text().replace(sha, sha[::-1]))
    for checksum in metadata.parent.glob(".*.crc"):
        checksum.unlink()
    with pytest.raises(ModelError, match="saved with"):
        ImageEmbedder.load(str(tmp_path / "stage"))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"inputCol": "absent"}, "no column 'absent'"),
        ({"inputCol": "width"}, "of type int"),
        ({"model": "pomona-s0"}, "no network"),
        ({"size": 50}, "px only, not of 50"),
        ({"mean": [1.0, 2.0]}, "2 numbers"),
        ({"precision": "fp8"}, "one of: fp32, bf16"),
        ({"precision": "int8"}, "calibrated"),
        ({"precision": "bf16", "engine": "onnxruntime"}, "needs the engine openvino"),
        ({"engine": "torch"}, "one of: auto"),
        ({"outputType": "list"}, "one of: vector"),
        ({"handleInvalid": "drop"}, "one of: keep"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    spark: SparkSession, params: dict[str, Any], told: str
) -> None:
    frame = spark.createDataFrame([], "content binary, width int")
    with pytest.raises(PomonaError, match=told):
        ImageEmbedder(**params).transform(frame)


def test_new_photographs_are_embedded_as_they_come_and_none_twice(
    spark: SparkSession, photographs: Path, tmp_path: Path
) -> None:
    arriving, results = tmp_path / "arriving", tmp_path / "results"
    arriving.mkdir()
    files = iter(sorted(photographs.glob("Training/*/*.jpg")))

    def drop(count: int) -> None:
        for _ in range(count):
            file = next(files)
            name = f"{file.parent.name}-{file.name}"
            shutil.copy(file, tmp_path / name)
            (tmp_path / name).rename(arriving / name)

    def start() -> Any:
        schema = spark.read.format("binaryFile").load(str(arriving)).schema
        photos = spark.readStream.format("binaryFile").schema(schema).load(str(arriving))
        return (
            ImageEmbedder(outputType="array")
            .transform(photos)
            .select("path", "features", "reject.reason")
            .writeStream.format("parquet")
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .start(str(results))
        )

    def embedded() -> list[Any]:
        return spark.read.parquet(str(results)).collect()

    drop(3)
    query = start()
    try:
        query.processAllAvailable()
        assert len(embedded()) == 3
        drop(4)
        (arriving / "bad.jpg").write_bytes(b"no image at all")
        query.processAllAvailable()
        assert len(embedded()) == 8
    finally:
        query.stop()
    drop(2)
    query = start()
    try:
        query.processAllAvailable()
    finally:
        query.stop()
    rows = embedded()
    assert len({row.path for row in rows}) == len(rows) == 10
    assert sorted(row.reason for row in rows if row.features is None) == ["not_an_image"]
    width = resolve(DEFAULT_MODEL).spec.dimension
    assert all(len(row.features) == width for row in rows if row.reason is None)
