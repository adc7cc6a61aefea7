"""Model files, good, odd and broken; the odd ones are built here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from pomona.embedding.catalogue import DEFAULT_MODEL, resolve
from pomona.embedding.network import load_network
from pomona.embedding.runtime import open_runtime
from pomona.errors import ModelError


def _network(
    dtype: int = TensorProto.FLOAT,
    shape: tuple[Any, ...] = ("n", 3, 32, 32),
    outputs: tuple[str, ...] = ("features",),
    width: int = 5,
) -> onnx.ModelProto:
    """A network that means each channel and multiplies by a matrix."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    weights = np.random.default_rng(1).normal(size=(3, width)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=axes, keepdims=0),
        *(helper.make_node("MatMul", ["m", "w"], [name]) for name in outputs),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, ("n", width)) for o in outputs],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _load(model: onnx.ModelProto, described: dict[str, Any] | None = None, **options: Any) -> Any:
    return load_network(model.SerializeToString(), name="net", described=described, **options)


@pytest.mark.parametrize(
    ("dtype", "shape", "options"),
    [
        (TensorProto.FLOAT, ("n", 3, 32, 32), {}),
        (TensorProto.FLOAT, ("n", 32, 32, 3), {}),
        (TensorProto.UINT8, ("n", 32, 32, 3), {}),
        (TensorProto.UINT8, ("n", 3, 32, 32), {}),
        (TensorProto.FLOAT16, ("n", 3, 32, 32), {}),
        (TensorProto.FLOAT, ("n", 3, "h", "w"), {"size": 32}),
        (TensorProto.FLOAT, ("n", "h", "w", 3), {"size": 32}),
        (TensorProto.FLOAT, ("n", 3, 32, 32), {"mean": (120, 110, 100), "scale": (58, 57, 59)}),
    ],
)
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_every_documented_input_is_fed_as_documented(
    dtype: int, shape: tuple[Any, ...], options: dict[str, Any], engine: Any
) -> None:
    model = _network(dtype, shape)
    network = _load(model, **options)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = open_runtime(network, engine=engine, precision="fp32", threads=1).embed(pixels)
    values = pixels.astype(np.float64)
    if dtype != TensorProto.UINT8:
        mean = np.array(options.get("mean", (0, 0, 0)))
        values = (values - mean) / np.array(options.get("scale", (255, 255, 255)))
    weights = numpy_helper.to_array(model.graph.initializer[0])
    expected = values.mean(axis=(1, 2)) @ weights
    tolerance = 2e-3 if dtype == TensorProto.FLOAT16 else 1e-4
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 300)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"a text that is no network", "not an ONNX network"),
        (bytes(1000), "not an ONNX network"),
        (_network().SerializeToString()[:60], "not an ONNX network"),
    ],
)
def test_what_is_no_network_is_said_to_be_none(data: bytes, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        load_network(data, name="net")


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        (_network(shape=("n", 3, 32, 48)), {}, "32 x 48"),
        (_network(shape=("n", 1, 32, 32)), {}, "no dimension of 3"),
        (_network(TensorProto.INT64), {}, "takes no images"),
        (_network(outputs=("a", "b")), {}, "2 outputs"),
        (_network(), {"size": 64}, "32 px only"),
        (_network(), {"scale": (1.0, 0.0, 1.0)}, "divides by zero"),
        (_network(), {"described": {"features": "absent"}}, "no features 'absent'"),
        (_network(), {"described": {"input": "absent"}}, "no input 'absent'"),
        (_network(), {"described": {"layout": "CHWN"}}, "layout 'CHWN'"),
        (_network(), {"described": {"mean": [1, 2]}}, "not three numbers"),
        (_network(), {"described": {"size": "large"}}, "'size' that is no int"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    model: onnx.ModelProto, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ModelError, match=told) as caught:
        _load(model, **options)
    assert caught.value.fix


def test_weights_in_other_files_are_not_followed(tmp_path: Path) -> None:
    model = _network()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(60))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret.bin"), ("offset", "0"), ("length", "60")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    with pytest.raises(ModelError, match="other files"):
        _load(model)


def test_the_json_beside_a_file_describes_it(tmp_path: Path) -> None:
    onnx.save(_network(outputs=("a", "b")), tmp_path / "net.onnx")
    (tmp_path / "net.json").write_text(json.dumps({"features": "b", "name": "mine", "size": 32}))
    network = resolve(str(tmp_path / "net.onnx"))
    assert (network.spec.name, network.spec.features) == ("mine", "b")
    (tmp_path / "net.json").write_text("{")
    with pytest.raises(ModelError, match=r"net\.json"):
        resolve(str(tmp_path / "net.onnx"))


def test_the_identity_changes_with_whatever_changes_the_features() -> None:
    base = _load(_network(shape=("n", 3, "h", "w")), size=32)
    others = [
        _load(_network(shape=("n", 3, "h", "w"), width=6), size=32),
        _load(_network(shape=("n", 3, "h", "w")), size=64),
        _load(_network(shape=("n", 3, "h", "w")), size=32, mean=(1.0, 1.0, 1.0)),
    ]
    identities = {net.spec.identity("fp32") for net in (base, *others)}
    identities.add(base.spec.identity("bf16"))
    assert len(identities) == 5
    again = _load(_network(shape=("n", 3, "h", "w")), size=32)
    assert again.spec.identity("fp32") in identities


def test_the_built_in_network_equals_plain_onnx_runtime() -> None:
    network = resolve(DEFAULT_MODEL)
    pixels = np.random.default_rng(3).integers(0, 256, (20, 96, 96, 3), np.uint8)
    session = ort.InferenceSession(network.onnx, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["features"], {"image": pixels})
    for engine in ("openvino", "onnxruntime"):
        runtime = open_runtime(network, engine=engine, precision="fp32", threads=1)
        found = np.concatenate([runtime.embed(pixels[at : at + 16]) for at in (0, 16)])
        np.testing.assert_allclose(found, expected, atol=1e-3)
