"""An ONNX file as a function from images to features and logits, on one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray

from data import Pixels

if TYPE_CHECKING:
    from pathlib import Path

Floats = NDArray[np.float32]
Engine = Callable[[Pixels], tuple[Floats, Floats]]
"""From uint8 [n, h, w, 3] to features [n, d] and logits [n, classes]."""


def onnxruntime_engine(path: Path) -> Engine:
    """The network on ONNX Runtime, in fp32."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Pixels) -> tuple[Floats, Floats]:
        features, logits = session.run(["features", "logits"], {"image": images})
        return features, logits

    return run


def openvino_engine(path: Path, precision: str) -> Engine:
    """The network on OpenVINO; ``precision`` is "f32" or "bf16"."""
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
    }
    request = core.compile_model(path, "CPU", settings).create_infer_request()

    def run(images: Pixels) -> tuple[Floats, Floats]:
        results = request.infer([images])
        return results["features"].copy(), results["logits"].copy()

    return run


def in_batches(engine: Engine, images: Pixels, size: int = 64) -> tuple[Floats, Floats]:
    """Features and logits of all images."""
    parts = [engine(images[start : start + size]) for start in range(0, len(images), size)]
    features, logits = zip(*parts, strict=True)
    return np.concatenate(features), np.concatenate(logits)
