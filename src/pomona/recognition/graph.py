"""The whole recogniser as one ONNX file: preprocessing, network, classifier, calibration.

Its input is ``image``, uint8 [h, w, 3], RGB, upright, of any size; its outputs ``probabilities``,
float32 [c], and where it is known ``novelty``, float32 [1]. Names, fruits, thresholds and the
manifest are in the metadata.

The preprocessing is that of :func:`pomona.images.fitting.fit_square`, pixel by pixel: Pillow's
bilinear filter is two matrix products, each rounded to whole numbers, whose weights are computed
in the graph from the image's size. ONNX's own ``Resize`` rounds nothing between its passes, and
not every runtime has its antialiasing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.errors import ModelError
from pomona.images.fitting import PADDING
from pomona.recognition.normalising import SHIFT, TINY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pomona.embedding.network import Network, NetworkSpec
    from pomona.recognition.recogniser import Recogniser

IMAGE, PROBABILITIES, NOVELTY = "image", "probabilities", "novelty"
LABELS, FRUITS, CALIBRATION, ABOUT = "labels", "fruits", "calibration", "manifest"
"""Keys of the metadata, each a JSON text."""

_LEAST_OPSET, _OPSET = 13, 17
_AXES_AS_INPUT = 18
"""From this opset on, ReduceMin takes its axes as an input, as ReduceSum does from 13 on."""
_NETWORK = "network/"
_BITS, _LOW_BITS = 22, 8
"""Bits that Pillow's weights have after the point, and how many of them are multiplied apart."""


class _Graph:
    """Nodes and constants, added one after the other; every call gives the result's name."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._prefix = prefix
        self._count = 0

    def __call__(self, kind: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = result or self._name(kind)
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        name = self._name("constant")
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}/{kind.lower()}{self._count}"


def build_graph(network: Network, recogniser: Recogniser, about: Mapping[str, Any]) -> bytes:
    """The ONNX file of a trained recogniser.

    Args:
        network: whose features the recogniser takes.
        recogniser: of the same dimension.
        about: the manifest that goes along.

    Raises:
        ModelError: the network cannot be made part of a larger graph.
    """
    import onnx
    from onnx import TensorProto, checker, compose, helper

    spec = network.spec
    body, opset = _network(network)
    front = _graph_of(
        _preprocessing(spec),
        "preprocess",
        [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["h", "w", 3])],
        [_input_like(body, _NETWORK + spec.input)],
        opset,
        body.ir_version,
    )
    naming = recogniser.naming
    back = _graph_of(
        _recognition(recogniser, opset),
        "recognise",
        [_features_info(recogniser.dimension)],
        [
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [len(naming.classes)]),
            helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, [1]),
        ],
        opset,
        body.ir_version,
    )
    try:
        joined = compose.merge_models(
            front,
            body,
            io_map=[("pixels", _NETWORK + spec.input)],
            outputs=[_NETWORK + spec.features],
        )
        model = compose.merge_models(joined, back, io_map=[(_NETWORK + spec.features, "features")])
        del model.metadata_props[:]
        helper.set_model_props(model, metadata(naming_facts(recogniser), about))
        model.producer_name = "pomona"
        checker.check_model(model)
    except (ValueError, checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"{spec.name} cannot be exported: {' '.join(str(error).split())[:200]}",
            "Export the network with a batch size that is free, at opset 13 or later.",
        ) from error
    data: bytes = model.SerializeToString()
    return data


def naming_facts(recogniser: Recogniser) -> dict[str, Any]:
    """Labels, fruits and thresholds as they go into the metadata."""
    from dataclasses import asdict

    naming = recogniser.naming
    return {
        LABELS: list(naming.classes),
        FRUITS: list(naming.fruits),
        CALIBRATION: asdict(naming.calibration),
    }


def metadata(facts: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the metadata."""
    return {key: json.dumps(value) for key, value in {**facts, ABOUT: dict(about)}.items()}


def _network(network: Network) -> tuple[Any, int]:
    """The network, its names prefixed, at an opset that the rest can be written in."""
    import onnx
    from onnx import compose, version_converter

    model = onnx.load_model_from_string(network.onnx)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset < _LEAST_OPSET:
        try:
            model = version_converter.convert_version(model, _OPSET)
        except Exception as error:
            raise ModelError(
                f"{network.spec.name} is of opset {opset} and cannot be converted.",
                f"Export it at opset {_LEAST_OPSET} or later.",
            ) from error
        opset = _OPSET
    return compose.add_prefix(model, _NETWORK), opset


def _graph_of(
    graph: _Graph, name: str, inputs: list[Any], outputs: list[Any], opset: int, ir_version: int
) -> Any:
    from onnx import helper

    return helper.make_model(
        helper.make_graph(graph.nodes, name, inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version,
    )


def _input_like(model: Any, name: str) -> Any:
    """The network's input under the name that preprocessing gives to its result."""
    import onnx

    found = next(item for item in model.graph.input if item.name == name)
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(found)
    copy.name = "pixels"
    return copy


def _features_info(dimension: int) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, dimension])


def _preprocessing(spec: NetworkSpec) -> _Graph:
    """From ``image`` to ``pixels`` as the network takes them."""
    from onnx import TensorProto

    g = _Graph("preprocess")
    size, one, three = (g.constant([value], np.int64) for value in (spec.size, 1, 3))
    zero, two = g.constant([0], np.int64), g.constant([2], np.int64)
    shape = g("Shape", IMAGE)
    height, width = g("Slice", shape, zero, one), g("Slice", shape, one, two)
    longer = g("Cast", g("Max", height, width), to=TensorProto.DOUBLE)
    scale = g("Div", g.constant([spec.size], np.float64), longer)

    def scaled(side: str) -> str:
        wanted = g("Round", g("Mul", g("Cast", side, to=TensorProto.DOUBLE), scale))
        whole = g("Cast", wanted, to=TensorProto.INT64)
        return g("Min", size, g("Max", one, whole))

    new_height, new_width = scaled(height), scaled(width)
    pixels = g("Cast", IMAGE, to=TensorProto.FLOAT)
    # Columns first, then rows, as Pillow does; [w, h, 3] and [h, w, 3] seen as matrices.
    turned = g("Transpose", pixels, perm=[1, 0, 2])
    for side, new, other in ((width, new_width, height), (height, new_height, new_width)):
        flat = g("Reshape", turned, g("Concat", side, g("Mul", other, three), axis=0))
        filtered = _filtered(g, flat, side, new)
        turned = g("Reshape", filtered, g("Concat", new, other, three, axis=0))
        if side == width:
            turned = g("Transpose", turned, perm=[1, 0, 2])
    space = (g("Sub", size, new_height), g("Sub", size, new_width))
    before = [g("Div", gap, two) for gap in space]
    after = [g("Sub", gap, first) for gap, first in zip(space, before, strict=True)]
    pads = g("Concat", *before, zero, *after, zero, axis=0)
    square = g("Pad", turned, pads, g.constant(float(PADDING)))
    batch = g("Unsqueeze", square, zero)
    if spec.dtype != "uint8":
        batch = g("Sub", batch, g.constant(spec.mean))
        batch = g("Div", batch, g.constant(spec.scale))
    if spec.layout == "NCHW":
        batch = g("Transpose", batch, perm=[0, 3, 1, 2])
    kinds = {
        "uint8": TensorProto.UINT8,
        "float32": TensorProto.FLOAT,
        "float16": TensorProto.FLOAT16,
    }
    g("Cast", batch, result="pixels", to=kinds[spec.dtype])
    return g


def _filtered(g: _Graph, flat: str, side: str, new: str) -> str:
    """The bilinear filter along the first axis, rounded: [side, m] to [new, m].

    Pillow's weights are whole multiples of 2^-22. The last 8 bits are multiplied apart, so that
    both products are whole numbers which float32 holds exactly (up to 128-fold shrinking), and
    every pixel comes out the same.
    """
    from onnx import TensorProto

    half, one = g.constant(0.5, np.float64), g.constant(1.0, np.float64)
    low = g.constant(2.0**_LOW_BITS, np.float64)
    full = g.constant(2.0**_BITS, np.float64)
    axis = g.constant([1], np.int64)

    def real(count: str) -> str:
        return g("Cast", count, to=TensorProto.DOUBLE)

    def numbers(count: str) -> str:
        return real(
            g("Range", g.constant(0, np.int64), g("Squeeze", count), g.constant(1, np.int64))
        )

    ratio = g("Div", real(side), real(new))
    centres = g("Unsqueeze", g("Mul", g("Add", numbers(new), half), ratio), axis)
    apart = g("Add", g("Sub", numbers(side), centres), half)
    away = g("Abs", g("Mul", apart, g("Div", one, g("Max", one, ratio))))
    weights = g("Max", g.constant(0.0, np.float64), g("Sub", one, away))
    weights = g("Div", weights, g("ReduceSum", weights, axis, keepdims=1))
    whole = g("Floor", g("Add", g("Mul", weights, full), half))
    upper = g("Floor", g("Div", whole, low))
    lower = g("Sub", whole, g("Mul", upper, low))
    sums = [
        real(g("MatMul", g("Cast", part, to=TensorProto.FLOAT), flat)) for part in (upper, lower)
    ]
    total = g("Add", g("Mul", sums[0], low), sums[1])
    pixels = g("Floor", g("Add", g("Div", total, full), half))
    return g("Cast", pixels, to=TensorProto.FLOAT)


def _recognition(recogniser: Recogniser, opset: int) -> _Graph:
    """From ``features`` to ``probabilities`` and ``novelty``; see the modules of each."""
    g = _Graph("recognise")
    classifier, novelty = recogniser.classifier, recogniser.novelty
    magnitude = g("Abs", "features")
    last = g.constant([1], np.int64)
    count = g.constant(recogniser.dimension)
    mean = g("Div", g("ReduceSum", magnitude, last, keepdims=1), count)
    relative = g("Div", magnitude, g("Add", mean, g.constant(TINY)))
    roots = g("Sqrt", g("Add", relative, g.constant(SHIFT)))
    soft = g("Sub", roots, g.constant(np.sqrt(SHIFT)))
    rows = g("Sub", g("Mul", g("Sign", "features"), soft), g.constant(classifier.mean_))

    logits = g(
        "Gemm", rows, g.constant(classifier.coef_), g.constant(classifier.intercept_), transB=1
    )
    scaled = g("Div", logits, g.constant(recogniser.naming.calibration.temperature))
    flat = g.constant([len(recogniser.naming.classes)], np.int64)
    g("Reshape", g("Softmax", scaled, axis=1), flat, result=PROBABILITIES)

    along = g("MatMul", rows, g.constant(novelty.axes_))
    white = g("MatMul", along, g.constant(novelty.whitening_))
    cross = g("MatMul", white, g.constant(-2 * novelty.centres_.T))
    squares = np.einsum("cr,cr->c", novelty.centres_, novelty.centres_)
    distances = g("Add", cross, g.constant(squares))
    if opset < _AXES_AS_INPUT:
        nearest = g("ReduceMin", distances, axes=[1], keepdims=0)
    else:
        nearest = g("ReduceMin", distances, last, keepdims=0)
    own = g("ReduceSum", g("Mul", white, white), last, keepdims=0)
    total = g(
        "ReduceSum",
        g("Mul", g("Mul", along, along), g.constant(novelty.precision_)),
        last,
        keepdims=0,
    )
    g("Sub", g("Add", nearest, own), total, result=NOVELTY)
    return g
