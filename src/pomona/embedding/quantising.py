"""A network in eight-bit integers, its ranges calibrated on images of the run.

Static quantisation to QDQ operators by ONNX Runtime: weights to int8 a channel, activations to
uint8 a tensor, ranges from the smallest and largest value seen. OpenVINO and ONNX Runtime both run
the result.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pomona.embedding.network import Network

CALIBRATION_IMAGES = 128
"""More changes the ranges little and costs a second each hundred."""

_BATCH = 16
_QUANTISED = ["Conv", "Gemm", "MatMul", "Add"]


def quantise(network: Network, pixels: NDArray[np.uint8]) -> Network:
    """Quantise a network; its identity stays that of the network it came from.

    Args:
        network: in floating point.
        pixels: uint8 [n, size, size, 3], images to calibrate on.

    Raises:
        ModelError: the network cannot be quantised.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    feeds = _feeds(network, pixels)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(feeds, None)

    with tempfile.TemporaryDirectory(prefix="pomona-") as folder:
        target = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                onnx.load_model_from_string(network.onnx),
                target,
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=_QUANTISED,
            )
            return replace(network, onnx=target.read_bytes())
        except Exception as error:
            raise ModelError(
                f"{network.spec.name} cannot be quantised: {' '.join(str(error).split())[:200]}",
                "Take --precision bf16 or fp32.",
            ) from error


def _feeds(network: Network, pixels: NDArray[np.uint8]) -> Iterator[dict[str, NDArray[Any]]]:
    from pomona.embedding.runtime import network_input

    # Batches of one size, repeating images at the end: the calibrator stacks what it collects.
    count = -(-len(pixels) // _BATCH) * _BATCH
    repeated = np.resize(pixels, (count, *pixels.shape[1:]))
    for at in range(0, count, _BATCH):
        yield {network.spec.input: network_input(network.spec, repeated[at : at + _BATCH])}
