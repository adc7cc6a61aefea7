"""The network as every peer runs it: OpenVINO, one thread, in the precision that Pomona chose."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class Embedder:
    """Pixels to features, compiled when it is made; whoever takes batches calls :meth:`embed`.

    Args:
        model: an ONNX file with the input ``image`` (uint8 [n, h, w, 3]) and output ``features``.
        size: of the images' sides.
        batch: images that are embedded at a time.
        precision: ``bf16`` or ``fp32``.
        marks: a folder; a file there tells when this was begun to be made.
    """

    def __init__(self, model: str, size: int, batch: int, precision: str, marks: str) -> None:
        mark(marks)
        import numpy as np
        import openvino as ov

        self._np = np
        self.batch = batch
        core = ov.Core()
        whole = core.read_model(model)
        network = ov.Model([whole.output("features")], whole.get_parameters(), "features")
        network.reshape({"image": [batch, size, size, 3]})
        compiled = core.compile_model(
            network,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": 1,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._request = compiled.create_infer_request()

    def embed(self, pixels: Any) -> Any:
        """Features float32 [n, d] of uint8 [n, size, size, 3], n being any number."""
        np, parts = self._np, []
        for at in range(0, len(pixels), self.batch):
            part = np.ascontiguousarray(pixels[at : at + self.batch])
            count = len(part)
            if count < self.batch:
                part = np.concatenate([part, np.zeros((self.batch - count, *part.shape[1:]), "u1")])
            (found,) = self._request.infer([part], share_inputs=True).values()
            parts.append(found[:count])
        return np.concatenate(parts)


def mark(folder: str) -> None:
    """Leave the present time in a folder."""
    now = time.time()
    Path(folder, f"{now:.6f}").touch()


def first_mark(folder: str) -> float:
    """The earliest of the times that were left there."""
    return min(float(file.name) for file in Path(folder).iterdir())
