"""What a Spark worker tells of itself: its interpreter, its packages, and one embedded image."""

from __future__ import annotations

import importlib
import os
import platform
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pomona.access.check import one_line

if TYPE_CHECKING:
    from pomona.embedding.runtime import Engine

ENGINES: tuple[Engine, ...] = ("openvino", "onnxruntime")
_SIDE = 100


@dataclass(frozen=True)
class Worker:
    """A worker process, as it sees itself.

    Attributes:
        host: its machine.
        process: its id there.
        interpreter: ``sys.executable``.
        python: its version.
        pomona: version of the package, or why it cannot be imported.
        engines: version of each network runtime that can be imported.
        faults: what did not work, by runtime: the import, or embedding an image.
        dimension: length of the features; 0 where no image could be embedded.
    """

    host: str
    process: int
    interpreter: str
    python: str
    pomona: str
    engines: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    dimension: int = 0


def probe(_payload: object = None) -> Worker:
    """Look at this process; what fails is noted, never raised."""
    from pomona import __version__

    engines: dict[str, str] = {}
    faults: dict[str, str] = {}
    dimension = 0
    for engine in ENGINES:
        try:
            module = importlib.import_module(engine)
            dimension = _embed_one(engine)
        except Exception as error:  # noqa: BLE001 - a broken installation can raise anything
            faults[engine] = one_line(error)
        else:
            engines[engine] = str(module.__version__).split("-")[0]
    return Worker(
        host=socket.gethostname(),
        process=os.getpid(),
        interpreter=sys.executable,
        python=platform.python_version(),
        pomona=__version__,
        engines=engines,
        faults=faults,
        dimension=dimension,
    )


def _embed_one(engine: Engine) -> int:
    """Decode and embed one image with the built-in network; the length of its features.

    Raises:
        ValueError: the features are not finite, or all the same.
    """
    import numpy as np
    import simplejpeg

    from pomona.embedding.catalogue import DEFAULT_MODEL, resolve
    from pomona.embedding.runtime import open_runtime
    from pomona.images.decoding import DecodeLimits, decode
    from pomona.images.fitting import fit_square

    ramp = np.linspace(0, 255, _SIDE, dtype=np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], ramp[::-1, None]), axis=-1)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture))
    network = resolve(DEFAULT_MODEL)
    side = network.spec.size
    image = decode(jpeg, wanted=side, limits=DecodeLimits())
    square = np.empty((1, side, side, 3), np.uint8)
    fit_square(image.pixels, square[0])
    features = open_runtime(network, engine=engine, precision="fp32", threads=1).embed(square)[0]
    if not np.isfinite(features).all() or float(np.ptp(features)) == 0.0:
        raise ValueError("the network gives no usable features here")
    return len(features)
