"""Choosing what runs the network, by measuring it on images of the run.

bf16 is taken only where the processor computes in it, where it is faster, and where the features
stay close to those of fp32: a mean cosine distance of at most 0.01, and 0.05 for the worst image.
Two unrelated photographs are about 0.5 apart (docs/decisions/0005 has the figures).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from pomona.embedding.runtime import Engine, Precision, Runtime, open_runtime, openvino_core
from pomona.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomona.embedding.network import Network

MEAN_DISTANCE = 0.01
"""Largest mean cosine distance between the features of bf16 and of fp32."""
WORST_DISTANCE = 0.05
"""Largest cosine distance of any image."""

_SECONDS = 0.4
"""Time for measuring, in all; every candidate gets at least three rounds."""


Candidate = tuple[Engine, Precision]


@dataclass(frozen=True)
class Choice:
    """What will run the network.

    Attributes:
        engine: the library.
        precision: of its arithmetic.
        dimension: length of a feature vector, as it came out.
        rate: images a second on one core of this machine.
        why: one sentence a decision, with the figures.
    """

    engine: Engine
    precision: Precision
    dimension: int
    rate: float
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
    if precision == "bf16" and engine == "onnxruntime":
        raise ModelError(
            "bf16 needs the engine openvino.", "Leave --engine out, or take --precision fp32."
        )
    names: list[Engine] = [name for name in get_args(Engine) if engine in ("auto", name)]
    bf16: Candidate = ("openvino", "bf16")
    exact: Precision = "int8" if precision == "int8" else "fp32"
    candidates: list[Candidate] = [] if precision == "bf16" else [(name, exact) for name in names]
    if precision == "bf16" or (precision == "auto" and "openvino" in names and has_bf16()):
        candidates.append(bf16)
    why: list[str] = []
    trials = _try(network, pixels, candidates, why)
    best = max((c for c in trials if c != bf16), key=lambda c: trials[c].rate, default=bf16)
    rates = ", ".join(f"{n} in {p} {trial.rate:,.0f}" for (n, p), trial in trials.items())
    if bf16 in trials and best != bf16:
        distances = cosine_distances(trials[bf16].features, trials[best].features)
        close = distances.mean() <= MEAN_DISTANCE and distances.max() <= WORST_DISTANCE
        if close and trials[bf16].rate > trials[best].rate:
            best = bf16
            rates += f"; {_told('bf16', distances)}"
        else:
            problem = "not faster here" if close else f"too far: {_told('bf16', distances)}"
            rates += f"; bf16 is {problem}"
    if original is not None:
        exact_runtime = open_runtime(original, engine=best[0], precision="fp32", threads=1)
        moved = cosine_distances(trials[best].features, _features(exact_runtime, pixels))
        rates += f"; {_told('int8', moved)}"
    why.insert(0, f"{best[0]} in {best[1]} (images/s on one core here: {rates})")
    return Choice(*best, trials[best].features.shape[1], trials[best].rate, tuple(why))


def has_bf16() -> bool:
    """Whether OpenVINO finds bfloat16 instructions on this processor."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


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


@dataclass
class _Trial:
    features: NDArray[np.float32]
    rate: float


def _try(
    network: Network, pixels: NDArray[np.uint8], candidates: list[Candidate], why: list[str]
) -> dict[Candidate, _Trial]:
    """Features and rate of every candidate that can run the network.

    Raises:
        ModelError: none can, or what comes out are no features.
    """
    runtimes: dict[Candidate, Runtime] = {}
    failures: list[ModelError] = []
    for engine, precision in candidates:
        try:
            runtimes[engine, precision] = open_runtime(
                network, engine=engine, precision=precision, threads=1
            )
        except ModelError as error:
            failures.append(error)
            why.append(f"without {engine}: {error.what}")
    if not runtimes:
        raise failures[0]
    trials = {c: _Trial(_features(runtime, pixels), 0.0) for c, runtime in runtimes.items()}
    for (engine, _), trial in trials.items():
        if trial.features.ndim != 2 or not np.isfinite(trial.features).all():
            raise ModelError(
                f"{network.spec.name} run by {engine} gives features of shape "
                f"{list(trial.features.shape)}, or values that are not finite.",
                "Check the network, and --mean and --scale if its input is float.",
            )
    _measure(runtimes, pixels, trials)
    return trials


def _measure(
    runtimes: dict[Candidate, Runtime],
    pixels: NDArray[np.uint8],
    trials: dict[Candidate, _Trial],
) -> None:
    """The best rate of each over full batches, in turns, so that other load hits all alike."""
    until = time.perf_counter() + _SECONDS
    rounds = 0
    while rounds < 3 or time.perf_counter() < until:
        for candidate, runtime in runtimes.items():
            full = np.resize(pixels, (runtime.batch, *pixels.shape[1:]))
            begin = time.perf_counter()
            runtime.embed(full)
            rate = runtime.batch / (time.perf_counter() - begin)
            trials[candidate].rate = max(trials[candidate].rate, rate)
        rounds += 1


def _features(runtime: Runtime, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    batches = range(0, len(pixels), runtime.batch)
    return np.concatenate(
        [runtime.embed(np.ascontiguousarray(pixels[at : at + runtime.batch])) for at in batches]
    )


def _told(precision: str, distances: NDArray[np.float64]) -> str:
    return (
        f"cosine distance of {precision} to fp32 {distances.mean():.4f} "
        f"(worst {distances.max():.4f})"
    )
