from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pomona.embedding import choosing
from pomona.embedding.catalogue import DEFAULT_MODEL, resolve
from pomona.embedding.choosing import choose, cosine_distances, has_bf16
from pomona.errors import ModelError

_PIXELS = np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3), np.uint8)


def test_what_is_asked_for_is_taken() -> None:
    network = resolve(DEFAULT_MODEL)
    for engine in ("openvino", "onnxruntime"):
        choice = choose(network, _PIXELS, engine=engine, precision="fp32")
        assert (choice.engine, choice.precision) == (engine, "fp32")
        assert choice.dimension == 512
        assert f"{engine} in fp32" in choice.why[0]


def test_auto_says_what_it_measured() -> None:
    choice = choose(resolve(DEFAULT_MODEL), _PIXELS)
    assert "openvino in fp32" in choice.why[0]
    assert "onnxruntime in fp32" in choice.why[0]
    assert ("bf16" in choice.why[0]) == has_bf16()


@pytest.mark.skipif(not has_bf16(), reason="this processor has no bf16")
def test_bf16_is_refused_where_features_move_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "WORST_DISTANCE", -1.0)
    choice = choose(resolve(DEFAULT_MODEL), _PIXELS)
    assert choice.precision == "fp32"
    assert "bf16 is too far" in choice.why[0]


def test_bf16_by_onnxruntime_is_refused() -> None:
    with pytest.raises(ModelError, match="openvino"):
        choose(resolve(DEFAULT_MODEL), _PIXELS, engine="onnxruntime", precision="bf16")


def test_features_that_are_not_finite_are_refused() -> None:
    network = resolve(DEFAULT_MODEL)
    broken = _with_infinite_weights(network.onnx)
    with pytest.raises(ModelError, match="not finite"):
        choose(type(network)(network.spec, broken), _PIXELS, precision="fp32")


def _with_infinite_weights(onnx_bytes: bytes) -> bytes:
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(onnx_bytes)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            values = np.full(tuple(tensor.dims), np.inf, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    found: bytes = model.SerializeToString()
    return found


def test_cosine_distances_of_known_vectors() -> None:
    left = np.array([[1, 0], [1, 1], [0, 0], [1, 0]], np.float32)
    right = np.array([[2, 0], [1, -1], [0, 0], [-1, 0]], np.float32)
    np.testing.assert_allclose(cosine_distances(left, right), [0, 1, 0, 2], atol=1e-12)


def test_a_signal_after_choosing_is_an_interrupt_and_no_crash() -> None:
    code = (
        "import os, signal, time, numpy as np\n"
        "from pomona.embedding.catalogue import DEFAULT_MODEL, resolve\n"
        "from pomona.embedding.choosing import choose\n"
        "for _ in range(2): choose(resolve(DEFAULT_MODEL), np.zeros((4, 96, 96, 3), np.uint8))\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(5)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "interrupted\n")
