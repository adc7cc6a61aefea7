"""What is known of a network before it runs: its bytes, its input, its outputs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from pomona.errors import ModelError
from pomona.storage import Changed, NotFound, NotPermitted, ReadFailed

if TYPE_CHECKING:
    from pomona.storage import Store

Layout = Literal["NHWC", "NCHW"]
PixelType = Literal["uint8", "float32", "float16"]

MAX_BYTES = 1 << 30
"""Of an ONNX file."""
_DEFAULT_SIZE = 224
_ONNX_TYPES: dict[int, PixelType] = {1: "float32", 2: "uint8", 10: "float16"}
_SPEC_KEYS = {
    "input": str,
    "features": str,
    "layout": str,
    "dtype": str,
    "size": int,
    "mean": list,
    "scale": list,
    "name": str,
}


@dataclass(frozen=True)
class NetworkSpec:
    """How an ONNX image network is fed and read.

    Attributes:
        name: for people, and the first part of the model's identity.
        sha256: of the ONNX file.
        input: name of the image input, [n, size, size, 3] or [n, 3, size, size], RGB.
        dtype: what the input takes.
        layout: order of the input's dimensions.
        size: side of the square image, in pixels.
        features: name of the output that is the embedding, float [n, dimension].
        dimension: its length.
        mean: subtracted from each channel, in pixel units (0 to 255); unused for uint8.
        scale: each channel is divided by it afterwards; unused for uint8.
    """

    name: str
    sha256: str
    input: str
    dtype: PixelType
    layout: Layout
    size: int
    features: str
    dimension: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (255.0, 255.0, 255.0)

    def identity(self, precision: str) -> str:
        """The value of the ``model`` column: whatever changes the features changes it."""
        recipe = {k: v for k, v in asdict(self).items() if k not in ("name", "dimension")}
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.name}-{digest}@{self.size}px-{precision}"


@dataclass(frozen=True)
class Network:
    """An ONNX file in memory and what is known of it."""

    spec: NetworkSpec
    onnx: bytes


def load_network(
    onnx_bytes: bytes,
    *,
    name: str,
    described: dict[str, Any] | None = None,
    size: int | None = None,
    mean: tuple[float, float, float] | None = None,
    scale: tuple[float, float, float] | None = None,
) -> Network:
    """Look at an ONNX file and find out how to feed it.

    Args:
        onnx_bytes: the file.
        name: what to call it in messages and in the ``model`` column.
        described: the JSON beside the file, which names what the file leaves open.
        size: side of the image for a network that takes any size.
        mean: overrides the described mean.
        scale: overrides the described scale.

    Raises:
        ModelError: broken, not a network, not an image network, or not of the size asked for.
    """
    described = _checked(described or {}, name)
    graph = _parse(onnx_bytes, name).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {item.name: item for item in graph.input if item.name not in weights}
    outputs = {item.name: item for item in graph.output}
    image = _choose(inputs, described.get("input"), "input", name)
    shape = _shape(image)
    dtype = _ONNX_TYPES.get(image.type.tensor_type.elem_type)
    if len(shape) != 4 or dtype is None:
        raise ModelError(
            f"{name} takes no images: its input {image.name!r} has {len(shape)} dimensions.",
            "Give a network whose input is uint8 or float, [n, h, w, 3] or [n, 3, h, w].",
        )
    layout = _layout(shape, described.get("layout"), name)
    fixed = shape[1:3] if layout == "NHWC" else shape[2:4]
    side = _side(fixed, size, described.get("size"), name)
    output = _features_output(outputs, described.get("features"), name)
    dimension = _shape(output)[1]
    spec = NetworkSpec(
        name=str(described.get("name", name)),
        sha256=hashlib.sha256(onnx_bytes).hexdigest(),
        input=image.name,
        dtype=dtype,
        layout=layout,
        size=side,
        features=output.name,
        dimension=dimension or 0,
    )
    spec = replace(
        spec,
        mean=mean or _triple(described.get("mean"), spec.mean, "mean", name),
        scale=scale or _triple(described.get("scale"), spec.scale, "scale", name),
    )
    if 0.0 in spec.scale:
        raise ModelError(f"{name}: a scale of 0 divides by zero.", "Give three numbers above 0.")
    return Network(spec, onnx_bytes)


def read_description(store: Store, network: str) -> dict[str, Any] | None:
    """The JSON beside an ONNX file (same name, ``.json``), or None if there is none.

    Args:
        store: where both lie.
        network: key of the ONNX file.

    Raises:
        ModelError: it is no JSON object, or cannot be read.
    """
    key = (network.rpartition(".")[0] or network) + ".json"
    beside = f"{store.root}/{key}"
    try:
        found = json.loads(store.read(key))
    except NotFound:
        return None
    except (NotPermitted, ReadFailed, Changed, ValueError) as error:
        raise ModelError(
            f"{beside} is not readable JSON: {error}.", "Mend or remove it."
        ) from error
    if not isinstance(found, dict):
        raise ModelError(f"{beside} is not a JSON object.", "Mend or remove it.")
    return found


def _checked(described: dict[str, Any], name: str) -> dict[str, Any]:
    for key, kind in _SPEC_KEYS.items():
        if key in described and not isinstance(described[key], kind):
            raise ModelError(
                f"The description of {name} has a {key!r} that is no {kind.__name__}.",
                "See docs/networks.md for the keys.",
            )
    return described


def _parse(onnx_bytes: bytes, name: str) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    fix = "Give an ONNX file that holds the whole network."
    if not onnx_bytes:
        raise ModelError(f"{name} is empty.", fix)
    if len(onnx_bytes) > MAX_BYTES:
        raise ModelError(f"{name} has {len(onnx_bytes):,} bytes; at most 1 GiB is loaded.", fix)
    try:
        model = onnx.load_model_from_string(onnx_bytes)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name} is not an ONNX network, or is damaged.", fix) from error
    if not model.graph.node or not model.graph.input or not model.graph.output:
        raise ModelError(f"{name} is not an ONNX network: it has no graph.", fix)
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise ModelError(
            f"{name} keeps weights in other files, which are not followed.",
            "Save it as one file (onnx.save with save_as_external_data=False).",
        )
    return model


def _choose(items: dict[str, Any], wanted: str | None, kind: str, name: str) -> Any:
    if wanted is not None:
        if wanted not in items:
            raise ModelError(
                f"{name} has no {kind} {wanted!r}; it has {', '.join(items)}.",
                f"Correct {kind!r} in the JSON beside it.",
            )
        return items[wanted]
    if len(items) == 1:
        return next(iter(items.values()))
    raise ModelError(
        f"{name} has {len(items)} {kind}s: {', '.join(items)}.",
        f"Say which in a JSON beside it, under {kind!r}.",
    )


def _features_output(outputs: dict[str, Any], wanted: str | None, name: str) -> Any:
    if wanted is None and "features" in outputs:
        wanted = "features"
    output = _choose(outputs, wanted, "features" if wanted else "output", name)
    shape = _shape(output)
    if len(shape) not in (0, 2):
        raise ModelError(
            f"{name}: the output {output.name!r} has {len(shape)} dimensions, not 2.",
            "Name an output of shape [n, d] under 'features' in a JSON beside it.",
        )
    return output


def _shape(item: Any) -> list[int | None]:
    return [
        d.dim_value if d.WhichOneof("value") == "dim_value" and d.dim_value > 0 else None
        for d in item.type.tensor_type.shape.dim
    ]


def _layout(shape: list[int | None], described: str | None, name: str) -> Layout:
    if described is not None:
        if described not in get_args(Layout):
            raise ModelError(
                f"The description of {name} has the layout {described!r}.", "Use NHWC or NCHW."
            )
        found: Layout = "NHWC" if described == "NHWC" else "NCHW"
    elif shape[1] == 3:
        found = "NCHW"
    elif shape[3] == 3:
        found = "NHWC"
    else:
        raise ModelError(
            f"{name}: its input {shape} has no dimension of 3 for the colours.",
            "Give a network for RGB images, or its layout in a JSON beside it.",
        )
    channels = shape[1] if found == "NCHW" else shape[3]
    if channels not in (3, None):
        raise ModelError(
            f"{name} takes images of {channels} channels.", "Give a network for RGB images."
        )
    return found


def _side(fixed: list[int | None], asked: int | None, described: int | None, name: str) -> int:
    known = {side for side in fixed if side is not None}
    if len(known) > 1:
        raise ModelError(
            f"{name} takes images of {fixed[0]} x {fixed[1]} pixels.",
            "Give a network for square images.",
        )
    if known:
        side = known.pop()
        if asked not in (None, side):
            raise ModelError(
                f"{name} takes images of {side} px only, not of {asked}.",
                f"Leave --size out, or give --size {side}.",
            )
        return side
    return asked or described or _DEFAULT_SIZE


def _triple(
    value: list[Any] | None, default: tuple[float, float, float], key: str, name: str
) -> tuple[float, float, float]:
    if value is None:
        return default
    if len(value) != 3 or not all(isinstance(v, int | float) for v in value):
        raise ModelError(
            f"The description of {name} has a {key!r} that is not three numbers.",
            "Give one number a channel, in pixel units from 0 to 255.",
        )
    return float(value[0]), float(value[1]), float(value[2])
