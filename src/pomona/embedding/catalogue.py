"""The networks that go by a name, and how ``--model`` is understood."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pomona.embedding.network import Network, load_network, read_description
from pomona.errors import ModelError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

DEFAULT_MODEL = "pomona-s1"
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
) -> Network:
    """Load the network that ``--model`` names.

    Args:
        model: a name of the catalogue, or the path of an ONNX file.
        size: side of the image in pixels, for networks that take any.
        mean: of each channel, in pixel units.
        scale: of each channel, in pixel units.

    Raises:
        ModelError: no such name or file, or the file is no image network.
    """
    shipped: Traversable = resources.files("pomona.embedding") / "networks" / f"{model}.onnx"
    if "/" not in model and shipped.is_file():
        with resources.as_file(shipped) as path:
            return load_network(
                path.read_bytes(),
                name=model,
                described=read_description(path),
                size=size,
                mean=mean,
                scale=scale,
            )
    path = Path(model).expanduser()
    fix = f"Give the path of an .onnx file, or one of these names: {', '.join(names())}."
    if not path.exists():
        raise ModelError(f"There is no network {model}.", fix)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read the network {model}: {error.strerror}.", fix) from error
    return load_network(
        data,
        name=path.stem,
        described=read_description(path),
        size=size,
        mean=mean,
        scale=scale,
    )
