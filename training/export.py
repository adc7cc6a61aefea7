"""The trained network as an ONNX file, with a JSON file beside it that says what it is.

    python training/export.py --checkpoint out/checkpoint.pt --views views-1 --output out

writes ``pomona-s3.onnx`` and ``pomona-s3.json``, and prints the largest difference between the
trained network and the file (see ``verify.py``). A checkpoint of training under way will do.

The graph is written node by node: it is a plain chain, and a file made this way holds nothing
but the computation (exporters add names of source files).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from calibrating import calibration
from network import DIMENSION, SIZE, Network
from validation import read_validation
from verify import verify

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 17
IR_VERSION = 8
DESCRIPTION = (
    "Small convolutional network that embeds photographs of fruit: eight plain convolutions, 48 "
    "million multiply-adds an image, trained from random weights, taught by MobileNetV2."
)
TRAINED_ON = (
    "training parts of Fruits-360 (H. Muresan and M. Oltean, CC BY-SA 4.0), of the Grocery Store "
    "Dataset (M. Klasson et al., MIT) and of Tiny ImageNet (Stanford CS231n, research use), less "
    "what is held out; features of MobileNetV2 with ImageNet weights (Apache-2.0) as a target"
)
LICENCE = "Apache-2.0"
NAME = "pomona-s3"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write a checkpoint as ONNX.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--views", type=Path, required=True, help="what views.py wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    saved = torch.load(options.checkpoint, weights_only=True)
    network = Network(len(saved["kinds"]))
    network.load_state_dict(saved["average"])
    network.eval()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{NAME}.onnx"
    images, kinds = read_validation(options.views, tuple(saved["kinds"])).sets["grocery"]
    with torch.inference_mode():
        logits = network(torch.from_numpy(images)).logits.numpy()
    write_network(network.folded(), tuple(saved["kinds"]), calibration(logits, kinds), path)
    difference = verify(network, path, images)
    print(json.dumps({"file": path.name, "largest_difference": difference}))


def write_network(
    folded: Network, classes: tuple[str, ...], sureness: dict[str, float], path: Path
) -> None:
    """Writes ``path`` (ONNX) and the JSON file of the same name beside it.

    Args:
        folded: what ``Network.folded`` returned.
        classes: names of the logits, in their order.
        sureness: what ``calibration`` returned.
        path: ends in ``.onnx``; its stem becomes the name of the network.
    """
    model = as_onnx(folded, classes, sureness, path.stem)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    path.write_bytes(content)
    card = {
        "name": path.stem,
        "input": "image",
        "dtype": "uint8",
        "layout": "NHWC",
        "size": SIZE,
        "features": "features",
        "logits": "logits",
        "dimension": DIMENSION,
        "sha256": hashlib.sha256(content).hexdigest(),
        "description": DESCRIPTION,
        "licence": LICENCE,
        "trained_on": TRAINED_ON,
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")


def as_onnx(
    folded: Network, classes: tuple[str, ...], sureness: dict[str, float], name: str
) -> onnx.ModelProto:
    """The ONNX model: ``image`` uint8 [n, 96, 96, 3] to ``features`` and ``logits``."""
    chain = _Chain("image")
    chain.add("Transpose", perm=[0, 3, 1, 2])
    chain.add("Cast", to=TensorProto.FLOAT)
    chain.subtract_from(255.0)
    # The division by 64 of Network.features, moved into the weights: exact, a power of two.
    scale = 1.0 / 64.0
    for block in folded.body:
        convolution, _ = block
        chain.convolve(convolution, scale)
        chain.add("Relu")
        scale = 1.0
    chain.add("GlobalAveragePool")
    chain.add("Flatten", output="features")
    chain.classify(folded.classifier, "logits")
    graph = helper.make_graph(
        chain.nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", DIMENSION]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(classes)]),
        ],
        chain.constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="pomona",
    )
    about = {
        "labels": json.dumps(list(classes)),
        "calibration": json.dumps(sureness),
        "licence": LICENCE,
        "trained_on": TRAINED_ON,
    }
    helper.set_model_props(model, about)
    return model


class _Chain:
    """Nodes of which each takes what the one before gives."""

    def __init__(self, start: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._last = start

    def add(self, kind: str, *constants: str, output: str = "", **attributes: Any) -> None:
        """Appends a node; its inputs are the last output and the named constants."""
        self._append(kind, [self._last, *constants], output, attributes)

    def subtract_from(self, value: float) -> None:
        """Appends value - x."""
        constant = onnx.helper.make_tensor("white", TensorProto.FLOAT, [], [value])
        self.constants.append(constant)
        self._append("Sub", ["white", self._last], "", {})

    def convolve(self, convolution: nn.Conv2d, scale: float) -> None:
        """Appends a convolution whose weights are multiplied by ``scale``."""
        number = len(self.nodes)
        assert convolution.bias is not None
        weight = self._constant(f"weight_{number}", convolution.weight * scale)
        bias = self._constant(f"bias_{number}", convolution.bias)
        pad = int(convolution.padding[0])
        self.add("Conv", weight, bias, strides=list(convolution.stride), pads=[pad] * 4)

    def classify(self, linear: nn.Linear, output: str) -> None:
        """Appends the classifier."""
        weight = self._constant("classifier_weight", linear.weight)
        bias = self._constant("classifier_bias", linear.bias)
        self.add("Gemm", weight, bias, output=output, transB=1)

    def _constant(self, name: str, values: Tensor) -> str:
        self.constants.append(numpy_helper.from_array(values.detach().contiguous().numpy(), name))
        return name

    def _append(self, kind: str, inputs: list[str], output: str, attributes: Any) -> None:
        number = len(self.nodes)
        output = output or f"{kind.lower()}_{number}"
        node = helper.make_node(kind, inputs, [output], f"{kind}_{number}", **attributes)
        self.nodes.append(node)
        self._last = output


if __name__ == "__main__":
    main()
