"""The classifier as a ``pyspark.ml`` stage: an Estimator and its Model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import VectorUDT
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasLabelCol,
    HasPredictionCol,
    HasProbabilityCol,
    HasValidationIndicatorCol,
)
from pyspark.ml.util import (
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql.functions import arrow_udf, col, lit  # type: ignore[attr-defined]
from pyspark.sql.types import NumericType

from pomona.errors import RecognitionError
from pomona.recognition.frames import Recognise, blocks_of, survey_of
from pomona.recognition.fruits import load_fruits
from pomona.recognition.learning import learn
from pomona.recognition.saving import load_recogniser, save_recogniser
from pomona.recognition.splitting import plan_split
from pomona.schema import GROUP, PATH, SPLIT
from pomona.spark.features import as_array, of_batches
from pomona.spark.kept import Kept
from pomona.storage import open_store

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from pomona.recognition.recogniser import Recogniser


_DATA = "data/"
"""Where the arrays of a saved model lie, beside Spark's ``metadata/``."""


class _FruitParams(
    HasFeaturesCol, HasLabelCol, HasPredictionCol, HasProbabilityCol, HasValidationIndicatorCol
):
    """Params that the Estimator and its Model share."""

    verdictCol: Param[str] = Param(  # noqa: N815 - pyspark.ml's manner
        Params._dummy(),
        "verdictCol",
        "column for the verdict: sure, fruit, unsure, strange or not_fruit",
        typeConverter=TypeConverters.toString,
    )
    regParam: Param[float] = Param(  # noqa: N815
        Params._dummy(),
        "regParam",
        "penalty on the coefficients, above 0; chosen on the validation rows where it is not set",
        typeConverter=TypeConverters.toFloat,
    )
    risk: Param[float] = Param(
        Params._dummy(),
        "risk",
        "share of wrong answers among the sure ones, at most, on the validation rows",
        typeConverter=TypeConverters.toFloat,
    )
    refuse: Param[float] = Param(
        Params._dummy(),
        "refuse",
        "share of validation rows that may be refused as strange",
        typeConverter=TypeConverters.toFloat,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(verdictCol="verdict", risk=0.02, refuse=0.02)


class FruitClassifier(
    Estimator["FruitClassifierModel"],
    _FruitParams,
    DefaultParamsReadable["FruitClassifier"],
    DefaultParamsWritable,
):
    """Softmax regression, calibrated, that knows what is strange.

    Every class counts the same, however many rows it has. Gradients are added up on the workers.

    Some rows have to validate: those whose ``validationIndicatorCol`` is true; without one, the
    column ``path`` and, where they are there, ``split`` and ``group``, say which, as in
    :mod:`pomona.recognition.splitting`. No row is dealt out at random, and rows of a test split
    are left out.

    Params: ``featuresCol`` (default ``features``; array of float or double, or Vector),
    ``labelCol`` (default ``label``; text or a number), ``predictionCol`` (of the label's kind),
    ``probabilityCol`` (array, or Vector where the features are), ``verdictCol``, ``regParam``,
    ``risk``, ``refuse``, ``validationIndicatorCol``.

    Examples:
        >>> from pomona import FruitClassifier, ImageEmbedder
        >>> photos = spark.read.format("pomona.images").load(images)
        >>> features = ImageEmbedder(handleInvalid="skip").transform(photos).cache()
        >>> model = FruitClassifier(risk=0.05).fit(features)
        >>> model.numClasses
        29
        >>> named = model.transform(features)
        >>> named.select("path", "prediction", "verdict").where("label = 'Kiwi'").first().prediction
        'Kiwi'
    """

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: str | None = None,
        labelCol: str | None = None,
        predictionCol: str | None = None,
        probabilityCol: str | None = None,
        validationIndicatorCol: str | None = None,
        verdictCol: str | None = None,
        regParam: float | None = None,
        risk: float | None = None,
        refuse: float | None = None,
    ) -> None:
        super().__init__()
        self.setParams(**self._input_kwargs)

    @keyword_only
    def setParams(  # noqa: N802 - pyspark.ml's manner
        self,
        *,
        featuresCol: str | None = None,
        labelCol: str | None = None,
        predictionCol: str | None = None,
        probabilityCol: str | None = None,
        validationIndicatorCol: str | None = None,
        verdictCol: str | None = None,
        regParam: float | None = None,
        risk: float | None = None,
        refuse: float | None = None,
    ) -> FruitClassifier:
        """Set several Params at once."""
        given = {name: value for name, value in self._input_kwargs.items() if value is not None}
        return self._set(**given)

    def _fit(self, dataset: DataFrame) -> FruitClassifierModel:
        """Gather statistics, choose on the validation rows.

        Raises:
            RecognitionError: a Param out of range, a column missing, nothing that says which rows
                validate, or fewer than two classes.
            TableError: rows that are null or of several lengths.
        """
        penalty = self.getOrDefault(self.regParam) if self.isDefined(self.regParam) else None
        risk, refuse = self.getOrDefault(self.risk), self.getOrDefault(self.refuse)
        if not 0 <= risk < 1 or not 0 < refuse < 1 or (penalty is not None and penalty <= 0):
            raise RecognitionError(
                "regParam, risk or refuse is out of range.",
                "Give a regParam above 0; risk and refuse are shares.",
            )
        rows = self._rows(dataset)
        survey = survey_of(rows)
        classes = tuple(sorted({label for _, label in survey.labels}))
        if len(classes) < 2:
            raise RecognitionError(
                f"A classifier needs rows of at least 2 labels; there are {len(classes)}.",
                "Set labelCol to the column of labels.",
            )
        marked = self.isDefined(self.validationIndicatorCol)
        split = None if marked else plan_split(survey, test=False)
        with Kept(blocks_of(rows, classes, split)) as blocks:
            learned = learn(
                blocks, classes, load_fruits(), penalty=penalty, risk=risk, refuse=refuse
            )
        if learned.left_out:
            raise RecognitionError(
                f"Some labels have no row to train on: {', '.join(learned.left_out[:5])}.",
                "Leave their rows out, or mark fewer of them for validation.",
            )
        numeric = isinstance(dataset.schema[self.getLabelCol()].dataType, NumericType)
        model = FruitClassifierModel(learned.recogniser, numeric=numeric)
        model._resetUid(self.uid)
        return self._copyValues(model)

    def _rows(self, dataset: DataFrame) -> DataFrame:
        """The columns that are needed, under fixed names and of fixed types."""
        label = self.getLabelCol()
        marked = self.isDefined(self.validationIndicatorCol)
        if label not in dataset.columns or not (marked or PATH in dataset.columns):
            raise RecognitionError(
                f"There is no column {label if label not in dataset.columns else PATH!r}; there "
                f"are {', '.join(dataset.columns)}.",
                "Set labelCol to the labels; and validationIndicatorCol, or keep the column path.",
            )
        mark = col(self.getValidationIndicatorCol()) if marked else lit(None)
        keys = [
            (col(name) if name in dataset.columns else lit(None)).cast("string").alias(name)
            for name in (PATH, SPLIT, GROUP)
        ]
        return dataset.select(
            _features(dataset, self.getFeaturesCol()).alias("features"),
            col(label).cast("string").alias("label"),
            mark.cast("boolean").alias("mark"),
            *keys,
        ).where(col("label").isNotNull())


class FruitClassifierModel(Model, _FruitParams, MLReadable["FruitClassifierModel"], MLWritable):
    """A fitted :class:`FruitClassifier`.

    Attributes:
        recogniser: what was learned; works without Spark.
        numeric: whether labels were numbers; predictions then are too.

    Examples:
        >>> from pomona import FruitClassifierModel
        >>> model = FruitClassifierModel.load(saved["classifier"])
        >>> model.classes
        ('Apple', 'Kiwi', 'Lime')
    """

    def __init__(self, recogniser: Recogniser, *, numeric: bool = False) -> None:
        super().__init__()
        self.recogniser = recogniser
        self.numeric = numeric

    @property
    def numClasses(self) -> int:  # noqa: N802 - pyspark.ml's name
        """Number of classes."""
        return len(self.recogniser.naming.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of the probabilities."""
        return self.recogniser.naming.classes

    def _transform(self, dataset: DataFrame) -> DataFrame:
        name = self.getFeaturesCol()
        work = Recognise(self.recogniser)
        udf = arrow_udf(
            of_batches(work), "struct<label:string,probability:array<float>,verdict:string>"
        )
        found = dataset.withColumn("_pomona", udf(_features(dataset, name)))
        label, probability = col("_pomona.label"), col("_pomona.probability")
        if isinstance(dataset.schema[name].dataType, VectorUDT):
            probability = array_to_vector(probability)
        return (
            found.withColumn(
                self.getPredictionCol(), label.cast("double") if self.numeric else label
            )
            .withColumn(self.getProbabilityCol(), probability)
            .withColumn(self.getOrDefault(self.verdictCol), col("_pomona.verdict"))
            .drop("_pomona")
        )

    def write(self) -> MLWriter:
        """A writer; ``save(path)`` is the short form."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader[FruitClassifierModel]:
        """A reader; ``load(path)`` is the short form."""
        return _Reader()


class _Writer(MLWriter):
    def __init__(self, model: FruitClassifierModel) -> None:
        super().__init__()
        self._model = model

    def saveImpl(self, path: str) -> None:  # noqa: N802
        DefaultParamsWriter.saveMetadata(self._model, path, self.sparkSession)
        about = {"uid": self._model.uid, "numeric": self._model.numeric}
        save_recogniser(open_store(path), self._model.recogniser, about, _DATA)


class _Reader(MLReader[FruitClassifierModel]):
    def load(self, path: str) -> FruitClassifierModel:
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        recogniser, manifest = load_recogniser(open_store(path), _DATA)
        model = FruitClassifierModel(recogniser, numeric=bool(manifest.get("numeric")))
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model


def _features(dataset: DataFrame, name: str) -> Column:
    return as_array(
        dataset, name, stage="The classifier", param="featuresCol", error=RecognitionError
    )
