"""The networks that go by a name, and how ``--model`` is understood."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from pomona.embedding.network import MAX_BYTES, Network, load_network, read_description
from pomona.errors import ModelError
from pomona.storage import Changed, Location, NotFound, NotPermitted, ReadFailed, open_store

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from pomona.storage import StorageOptions

DEFAULT_MODEL = "pomona-s3"
"""The network that ships with the package (training/README.md says how it was made)."""


def names() -> list[str]:
    """The networks that ship with the package."""
    folder = resources.files("pomona.embedding") / "networks"
    return sorted(
        item.name.removesuffix(".onnx") for item in folder.iterdir() if item.name.endswith(".onnx")
    )


def resolve(
    model: str,
    *,
    size: int | None = None,
    mean: tuple[float, float, float] | None = None,
    scale: tuple[float, float, float] | None = None,
    storage: StorageOptions | None = None,
) -> Network:
    """Load the network that ``--model`` names.

    Args:
        model: a name of the catalogue, or the path or ``s3://`` address of an ONNX file.
        size: side of the image in pixels, for networks that take any.
        mean: of each channel, in pixel units.
        scale: of each channel, in pixel units.
        storage: how S3 is spoken to.

    Raises:
        ModelError: no such name or file, or the file is no image network.
    """
    shipped: Traversable = resources.files("pomona.embedding") / "networks" / f"{model}.onnx"
    if "/" not in model and shipped.is_file():
        with resources.as_file(shipped) as path:
            place, called = Location.parse(path), model
            data, described = _read(place, model)
    else:
        place = Location.parse(model, storage)
        called = place.name.rpartition(".")[0] or place.name
        data, described = _read(place, model)
    return load_network(data, name=called, described=described, size=size, mean=mean, scale=scale)


def _read(place: Location, model: str) -> tuple[bytes, dict[str, Any] | None]:
    """The ONNX file and the JSON beside it."""
    store = open_store(place.parent)
    fix = f"Give the path of an .onnx file, or one of these names: {', '.join(names())}."
    try:
        data = store.read(place.name, limit=MAX_BYTES + 1)
    except NotFound as error:
        raise ModelError(f"There is no network {model}.", fix) from error
    except (NotPermitted, ReadFailed, Changed) as error:
        raise ModelError(f"Cannot read the network {model}: {error}.", fix) from error
    return data, read_description(store, place.name)
