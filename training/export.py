"""The trained network as an ONNX file, with a JSON file beside it that says what it is.

The graph is written node by node: it is a plain chain, and a file made this way holds nothing
but the computation (exporters add names of source files).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from network import DIMENSION, SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from network import Network

OPSET = 17
IR_VERSION = 8
DESCRIPTION = (
    "Small convolutional network that embeds photographs of single fruits: eight plain "
    "convolutions, 32 million multiply-adds an image, trained from random weights."
)
TRAINED_ON = (
    "Fruits-360 by H. Muresan and M. Oltean (CC BY-SA 4.0): training half of an early release, "
    "15,506 photographs of 33 classes, less the held-out runs of frames"
)
LICENCE = "Apache-2.0"


def write_network(folded: Network, classes: tuple[str, ...], path: Path) -> None:
    """Writes ``path`` (ONNX) and the JSON file of the same name beside it.

    Args:
        folded: what ``Network.folded`` returned.
        classes: names of the logits, in their order.
        path: ends in ``.onnx``; its stem becomes the name of the network.
    """
    model = as_onnx(folded, classes, path.stem)
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


def as_onnx(folded: Network, classes: tuple[str, ...], name: str) -> onnx.ModelProto:
    """The ONNX model: ``image`` uint8 [n, 100, 100, 3] to ``features`` and ``logits``."""
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
    about = {"labels": json.dumps(list(classes)), "licence": LICENCE, "trained_on": TRAINED_ON}
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
        pad = convolution.kernel_size[0] // 2
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
