"""A network tried where it is asked for, before workers get it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from pomona.embedding.runtime import Engine, open_runtime
from pomona.errors import ModelError

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext

    from pomona.embedding.network import Network
    from pomona.embedding.runtime import Precision


class Tried:
    """A network that has been tried here, and its copy on the workers.

    Attributes:
        asked: what it was asked for by.
        network: with its true dimension.
        engine: that runs it.
    """

    def __init__(self, asked: tuple[Any, ...], network: Network, engine: Engine) -> None:
        self.asked = asked
        self.network = network
        self.engine: Engine = engine
        self._shipped: tuple[SparkContext, Broadcast[Network]] | None = None

    def shipped(self, context: SparkContext) -> Broadcast[Network]:
        """The network on the workers, sent once."""
        if self._shipped is None or self._shipped[0] is not context:
            self._shipped = context, context.broadcast(self.network)
        return self._shipped[1]


def try_network(
    network: Network, asked: tuple[Any, ...], engine: str, precision: Precision
) -> Tried:
    """Run a network on one image here: what runs it, and how many features come out.

    Args:
        network: to try.
        asked: what it was asked for by.
        engine: ``auto`` takes the first that can.
        precision: of its arithmetic.

    Raises:
        ModelError: none can, or what comes out are no features.
    """
    if precision == "bf16" and engine == "onnxruntime":
        raise ModelError(
            "bf16 needs the engine openvino.", "Set engine to auto, or precision fp32."
        )
    candidates: list[Engine] = [name for name in get_args(Engine) if engine in ("auto", name)]
    if precision == "bf16":
        candidates = ["openvino"]
    side = network.spec.size
    failure: ModelError | None = None
    for name in candidates:
        try:
            runtime = open_runtime(network, engine=name, precision=precision, threads=1)
        except ModelError as error:
            failure = failure or error
            continue
        features = runtime.embed(np.zeros((1, side, side, 3), np.uint8))
        if features.ndim != 2:
            raise ModelError(
                f"{network.spec.name} gives features of shape {list(features.shape)}.",
                "Name an output of shape [n, d] in the JSON beside the network.",
            )
        spec = replace(network.spec, dimension=features.shape[1])
        return Tried(asked, replace(network, spec=spec), name)
    assert failure is not None
    raise failure
