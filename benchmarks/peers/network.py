"""The network as the peers run it: by Pomona's engine in Pomona's precision, or by ONNX Runtime."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class Embedder:
    """Pixels to features, made once in each worker; one thread.

    Args:
        model: an ONNX file with the input ``image`` (uint8 [n, h, w, 3]) and output ``features``.
        size: of the images' sides.
        batch: images that are embedded at a time.
        precision: ``bf16`` or ``fp32`` of OpenVINO, or ``onnxruntime``, which has fp32 alone.
        marks: a folder; a file there tells when this was begun to be made.
    """

    def __init__(self, model: str, size: int, batch: int, precision: str, marks: str) -> None:
        mark(marks)
        self.batch = batch
        make = _onnx_runtime if precision == "onnxruntime" else _openvino
        self._infer = make(model, (batch, size, size, 3), precision)

    def embed(self, pixels: Any) -> Any:
        """Features float32 [n, d] of uint8 [n, size, size, 3], n being any number."""
        import numpy as np

        parts = []
        for at in range(0, len(pixels), self.batch):
            part = np.ascontiguousarray(pixels[at : at + self.batch])
            count = len(part)
            if count < self.batch:
                part = np.concatenate([part, np.zeros((self.batch - count, *part.shape[1:]), "u1")])
            parts.append(self._infer(part)[:count])
        return np.concatenate(parts)


def _openvino(model: str, shape: tuple[int, ...], precision: str) -> Any:
    import openvino as ov

    core = ov.Core()
    whole = core.read_model(model)
    network = ov.Model([whole.output("features")], whole.get_parameters(), "features")
    network.reshape({"image": list(shape)})
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(network, "CPU", options).create_infer_request()

    def infer(pixels: Any) -> Any:
        (found,) = request.infer([pixels], share_inputs=True).values()
        return found

    return infer


def _onnx_runtime(model: str, shape: tuple[int, ...], precision: str) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["features"], {"image": pixels})[0]


def mark(folder: str) -> None:
    """Leave the present time in a folder."""
    now = time.time()
    Path(folder, f"{now:.6f}").touch()


def first_mark(folder: str) -> float:
    """The earliest of the times that were left there."""
    return min(float(file.name) for file in Path(folder).iterdir())
