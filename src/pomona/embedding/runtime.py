"""Running a network: one interface over OpenVINO and ONNX Runtime."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from pomona.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pomona.embedding.network import Network, NetworkSpec

Engine = Literal["openvino", "onnxruntime"]
Precision = Literal["fp32", "bf16", "int8"]

_BATCH_BYTES = 1 << 20
"""Pixels of one batch: what keeps the activations of a small network in the cache."""


class Runtime(Protocol):
    """A network ready to run in this process.

    Attributes:
        batch: images that :meth:`embed` takes at most.
    """

    batch: int

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of a batch.

        Args:
            pixels: uint8 [n, size, size, 3], RGB, n at most ``batch``, C-contiguous.

        Returns:
            float32 [n, dimension]; the caller may keep it.
        """


def batch_for(size: int) -> int:
    """Images a batch for a side of ``size`` pixels: a power of two from 4 to 32."""
    fitting = _BATCH_BYTES // (size * size * 3)
    return max(4, min(32, 1 << max(0, fitting.bit_length() - 1)))


def open_runtime(
    network: Network, *, engine: Engine, precision: Precision, threads: int
) -> Runtime:
    """Compile a network for this process.

    Args:
        network: the ONNX bytes and how to feed them; for ``int8`` they are quantised already.
        engine: which library runs it.
        precision: bf16 asks for bfloat16 arithmetic (OpenVINO alone has it).
        threads: cores that it may use.

    Raises:
        ModelError: the library cannot run this network.
    """
    kind = _OpenVino if engine == "openvino" else _OnnxRuntime
    try:
        return kind(network, precision, threads)
    except Exception as error:
        raise ModelError(
            f"{engine} cannot run {network.spec.name}: {' '.join(str(error).split())[:200]}",
            "Try the other engine (--engine), or export the network with a lower opset.",
        ) from error


_shared: dict[tuple[str, Engine, Precision, int], Runtime] = {}
"""The network of this worker process: loaded once, used by every task it runs."""


def shared_runtime(
    spec: NetworkSpec,
    network: Callable[[], Network],
    engine: Engine,
    precision: Precision,
    threads: int,
) -> Runtime:
    """The compiled network of this process; another one takes its place.

    Args:
        spec: says which network.
        network: fetches it, where it is not loaded yet.
        engine: which library runs it.
        precision: of its arithmetic.
        threads: cores that it may use.

    Raises:
        ModelError: the library cannot run this network.
    """
    key = (spec.identity(precision), engine, precision, threads)
    if key not in _shared:
        _shared.clear()
        _shared[key] = open_runtime(network(), engine=engine, precision=precision, threads=threads)
    return _shared[key]


@functools.cache
def openvino_core() -> Any:
    """OpenVINO, once per process and for as long as it lives.

    Its processor plugin gives the main thread a stack for signals and frees it when the plugin
    goes; with a second instance the thread is left with a stack that is gone, and the next signal
    (Ctrl-C) ends the process with a segmentation fault.
    """
    import openvino as ov

    return ov.Core()


class _OpenVino:
    """One infer request over a fixed batch shape; short batches are padded."""

    def __init__(self, network: Network, precision: Precision, threads: int) -> None:
        import openvino as ov

        spec = network.spec
        self.batch = batch_for(spec.size)
        core = openvino_core()
        whole = core.read_model(network.onnx, b"")
        # Without the outputs that nobody asks for: the names of ImageNet are 4 % of a MobileNetV2.
        model = ov.Model([whole.output(spec.features)], whole.get_parameters(), spec.name)
        sides = [spec.size, spec.size]
        dims = [*sides, 3] if spec.layout == "NHWC" else [3, *sides]
        model.reshape({spec.input: [self.batch, *dims]})
        compiled = core.compile_model(
            _with_preprocessing(model, spec),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._request = compiled.create_infer_request()
        self._output = compiled.output(spec.features)
        self._padded = np.zeros((self.batch, spec.size, spec.size, 3), np.uint8)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(pixels)
        if count < self.batch:
            self._padded[:count] = pixels
            pixels = self._padded
        result = self._request.infer([pixels], share_inputs=True, share_outputs=True)
        features: NDArray[np.float32] = result[self._output][:count].astype(np.float32, copy=True)
        return features


def _with_preprocessing(model: Any, spec: NetworkSpec) -> Any:
    """Let the graph itself turn uint8 NHWC into what the network takes."""
    if spec.dtype == "uint8" and spec.layout == "NHWC":
        return model
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    image = steps.input(spec.input)
    image.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    image.model().set_layout(ov.Layout(spec.layout))
    if spec.dtype != "uint8":
        image.preprocess().convert_element_type(ov.Type.f32)
        image.preprocess().mean(list(spec.mean)).scale(list(spec.scale))
    return steps.build()


class _OnnxRuntime:
    """One session; the input is prepared in numpy."""

    def __init__(self, network: Network, precision: Precision, threads: int) -> None:
        import onnxruntime as ort

        if precision == "bf16":
            raise ValueError("it has no bfloat16 on processors")
        self._spec = network.spec
        self.batch = batch_for(self._spec.size)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            network.onnx, options, providers=["CPUExecutionProvider"]
        )

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        spec = self._spec
        (features,) = self._session.run([spec.features], {spec.input: network_input(spec, pixels)})
        return np.asarray(features, np.float32)


def network_input(spec: NetworkSpec, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """Pixels as the network's input takes them.

    Args:
        spec: of the network.
        pixels: uint8 [n, size, size, 3].
    """
    values: NDArray[Any] = pixels
    if spec.dtype != "uint8":
        mean, scale = np.asarray(spec.mean, np.float32), np.asarray(spec.scale, np.float32)
        values = ((pixels.astype(np.float32) - mean) / scale).astype(spec.dtype, copy=False)
    if spec.layout == "NCHW":
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values
