"""PCA as a ``pyspark.ml`` stage: an Estimator and its Model, for pipelines and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import DenseMatrix, DenseVector, VectorUDT
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
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
from pyspark.sql.functions import arrow_udf, col  # type: ignore[attr-defined]

from pomona.columns import lists_of, matrix_of
from pomona.errors import ReductionError
from pomona.reduction.moments import Moments
from pomona.reduction.principal import fit_principal
from pomona.reduction.saving import load_pca, save_pca
from pomona.spark.features import as_array, of_batches
from pomona.spark.jobs import Told, translate
from pomona.storage import open_store

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from pomona.reduction.principal import PrincipalComponents

_DATA = "data/"
"""Where the arrays of a saved model lie, beside Spark's ``metadata/``."""


class _PCAParams(HasInputCol, HasOutputCol):
    """Params that the Estimator and its Model share."""

    k: Param[int] = Param(
        Params._dummy(),
        "k",
        "number of principal components (> 0); overrides variance",
        typeConverter=TypeConverters.toInt,
    )
    variance: Param[float] = Param(
        Params._dummy(),
        "variance",
        "share of the variance to keep, in (0, 1]; the fewest components that reach it are taken",
        typeConverter=TypeConverters.toFloat,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(inputCol="features", outputCol="components", variance=0.95)

    def getK(self) -> int | None:  # noqa: N802 - pyspark.ml's manner
        """Number of components that was asked for; None where ``variance`` decides."""
        return self.getOrDefault(self.k) if self.isDefined(self.k) else None

    def getVariance(self) -> float:  # noqa: N802
        """Share of the variance to keep."""
        return self.getOrDefault(self.variance)


class PCA(Estimator["PCAModel"], _PCAParams, DefaultParamsReadable["PCA"], DefaultParamsWritable):
    """Principal component analysis of a column of vectors, centred.

    Unlike ``pyspark.ml.feature.PCA`` it centres what it transforms, takes a share of the variance
    instead of a number of components, and gathers centred moments in one pass on the workers
    (see :mod:`pomona.reduction.moments`), so that large offsets cost no digits.

    Params:

    - ``k``: number of components; or ``variance`` (default 0.95): share of the variance to keep;
    - ``inputCol`` (default ``features``): array of float or double, or Vector;
    - ``outputCol`` (default ``components``): of the input's kind.

    Examples:
        >>> from pomona import PCA
        >>> df = spark.createDataFrame([([1.0, 2.0],), ([2.0, 4.1],), ([3.0, 5.9],)], ["features"])
        >>> model = PCA(variance=0.9).fit(df)
        >>> len(model.explainedVariance)
        1
        >>> model.transform(df).columns
        ['features', 'components']
    """

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        k: int | None = None,
        variance: float | None = None,
        inputCol: str | None = None,
        outputCol: str | None = None,
    ) -> None:
        super().__init__()
        self.setParams(**self._input_kwargs)

    @keyword_only
    def setParams(  # noqa: N802
        self,
        *,
        k: int | None = None,
        variance: float | None = None,
        inputCol: str | None = None,
        outputCol: str | None = None,
    ) -> PCA:
        """Set several Params at once."""
        given = {name: value for name, value in self._input_kwargs.items() if value is not None}
        return self._set(**given)

    def setK(self, value: int) -> PCA:  # noqa: N802
        """Ask for a number of components."""
        return self._set(k=value)

    def setVariance(self, value: float) -> PCA:  # noqa: N802
        """Ask for a share of the variance."""
        return self._set(variance=value)

    def setInputCol(self, value: str) -> PCA:  # noqa: N802
        """Name the column to reduce."""
        return self._set(inputCol=value)

    def setOutputCol(self, value: str) -> PCA:  # noqa: N802
        """Name the column to add."""
        return self._set(outputCol=value)

    def _fit(self, dataset: DataFrame) -> PCAModel:
        """Gather moments on the workers and solve on the driver.

        Raises:
            ReductionError: k or variance out of range, no such column, or rows that do not allow
                the reduction (fewer than two, all the same, more components than directions).
            TableError: rows that are null or of several lengths.
        """
        k, variance = self.getK(), self.getVariance()
        if k is not None and k < 1:
            raise ReductionError(f"k is {k}; a PCA has at least one component.", "Give 1 or more.")
        if not 0 < variance <= 1:
            raise ReductionError(
                f"variance is {variance}; it is a share.", "Give more than 0 and at most 1."
            )
        name = self.getInputCol()
        # Nondeterministic, lest the filter below makes Spark gather everything twice.
        gather = arrow_udf(
            of_batches(Told(_moments, "gathering moments")), "binary"
        ).asNondeterministic()
        rows = dataset.select(gather(_features(dataset, name)).alias("moments"))
        found = rows.where(col("moments").isNotNull()).rdd.map(_unpacked)
        try:
            merged = found.treeAggregate(Moments.none(0), Moments.merge, Moments.merge)
        except Exception as error:
            raise translate(error, "gathering moments") from error
        model = PCAModel(fit_principal(merged, k=k, variance=variance))
        model._resetUid(self.uid)
        return self._copyValues(model)


class PCAModel(Model, _PCAParams, MLReadable["PCAModel"], MLWritable):
    """A fitted :class:`PCA`.

    Attributes:
        pc: DenseMatrix [d, k], components in columns, as spark.ml names it.
        explainedVariance: DenseVector [k], shares of the variance, as spark.ml names it.
        principal: the arrays themselves, with scikit-learn's names; works without Spark.

    Examples:
        >>> from pomona import PCAModel
        >>> model = PCAModel.load(saved["pca"])
        >>> model.pc.numRows, model.pc.numCols
        (3, 2)
        >>> model.principal.components_.shape
        (2, 3)
    """

    def __init__(self, principal: PrincipalComponents) -> None:
        super().__init__()
        self.principal = principal

    @property
    def pc(self) -> DenseMatrix:
        """Components in columns."""
        components = self.principal.components_
        return DenseMatrix(components.shape[1], components.shape[0], components.reshape(-1))

    @property
    def explainedVariance(self) -> DenseVector:  # noqa: N802
        """Shares of the total variance, falling."""
        return DenseVector(self.principal.explained_variance_ratio_)

    def setInputCol(self, value: str) -> PCAModel:  # noqa: N802
        """Name the column to reduce."""
        return self._set(inputCol=value)

    def setOutputCol(self, value: str) -> PCAModel:  # noqa: N802
        """Name the column to add."""
        return self._set(outputCol=value)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        name = self.getInputCol()
        project = arrow_udf(of_batches(_Project(self.principal)), "array<float>")
        projected = project(_features(dataset, name))
        if isinstance(dataset.schema[name].dataType, VectorUDT):
            projected = array_to_vector(projected)
        return dataset.withColumn(self.getOutputCol(), projected)

    def write(self) -> MLWriter:
        """A writer; ``save(path)`` is the short form."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader[PCAModel]:
        """A reader; ``load(path)`` is the short form."""
        return _Reader()


class _Writer(MLWriter):
    def __init__(self, model: PCAModel) -> None:
        super().__init__()
        self._model = model

    def saveImpl(self, path: str) -> None:  # noqa: N802
        DefaultParamsWriter.saveMetadata(self._model, path, self.sparkSession)
        save_pca(open_store(path), self._model.principal, {"uid": self._model.uid}, _DATA)


class _Reader(MLReader[PCAModel]):
    def load(self, path: str) -> PCAModel:
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        principal, _ = load_pca(open_store(path), _DATA)
        model = PCAModel(principal)
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model


def _features(dataset: DataFrame, name: str) -> Column:
    return as_array(dataset, name, stage="A PCA", param="inputCol", error=ReductionError)


def _moments(rows: pa.ListArray) -> pa.Array:
    """The moments of a batch in its first row, and nothing in the others."""
    found = Moments.of(matrix_of(rows)).to_bytes()
    return pa.array([found, *[None] * (len(rows) - 1)], pa.binary())


class _Project:
    """Runs on the workers: rows to components."""

    def __init__(self, principal: PrincipalComponents) -> None:
        self._principal = principal

    def __call__(self, rows: pa.ListArray) -> pa.Array:
        return lists_of(self._principal.transform(matrix_of(rows)))


def _unpacked(row: Any) -> Moments:
    return Moments.from_bytes(row.moments)
