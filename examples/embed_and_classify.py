"""Embed a folder of photographs, reduce, and train a classifier of Spark's own on them.

    python examples/embed_and_classify.py PHOTOS MODEL

PHOTOS is laid out as ``{Training,Test}/{label}/{name}``, here or in a bucket (s3://); MODEL is the
folder that the fitted pipeline is saved in.
"""

from __future__ import annotations

import sys

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer

import pomona


def main(photos: str, model: str) -> None:
    """Fit on the training images, save, load, and say how good it is on the others."""
    spark = pomona.start_session()
    images = spark.read.format("pomona.images").load(photos)
    pipeline = Pipeline(
        stages=[
            StringIndexer(inputCol="label", outputCol="y"),
            pomona.ImageEmbedder(handleInvalid="skip"),
            pomona.PCA(k=20),
            LogisticRegression(featuresCol="components", labelCol="y", maxIter=20),
        ]
    )
    fitted = pipeline.fit(images.where("split = 'Training'"))
    fitted.write().overwrite().save(model)

    named = PipelineModel.load(model).transform(images.where("split = 'Test'")).cache()
    accuracy = MulticlassClassificationEvaluator(labelCol="y", metricName="accuracy")
    print(f"{named.count()} images, {accuracy.evaluate(named):.0%} named rightly")


if __name__ == "__main__":
    main(*sys.argv[1:])
