"""Whether the ONNX file computes what the trained network computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from engines import onnxruntime_engine, openvino_engine

if TYPE_CHECKING:
    from pathlib import Path

    from data import Pixels
    from network import Network

TOLERANCE = 1e-4
BATCHES = (1, 7, 64)


def verify(network: Network, path: Path, images: Pixels) -> float:
    """Compares ``network`` with the file under ONNX Runtime and OpenVINO, in fp32.

    Args:
        network: the network in its training form.
        path: the ONNX file.
        images: uint8 [n, 96, 96, 3], at least 64 of them.

    Returns:
        The largest absolute difference of any feature or logit.

    Raises:
        ValueError: that difference is above ``TOLERANCE``.
    """
    engines = (onnxruntime_engine(path), openvino_engine(path, "f32"))
    worst = 0.0
    for size in BATCHES:
        batch = images[:size]
        with torch.inference_mode():
            wanted = [output.numpy() for output in network.eval()(torch.from_numpy(batch))]
        for engine in engines:
            for values, expected in zip(engine(batch), wanted, strict=True):
                worst = max(worst, float(np.abs(values - expected).max()))
    if worst > TOLERANCE:
        raise ValueError(f"{path} differs from the trained network by {worst:.2g}")
    return worst
