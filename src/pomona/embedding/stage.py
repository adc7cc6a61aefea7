"""Embedding as a ``pyspark.ml`` stage: images to features, in a Pipeline or in a stream."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pyspark import keyword_only
from pyspark.ml import Transformer
from pyspark.ml.functions import array_to_vector
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql.functions import arrow_udf, coalesce, col, when  # type: ignore[attr-defined]
from pyspark.sql.types import BinaryType, StringType

from pomona.embedding.catalogue import names, resolve
from pomona.embedding.column import FEATURES, REJECT, EmbedColumn
from pomona.embedding.network import MAX_BYTES, Network, NetworkSpec
from pomona.embedding.params import EmbedderParams
from pomona.embedding.trial import Tried, try_network
from pomona.errors import InputError, ModelError
from pomona.spark.features import of_batches
from pomona.spark.jobs import Told
from pomona.spark.session import task_cores
from pomona.storage import NotFound, NotPermitted, ReadFailed, open_store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NETWORK = "data/network.onnx"
"""Where a network that does not ship lies in a saved stage, beside Spark's ``metadata/``."""
_TYPE = "struct<features:array<float>,reject:struct<stage:string,reason:string,message:string>>"


class ImageEmbedder(Transformer, EmbedderParams, MLReadable["ImageEmbedder"], MLWritable):
    """A column of images to a column of features, by an ONNX network on the workers.

    Images are whole files (a binary column, as ``pomona.images`` and Spark's ``binaryFile`` give
    them) or addresses (a string column: local paths, ``file:`` or ``s3://``), which the workers
    then read. The numbers are those of ``pomona embed`` with the same model, precision and engine.
    The network is loaded once a worker. It also works in a streaming query.

    A row whose image is null has null features. What becomes of an image that cannot be used,
    ``handleInvalid`` says: ``keep`` (default) keeps the row, with null features and the reason in
    ``rejectCol``; ``skip`` drops the row; ``error`` ends the job. Estimators take no nulls: in a
    Pipeline that goes on after the features, choose ``skip``.

    Params:

    - ``inputCol`` (default ``content``), ``outputCol`` (default ``features``);
    - ``outputType``: ``vector`` (default), which every spark.ml stage takes, or ``array`` of
      float, which is half as large;
    - ``rejectCol`` (default ``reject``): a struct of stage, reason and message; where the column is
      there already, as that of ``pomona.images``, its rejects stay;
    - ``handleInvalid``: ``keep`` (default), ``skip`` or ``error``;
    - ``model`` (default ``pomona-s3``): a name, or the path or ``s3://`` address of an ONNX file;
    - ``size``, ``mean``, ``scale``: what such a file leaves open, as for ``pomona embed``;
    - ``precision``: ``fp32`` (default) or ``bf16``;
    - ``engine``: ``openvino``, ``onnxruntime``, or ``auto`` (default): OpenVINO, and ONNX Runtime
      for what it cannot run;
    - ``maxBytes``, ``maxPixels``: what is refused;
    - ``endpoint``: URL of an S3 service that is not AWS.

    A saved stage holds the checksum of the network, and the network itself where it is none of
    those that ship.

    Examples:
        >>> from pomona import ImageEmbedder
        >>> photos = spark.read.format("pomona.images").load(images)
        >>> embedded = ImageEmbedder(outputType="array").transform(photos)
        >>> embedded.where("features is not null").count()
        232
        >>> embedded.where("reject is not null").first().reject.reason
        'truncated'
    """

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        inputCol: str | None = None,
        outputCol: str | None = None,
        outputType: str | None = None,
        rejectCol: str | None = None,
        handleInvalid: str | None = None,
        model: str | None = None,
        size: int | None = None,
        mean: list[float] | None = None,
        scale: list[float] | None = None,
        precision: str | None = None,
        engine: str | None = None,
        maxBytes: int | None = None,
        maxPixels: int | None = None,
        endpoint: str | None = None,
    ) -> None:
        super().__init__()
        self._tried: Tried | None = None
        self.setParams(**self._input_kwargs)

    @keyword_only
    def setParams(  # noqa: N802 - pyspark.ml's manner
        self,
        *,
        inputCol: str | None = None,
        outputCol: str | None = None,
        outputType: str | None = None,
        rejectCol: str | None = None,
        handleInvalid: str | None = None,
        model: str | None = None,
        size: int | None = None,
        mean: list[float] | None = None,
        scale: list[float] | None = None,
        precision: str | None = None,
        engine: str | None = None,
        maxBytes: int | None = None,
        maxPixels: int | None = None,
        endpoint: str | None = None,
    ) -> ImageEmbedder:
        """Set several Params at once."""
        given = {name: value for name, value in self._input_kwargs.items() if value is not None}
        return self._set(**given)

    def setInputCol(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Name the column of files (binary) or of addresses (string)."""
        return self._set(inputCol=value)

    def setOutputCol(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Name the column to add."""
        return self._set(outputCol=value)

    def setOutputType(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Choose ``vector`` or ``array``."""
        return self._set(outputType=value)

    def setRejectCol(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Name the column of reasons."""
        return self._set(rejectCol=value)

    def setHandleInvalid(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Choose ``keep``, ``skip`` or ``error``."""
        return self._set(handleInvalid=value)

    def setModel(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Choose the network, by name or address."""
        return self._set(model=value)

    def setSize(self, value: int) -> ImageEmbedder:  # noqa: N802
        """Set the side of the image, for networks that take any."""
        return self._set(size=value)

    def setPrecision(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Choose ``fp32`` or ``bf16``."""
        return self._set(precision=value)

    def setEngine(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Choose ``auto``, ``openvino`` or ``onnxruntime``."""
        return self._set(engine=value)

    def setMean(self, value: list[float]) -> ImageEmbedder:  # noqa: N802
        """Set what is subtracted from each channel, for networks with float input."""
        return self._set(mean=value)

    def setScale(self, value: list[float]) -> ImageEmbedder:  # noqa: N802
        """Set what each channel is divided by, for networks with float input."""
        return self._set(scale=value)

    def setMaxBytes(self, value: int) -> ImageEmbedder:  # noqa: N802
        """Set how large a file may be."""
        return self._set(maxBytes=value)

    def setMaxPixels(self, value: int) -> ImageEmbedder:  # noqa: N802
        """Set how many pixels an image may have."""
        return self._set(maxPixels=value)

    def setEndpoint(self, value: str) -> ImageEmbedder:  # noqa: N802
        """Name an S3 service that is not AWS."""
        return self._set(endpoint=value)

    @property
    def identity(self) -> str:
        """What the batch chain writes into the column ``model`` for these features.

        Raises:
            ModelError: no such network, or Params that do not go together.
        """
        return self._ready().network.spec.identity(self.getPrecision())

    def _transform(self, dataset: DataFrame) -> DataFrame:
        """Add the features.

        Raises:
            InputError: no such column, or one of another type.
            ModelError: no such network, or Params that do not go together.
        """
        name, known = self.getInputCol(), self._ready()
        _check_column(dataset, name)
        invalid = self.chosen(self.handleInvalid)
        kind = self.chosen(self.outputType)
        context = dataset.sparkSession.sparkContext
        work = EmbedColumn(
            known.shipped(context),
            known.network.spec,
            known.engine,
            self.arithmetic(),
            task_cores(context),
            self.limits(),
            self.storage(),
            strict=invalid == "error",
        )
        # Nondeterministic, lest a filter on what comes back makes Spark embed everything twice.
        udf = arrow_udf(of_batches(Told(work, "embedding images")), _TYPE).asNondeterministic()
        found = dataset.withColumn("_pomona", udf(col(name)))
        features, reject = col(f"_pomona.{FEATURES}"), col(f"_pomona.{REJECT}")
        if kind == "vector":
            features = when(features.isNotNull(), array_to_vector(features))
        rejects = self.getRejectCol()
        if rejects in dataset.columns:
            reject = coalesce(col(rejects), reject)
        if invalid == "skip":
            found = found.where(features.isNotNull())
        return (
            found.withColumn(self.getOutputCol(), features)
            .withColumn(rejects, reject)
            .drop("_pomona")
        )

    def _ready(self) -> Tried:
        """The network of the present Params."""
        asked = self._asked()
        if self._tried is None or self._tried.asked != asked:
            network = resolve(
                self.getModel(),
                size=self.getSize(),
                mean=self.triple(self.mean),
                scale=self.triple(self.scale),
                storage=self.storage(),
            )
            self._use(network)
        assert self._tried is not None
        return self._tried

    def _use(self, network: Network) -> None:
        """Stand by a network for as long as the Params are those of now."""
        engine = self.chosen(self.engine)
        self._tried = try_network(network, self._asked(), engine, self.arithmetic())

    def _asked(self) -> tuple[Any, ...]:
        """The Params that say which network, and what runs it."""
        params = (self.model, self.size, self.mean, self.scale, self.precision, self.engine)
        return tuple(
            str(self.getOrDefault(param)) if self.isDefined(param) else None for param in params
        )

    def write(self) -> MLWriter:
        """A writer; ``save(path)`` is the short form."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader[ImageEmbedder]:
        """A reader; ``load(path)`` is the short form."""
        return _Reader()


class _Writer(MLWriter):
    def __init__(self, stage: ImageEmbedder) -> None:
        super().__init__()
        self._stage = stage

    def saveImpl(self, path: str) -> None:  # noqa: N802
        network = self._stage._ready().network
        DefaultParamsWriter.saveMetadata(
            self._stage, path, self.sparkSession, {"network": asdict(network.spec)}
        )
        if self._stage.getModel() not in names():
            open_store(path).write(_NETWORK, network.onnx)


class _Reader(MLReader[ImageEmbedder]):
    def load(self, path: str) -> ImageEmbedder:
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        stage = ImageEmbedder()
        stage._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(stage, metadata)
        spec = _spec(metadata["network"])
        ships = stage.getModel() in names()
        found = stage._ready().network if ships else Network(spec, _saved_network(path))
        if sha256(found.onnx).hexdigest() != spec.sha256:
            raise ModelError(
                f"The network {spec.name} is not the one that the stage in {path} was saved with.",
                "Use the version of Pomona that saved it, or save the pipeline anew."
                if ships
                else "The file is damaged; save the pipeline anew.",
            )
        if not ships:
            stage._use(found)
        return stage


def _saved_network(path: str) -> bytes:
    try:
        return open_store(path).read(_NETWORK, limit=MAX_BYTES + 1)
    except (NotFound, NotPermitted, ReadFailed) as error:
        raise ModelError(
            f"The stage in {path} has lost its network: {error}.", "Save the pipeline anew."
        ) from error


def _spec(saved: dict[str, Any]) -> NetworkSpec:
    """How the network is fed, from JSON, which has no tuples."""
    return NetworkSpec(**{**saved, "mean": tuple(saved["mean"]), "scale": tuple(saved["scale"])})


def _check_column(dataset: DataFrame, name: str) -> None:
    if name not in dataset.columns:
        raise InputError(
            f"There is no column {name!r}; there are {', '.join(dataset.columns)}.",
            "Set inputCol to the column of image files or of their addresses.",
        )
    kind = dataset.schema[name].dataType
    if not isinstance(kind, BinaryType | StringType):
        raise InputError(
            f"The column {name!r} is of type {kind.simpleString()}.",
            "An ImageEmbedder takes files (binary) or addresses (string).",
        )
