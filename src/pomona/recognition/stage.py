"""The classifier as a ``pyspark.ml`` stage: an Estimator and its Model."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
from pyspark.sql.functions import arrow_udf, col, lit, struct  # type: ignore[attr-defined]
from pyspark.sql.types import NumericType

from pomona.columns import lists_of, matrix_of
from pomona.errors import RecognitionError
from pomona.recognition.answering import Naming
from pomona.recognition.calibration import (
    SHRINKAGES,
    Answers,
    Calibration,
    Likelihoods,
    calibrate,
)
from pomona.recognition.fruits import load_fruits
from pomona.recognition.linear import Discriminants, softmax
from pomona.recognition.normalising import normalise
from pomona.recognition.novelty import fit_novelty
from pomona.recognition.recogniser import Recogniser
from pomona.recognition.saving import load_recogniser, save_recogniser
from pomona.recognition.splitting import Role, Survey, plan_split
from pomona.recognition.statistics import ClassStatistics
from pomona.recognition.training import FEWEST_VALIDATING, merge_found
from pomona.schema import GROUP, PATH, SPLIT
from pomona.spark.features import as_array, of_batches
from pomona.spark.jobs import Told, translate
from pomona.storage import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from pyspark.sql import Column, DataFrame

    from pomona.recognition.splitting import Split

_DATA = "data/"
"""Where the arrays of a saved model lie, beside Spark's ``metadata/``."""
_KEYS = (PATH, "label", SPLIT, GROUP)

Found = TypeVar("Found", ClassStatistics, Likelihoods, Answers)


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
    shrinkage: Param[float] = Param(
        Params._dummy(),
        "shrinkage",
        "of the covariance, in (0, 1]; chosen on the validation rows where it is not set",
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
    """Discriminant analysis with a shrunk covariance, calibrated, that knows what is strange.

    Every class counts the same, however many rows it has. Statistics are gathered on the workers.

    Some rows have to validate: those whose ``validationIndicatorCol`` is true; without one, the
    column ``path`` and, where they are there, ``split`` and ``group``, say which, as in
    :mod:`pomona.recognition.splitting`. No row is dealt out at random, and rows of a test split
    are left out.

    Params: ``featuresCol`` (default ``features``; array of float or double, or Vector),
    ``labelCol`` (default ``label``; text or a number), ``predictionCol`` (of the label's kind),
    ``probabilityCol`` (array, or Vector where the features are), ``verdictCol``, ``shrinkage``,
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
        shrinkage: float | None = None,
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
        shrinkage: float | None = None,
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
        shrinkages, risk, refuse = self._checked()
        rows = self._rows(dataset)
        survey = _survey(rows)
        classes = tuple(sorted({label for _, label in survey.labels}))
        if len(classes) < 2:
            raise RecognitionError(
                f"A classifier needs rows of at least 2 labels; there are {len(classes)}.",
                "Set labelCol to the column of labels.",
            )
        known = (
            None if self.isDefined(self.validationIndicatorCol) else plan_split(survey, test=False)
        )
        read = _Read(classes, known)
        of_role = {
            role: _gathered(
                rows, read, role, _Statistics(len(classes)), ClassStatistics, "gathering statistics"
            )
            for role in (Role.TRAIN, Role.VALIDATE)
        }
        training, validating = of_role[Role.TRAIN], of_role[Role.VALIDATE]
        if training is None or not training.counts.all():
            raise RecognitionError(
                "Some labels have no row to train on.",
                "Leave their rows out, or mark fewer of them for validation.",
            )
        if validating is None or validating.rows < FEWEST_VALIDATING:
            raise RecognitionError(
                f"Fewer than {FEWEST_VALIDATING} rows validate.",
                "Set validationIndicatorCol, or give more rows of each group or run of frames.",
            )
        found = Discriminants(training)
        tried = [found.classifier(shrinkage) for shrinkage in shrinkages]
        likelihoods = _gathered(
            rows, read, Role.VALIDATE, _Likelihood(tried), Likelihoods, "choosing the shrinkage"
        )
        assert likelihoods is not None  # the same rows as above
        chosen, temperature = likelihoods.best()
        fruits = load_fruits().fruits_of(classes)
        naming = Naming(classes, fruits, Calibration(temperature, 1, 1, 0, risk))
        learned = Recogniser(naming, tried[chosen], fit_novelty(found))
        answers = _gathered(
            rows, read, Role.VALIDATE, _Answer(learned), Answers, "setting the thresholds"
        )
        assert answers is not None
        both = Discriminants(training.merge(validating))
        calibration = calibrate(answers, temperature, risk=risk, refuse=refuse)
        recogniser = Recogniser(
            Naming(classes, fruits, calibration),
            both.classifier(shrinkages[chosen]),
            fit_novelty(both),
        )
        numeric = isinstance(dataset.schema[self.getLabelCol()].dataType, NumericType)
        model = FruitClassifierModel(recogniser, numeric=numeric)
        model._resetUid(self.uid)
        return self._copyValues(model)

    def _checked(self) -> tuple[tuple[float, ...], float, float]:
        shrinkages: tuple[float, ...] = SHRINKAGES
        if self.isDefined(self.shrinkage):
            shrinkages = (self.getOrDefault(self.shrinkage),)
        risk, refuse = self.getOrDefault(self.risk), self.getOrDefault(self.refuse)
        if not 0 < shrinkages[0] <= 1 or not 0 <= risk < 1 or not 0 < refuse < 1:
            raise RecognitionError(
                "shrinkage, risk or refuse is no share.", "Give numbers between 0 and 1."
            )
        return shrinkages, risk, refuse

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
        work = _Recognise(self.recogniser)
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


class _Read:
    """Runs on the workers: a batch to the features and labels of one role."""

    def __init__(self, classes: tuple[str, ...], split: Split | None) -> None:
        self._classes = classes
        self._split = split

    def __call__(
        self, batch: pa.RecordBatch, role: Role
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        if self._split is None:
            marks = pc.fill_null(batch.column("mark"), False).to_numpy(zero_copy_only=False)
            wanted = marks if role == Role.VALIDATE else ~marks
        else:
            found = self._split.roles(*(batch.column(name).to_pylist() for name in _KEYS))
            wanted = found == role
        some = batch.filter(pa.array(wanted))
        labels = pc.index_in(some.column("label"), value_set=pa.array(self._classes, pa.string()))
        if not some.num_rows:
            return np.empty((0, 0), np.float32), np.empty(0, np.intp)
        return normalise(matrix_of(some.column("features"))), labels.to_numpy().astype(np.intp)


class _Statistics:
    def __init__(self, classes: int) -> None:
        self._classes = classes

    def __call__(self, rows: NDArray[np.float32], labels: NDArray[np.intp]) -> ClassStatistics:
        return ClassStatistics.of(rows, labels, self._classes)


class _Likelihood:
    def __init__(self, tried: list[Any]) -> None:
        self._tried = tried

    def __call__(self, rows: NDArray[np.float32], labels: NDArray[np.intp]) -> Likelihoods:
        return Likelihoods.of([one.logits(rows) for one in self._tried], labels)


class _Answer:
    def __init__(self, learned: Recogniser) -> None:
        self._learned = learned

    def __call__(self, rows: NDArray[np.float32], labels: NDArray[np.intp]) -> Answers:
        naming = self._learned.naming
        probabilities = softmax(
            self._learned.classifier.logits(rows), naming.calibration.temperature
        )
        novelty = self._learned.novelty.score(rows)
        return Answers.of(probabilities, labels, naming.fruit_index, novelty)


class _Gather(Generic[Found]):
    """Runs on the workers: a batch to one packed result in its first row, nothing in the others."""

    def __init__(self, read: _Read, role: Role, work: Callable[..., Found]) -> None:
        self._read = read
        self._role = role
        self._work: Callable[..., Found] = work

    def __call__(self, rows: pa.StructArray) -> pa.Array:
        features, labels = self._read(pa.RecordBatch.from_struct_array(rows), self._role)
        found = _packed(self._work(features, labels)) if len(labels) else None
        return pa.array([found, *[None] * (len(rows) - 1)], pa.binary())


def _gathered(
    rows: DataFrame,
    read: _Read,
    role: Role,
    work: Callable[..., Found],
    kind: type[Found],
    describe: str,
) -> Found | None:
    """What the workers found in the rows of a role, merged; None where there are no such rows."""
    # Nondeterministic, lest the filter below makes Spark gather everything twice.
    gather = arrow_udf(
        of_batches(Told(_Gather(read, role, work), describe)), "binary"
    ).asNondeterministic()
    packed = rows.select(gather(struct(*rows.columns)).alias("found"))
    try:
        parts = packed.where(col("found").isNotNull()).rdd.map(
            lambda row: _unpacked(kind, row.found)
        )
        found: Found | None = parts.treeAggregate(None, merge_found, merge_found)
    except Exception as error:
        raise translate(error, describe) from error
    return found


def _survey(rows: DataFrame) -> Survey:
    """Paths, labels, splits and groups, looked at on the workers."""

    def look(some: Iterable[Any]) -> Iterator[Survey]:
        survey = Survey()
        for row in some:
            survey.see([row.path or ""], [row.label], [row.split], [row.group])
        yield survey

    keys = rows.select(*_KEYS)
    try:
        return keys.rdd.mapPartitions(look).treeAggregate(Survey(), Survey.merge, Survey.merge)
    except Exception as error:
        raise translate(error, "looking at labels") from error


def _packed(found: Any) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **vars(found))
    return sink.getvalue()


def _unpacked(kind: type[Found], data: bytes) -> Found:
    with np.load(io.BytesIO(bytes(data)), allow_pickle=False) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    return kind(**{name: v.item() if v.ndim == 0 else v for name, v in values.items()})


class _Recognise:
    """Runs on the workers: features to label, probabilities and verdict."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def __call__(self, rows: pa.ListArray) -> pa.Array:
        naming = self._recogniser.naming
        probabilities, novelty = self._recogniser.recognise(matrix_of(rows))
        labels = pa.array(naming.classes).take(pa.array(probabilities.argmax(axis=1)))
        verdicts = pa.array(naming.verdicts(probabilities, novelty), pa.string())
        return pa.StructArray.from_arrays(
            [labels, lists_of(probabilities), verdicts], ["label", "probability", "verdict"]
        )
