"""Choosing what runs the network, by measuring it on images of the run.

bf16 is taken only where the processor computes in it, where it is faster, and where the features
stay close to those of fp32: a mean cosine distance of at most 0.01, and 0.05 for the worst image.
Two unrelated photographs are about 0.5 apart (docs/decisions/0005 has the figures).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pomona.embedding.runtime import Engine, Precision, Runtime, open_runtime
from pomona.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomona.embedding.network import Network

MEAN_DISTANCE = 0.01
"""Largest mean cosine distance between the features of bf16 and of fp32."""
WORST_DISTANCE = 0.05
"""Largest cosine distance of any image."""

_ROUNDS = 3


@dataclass(frozen=True)
class Choice:
    """What will run the network.

    Attributes:
        engine: the library.
        precision: of its arithmetic.
        dimension: length of a feature vector, as it came out.
        why: one sentence a decision, with the figures.
    """

    engine: Engine
    precision: Precision
    dimension: int
    why: tuple[str, ...]


def choose(
    network: Network,
    pixels: NDArray[np.uint8],
    *,
    engine: str = "auto",
    precision: str = "auto",
    original: Network | None = None,
) -> Choice:
    """Decide on engine and precision.

    Args:
        network: to run.
        pixels: uint8 [n, size, size, 3], images of this run (n at least 1).
        engine: ``auto`` or a name.
        precision: ``auto``, or one to keep to. ``int8`` expects the quantised network.
        original: for ``int8`` the network before it was quantised, to say how far it moved.

    Raises:
        ModelError: no engine can run the network, or not at this precision.
    """
    why: list[str] = []
    wanted: list[Engine] = ["openvino", "onnxruntime"]
    if precision == "bf16":
        if engine == "onnxruntime":
            raise ModelError(
                "bf16 needs the engine openvino.", "Leave --engine out, or take --precision fp32."
            )
        wanted = ["openvino"]
    elif engine != "auto":
        wanted = ["openvino" if engine == "openvino" else "onnxruntime"]
    exact: Precision = "int8" if precision == "int8" else "fp32"
    tried = _try_engines(network, pixels, wanted, exact, why)
    best = max(tried, key=lambda name: tried[name].rate)
    dimension = tried[best].features.shape[1]
    rates = " and ".join(f"{t.rate:,.0f} by {name} in {exact}" for name, t in tried.items())
    if precision == "auto" and "openvino" in tried and has_bf16():
        trial, told, good = _weigh_bf16(network, pixels, tried[best])
        if good:
            why.append(
                f"openvino in bf16: {trial.rate:,.0f} images/s on one core here, {rates}; {told}"
            )
            return Choice("openvino", "bf16", dimension, tuple(why))
        why.append(f"not bf16, which is too far from fp32 or not faster here: {told}")
    if precision == "bf16":
        if not has_bf16():
            why.append("bf16 was asked for, though this processor only emulates it")
        return Choice("openvino", "bf16", dimension, tuple(why))
    why.append(f"{best} in {exact}: {rates} images/s on one core here")
    if original is not None:
        exact_runtime = open_runtime(original, engine=best, precision="fp32", threads=1)
        distances = cosine_distances(tried[best].features, _trial(exact_runtime, pixels).features)
        why.append(f"int8 was asked for: {_told(distances)}")
    return Choice(best, exact, dimension, tuple(why))


def has_bf16() -> bool:
    """Whether OpenVINO finds bfloat16 instructions on this processor."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def cosine_distances(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 - cos of the angle between each pair of rows; 0 where both are zero.

    Args:
        left: [n, d].
        right: [n, d].
    """
    a, b = left.astype(np.float64), right.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    cosines = np.einsum("nd,nd->n", a, b) / np.where(norms == 0, 1, norms)
    return np.where(both_zero, 0.0, 1.0 - cosines)


@dataclass(frozen=True)
class _Trial:
    features: NDArray[np.float32]
    rate: float


def _try_engines(
    network: Network,
    pixels: NDArray[np.uint8],
    engines: list[Engine],
    precision: Precision,
    why: list[str],
) -> dict[Engine, _Trial]:
    tried: dict[Engine, _Trial] = {}
    failures: list[ModelError] = []
    for engine in engines:
        try:
            tried[engine] = _trial(
                open_runtime(network, engine=engine, precision=precision, threads=1), pixels
            )
        except ModelError as error:
            failures.append(error)
            why.append(f"engine {engine} left out: {error.what}")
    if not tried:
        raise failures[0]
    for engine, trial in tried.items():
        if trial.features.ndim != 2 or not np.isfinite(trial.features).all():
            raise ModelError(
                f"{network.spec.name} run by {engine} gives features of shape "
                f"{list(trial.features.shape)}, or values that are not finite.",
                "Check the network, and --mean and --scale if its input is float.",
            )
    return tried


def _weigh_bf16(
    network: Network, pixels: NDArray[np.uint8], exact: _Trial
) -> tuple[_Trial, str, bool]:
    """Try bf16; how it went, how far it is from fp32, and whether it is close and faster."""
    trial = _trial(open_runtime(network, engine="openvino", precision="bf16", threads=1), pixels)
    distances = cosine_distances(trial.features, exact.features)
    close = distances.mean() <= MEAN_DISTANCE and distances.max() <= WORST_DISTANCE
    return trial, _told(distances), bool(close and trial.rate > exact.rate)


def _told(distances: NDArray[np.float64]) -> str:
    return f"cosine distance to fp32 {distances.mean():.4f} (worst {distances.max():.4f})"


def _trial(runtime: Runtime, pixels: NDArray[np.uint8]) -> _Trial:
    """Features of all the images, and the best rate of a few rounds over one full batch."""
    features = np.concatenate(
        [
            runtime.embed(np.ascontiguousarray(pixels[at : at + runtime.batch]))
            for at in range(0, len(pixels), runtime.batch)
        ]
    )
    full = np.resize(pixels, (runtime.batch, *pixels.shape[1:]))
    fastest = float("inf")
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        runtime.embed(full)
        fastest = min(fastest, time.perf_counter() - begin)
    return _Trial(features, runtime.batch / fastest)
