"""Whether the ONNX file computes what the trained network computes, and what bf16 makes of it.

    python training/verify.py --network out/pomona-s3.onnx --views views

needs no checkpoint: it prints, for the held-out photographs of each data set, how far ONNX Runtime
and OpenVINO are apart in fp32, and how far OpenVINO in bf16 is from fp32.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from engines import in_batches, onnxruntime_engine, openvino_engine

if TYPE_CHECKING:
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


def precisions(path: Path, images: Pixels) -> dict[str, float]:
    """How far apart the engines are, and bf16 from fp32.

    Args:
        path: the ONNX file.
        images: uint8 [n, 96, 96, 3].

    Returns:
        The largest difference of any feature or logit between ONNX Runtime and OpenVINO in fp32;
        of the features in bf16 the length of the error as a share of their own length, in the
        median and at worst; the largest difference of a logit in bf16; the share of the images
        that keep their name in bf16.
    """
    exact = in_batches(onnxruntime_engine(path), images)
    single = in_batches(openvino_engine(path, "f32"), images)
    rough = in_batches(openvino_engine(path, "bf16"), images)
    gaps = [float(np.abs(a - b).max()) for a, b in zip(exact, single, strict=True)]
    errors = np.linalg.norm(rough[0] - exact[0], axis=1) / np.linalg.norm(exact[0], axis=1)
    return {
        "images": len(images),
        "fp32, between engines": max(gaps),
        "bf16, features, median": round(float(np.median(errors)), 5),
        "bf16, features, worst": round(float(errors.max()), 5),
        "bf16, logits, worst": round(float(np.abs(rough[1] - exact[1]).max()), 4),
        "bf16, same name": round(float((rough[1].argmax(1) == exact[1].argmax(1)).mean()), 4),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Compare engines and precisions.")
    parser.add_argument("--network", type=Path, required=True, help="ONNX file")
    parser.add_argument("--views", type=Path, required=True, help="what views.py wrote")
    options = parser.parse_args()
    for file in sorted(options.views.glob("held-out-*.npz")):
        with np.load(file) as saved:
            found = precisions(options.network, saved["images"])
        print(json.dumps({"photographs": file.stem.removeprefix("held-out-")} | found))


if __name__ == "__main__":
    main()
