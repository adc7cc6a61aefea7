"""The one file that holds the whole recogniser of an OUTPUT, and the network that it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pomona.embedding.catalogue import resolve
from pomona.errors import ModelError, PomonaError
from pomona.ledger import newest_ledger
from pomona.recognition.graph import build_graph
from pomona.recognition.saving import load_recogniser
from pomona.storage import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pomona.embedding.network import Network
    from pomona.storage import Store

_TOLD = (
    "model", "run", "features_version", "split", "images", "penalty", "validation", "versions",
    "sha256",
)  # fmt: skip


def export(output: Store, asked: Mapping[str, Any]) -> bytes:
    """Build the ONNX file of the classifier of OUTPUT.

    Args:
        output: where the models are.
        asked: ``model``, ``size``, ``mean`` and ``scale`` of the present settings.

    Raises:
        RecognitionError: there is no classifier.
        ModelError: its network is not to be found, or cannot be exported.
    """
    recogniser, manifest = load_recogniser(output)
    network = network_of(output, str(manifest["model"]), asked)
    about = {name: manifest[name] for name in _TOLD if name in manifest}
    return build_graph(network, recogniser, {**about, "size": network.spec.size})


def network_of(output: Store, identity: str, asked: Mapping[str, Any]) -> Network:
    """The network whose features have an identity.

    The one that is asked for is tried, then the one that the newest embedding run named.

    Raises:
        ModelError: neither is the network of these features.
    """
    precision = identity.rpartition("-")[2]
    ledger = newest_ledger(output, step="embed", model=identity) or {}
    for settings in (asked, ledger.get("settings") or {}):
        try:
            network = resolve(
                str(settings["model"]),
                size=settings.get("size"),
                mean=_triple(settings.get("mean")),
                scale=_triple(settings.get("scale")),
            )
        except (PomonaError, KeyError):
            continue
        if network.spec.identity(precision) != identity:
            continue
        if precision == "int8":
            try:
                return replace(network, onnx=output.read(f"models/network/{identity}.onnx"))
            except NotFound:
                continue
        return network
    raise ModelError(
        f"The network of these features, {identity}, is not to be found.",
        "Give it: --model NAME|FILE, with --size, --mean and --scale as when they were made.",
    )


def _triple(value: Any) -> tuple[float, float, float] | None:
    if value is None:
        return None
    return float(value[0]), float(value[1]), float(value[2])
