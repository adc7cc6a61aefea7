"""The Params of the embedding stage: names, defaults, and what they come to."""

from __future__ import annotations

from typing import Any, get_args

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasHandleInvalid, HasInputCol, HasOutputCol

from pomona.embedding.catalogue import DEFAULT_MODEL
from pomona.embedding.runtime import Engine, Precision
from pomona.errors import ModelError
from pomona.images.limits import DecodeLimits
from pomona.storage import StorageOptions

_CHOICES: dict[str, tuple[str, ...]] = {
    "handleInvalid": ("keep", "skip", "error"),
    "outputType": ("vector", "array"),
    "precision": ("fp32", "bf16"),
    "engine": ("auto", *get_args(Engine)),
}


class EmbedderParams(HasInputCol, HasOutputCol, HasHandleInvalid):
    """What can be set of an :class:`~pomona.embedding.stage.ImageEmbedder`."""

    outputType: Param[str] = Param(  # noqa: N815 - pyspark.ml's manner
        Params._dummy(),
        "outputType",
        "type of the features: vector, or array (of float)",
        typeConverter=TypeConverters.toString,
    )
    rejectCol: Param[str] = Param(  # noqa: N815
        Params._dummy(),
        "rejectCol",
        "column for why an image cannot be used: a struct of stage, reason and message",
        typeConverter=TypeConverters.toString,
    )
    model: Param[str] = Param(
        Params._dummy(),
        "model",
        "a network that ships, by name, or the address of an ONNX file",
        typeConverter=TypeConverters.toString,
    )
    size: Param[int] = Param(
        Params._dummy(),
        "size",
        "side of the image in pixels, for networks that take any",
        typeConverter=TypeConverters.toInt,
    )
    mean: Param[list[float]] = Param(
        Params._dummy(),
        "mean",
        "of each channel (0 to 255), subtracted, for networks with float input",
        typeConverter=TypeConverters.toListFloat,
    )
    scale: Param[list[float]] = Param(
        Params._dummy(),
        "scale",
        "that each channel is divided by, for networks with float input",
        typeConverter=TypeConverters.toListFloat,
    )
    precision: Param[str] = Param(
        Params._dummy(),
        "precision",
        "arithmetic of the network: fp32 or bf16",
        typeConverter=TypeConverters.toString,
    )
    engine: Param[str] = Param(
        Params._dummy(),
        "engine",
        "what runs the network: auto, openvino or onnxruntime",
        typeConverter=TypeConverters.toString,
    )
    maxBytes: Param[int] = Param(  # noqa: N815
        Params._dummy(),
        "maxBytes",
        "larger files are rejected",
        typeConverter=TypeConverters.toInt,
    )
    maxPixels: Param[int] = Param(  # noqa: N815
        Params._dummy(),
        "maxPixels",
        "images of more pixels are rejected",
        typeConverter=TypeConverters.toInt,
    )
    endpoint: Param[str] = Param(
        Params._dummy(),
        "endpoint",
        "URL of an S3 service that is not AWS",
        typeConverter=TypeConverters.toString,
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        limits = DecodeLimits()
        self._setDefault(
            inputCol="content",
            outputCol="features",
            outputType="vector",
            rejectCol="reject",
            handleInvalid="keep",
            model=DEFAULT_MODEL,
            precision="fp32",
            engine="auto",
            maxBytes=limits.max_bytes,
            maxPixels=limits.max_pixels,
        )

    def getOutputType(self) -> str:  # noqa: N802
        """Type of the features: ``vector`` or ``array``."""
        return self.getOrDefault(self.outputType)

    def getRejectCol(self) -> str:  # noqa: N802
        """Column of reasons."""
        return self.getOrDefault(self.rejectCol)

    def getModel(self) -> str:  # noqa: N802
        """Name or address of the network."""
        return self.getOrDefault(self.model)

    def getSize(self) -> int | None:  # noqa: N802
        """Side of the image that was asked for; None where the network decides."""
        return self.getOrDefault(self.size) if self.isDefined(self.size) else None

    def getPrecision(self) -> str:  # noqa: N802
        """Arithmetic of the network."""
        return self.getOrDefault(self.precision)

    def getEngine(self) -> str:  # noqa: N802
        """What runs the network."""
        return self.getOrDefault(self.engine)

    def getMean(self) -> list[float] | None:  # noqa: N802
        """What is subtracted from each channel, where it was given."""
        return self.getOrDefault(self.mean) if self.isDefined(self.mean) else None

    def getScale(self) -> list[float] | None:  # noqa: N802
        """What each channel is divided by, where it was given."""
        return self.getOrDefault(self.scale) if self.isDefined(self.scale) else None

    def getMaxBytes(self) -> int:  # noqa: N802
        """How large a file may be."""
        return self.getOrDefault(self.maxBytes)

    def getMaxPixels(self) -> int:  # noqa: N802
        """How many pixels an image may have."""
        return self.getOrDefault(self.maxPixels)

    def getEndpoint(self) -> str | None:  # noqa: N802
        """URL of the S3 service, where it was given."""
        return self.getOrDefault(self.endpoint) if self.isDefined(self.endpoint) else None

    def limits(self) -> DecodeLimits:
        """What is refused from the header."""
        return DecodeLimits(self.getMaxBytes(), self.getMaxPixels())

    def storage(self) -> StorageOptions | None:
        """How S3 is spoken to; None leaves it to the AWS settings."""
        if not self.isDefined(self.endpoint):
            return None
        return StorageOptions(endpoint_url=self.getOrDefault(self.endpoint))

    def arithmetic(self) -> Precision:
        """The precision, checked.

        Raises:
            ModelError: one that a stage does not have.
        """
        if self.getPrecision() == "int8":
            raise ModelError(
                "int8 has to be calibrated on images of the data set.",
                "Run `pomona embed --precision int8`; a stage takes fp32 or bf16.",
            )
        return "bf16" if self.chosen(self.precision) == "bf16" else "fp32"

    def chosen(self, param: Param[str]) -> str:
        """The value of a Param that has a few.

        Raises:
            ModelError: it is none of them.
        """
        value, choices = self.getOrDefault(param), _CHOICES[param.name]
        if value not in choices:
            raise ModelError(
                f"{param.name} is {value!r}.", f"Set it to one of: {', '.join(choices)}."
            )
        return value

    def triple(self, param: Param[list[float]]) -> tuple[float, float, float] | None:
        """Three numbers, one a channel; None where none were given.

        Raises:
            ModelError: they are not three.
        """
        if not self.isDefined(param):
            return None
        values = self.getOrDefault(param)
        if len(values) != 3:
            raise ModelError(
                f"{param.name} has {len(values)} numbers.", "Give one number a channel: three."
            )
        return values[0], values[1], values[2]
