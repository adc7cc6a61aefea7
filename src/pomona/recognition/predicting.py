"""Naming photographs on one machine, without Spark: the recogniser of an OUTPUT, or the built-in.

Images are found, read, decoded and rejected by the same code as in the chain, and the exported
file does the rest, so that an answer here is the answer everywhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pomona.errors import ModelError, RecognitionError
from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.recognition.answering import Answer, Naming
from pomona.recognition.calibration import Calibration
from pomona.recognition.fruits import load_fruits
from pomona.recognition.linear import softmax
from pomona.recognition.saving import FRUIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from pomona.storage import Location

_BUILT_IN = "pomona-s3"
_UNCALIBRATED = Calibration(1.0, 0.9, 0.9, float("inf"), 0.0)
"""Of a network that says nothing of its own: a guess, and said to be one."""


class PhotoRecogniser(Protocol):
    """Pixels to an answer.

    Attributes:
        name: of the network or file.
        size: side in pixels that images are fitted into.
        naming: classes, fruits and thresholds.
        calibrated: whether the probabilities were calibrated on images held out.
    """

    name: str
    size: int
    naming: Naming
    calibrated: bool

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Name what is shown.

        Args:
            pixels: uint8 [h, w, 3], RGB, upright, of any size.
        """


@dataclass(frozen=True)
class Prediction:
    """One image, and what is said of it.

    Attributes:
        path: below the folder, or as given.
        answer: None where the image cannot be used.
        reject: why it cannot.
    """

    path: str
    answer: Answer | None
    reject: RejectedImage | None

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        if self.answer is not None:
            return {"path": self.path, **self.answer.facts()}
        assert self.reject is not None
        return {
            "path": self.path,
            "verdict": "rejected",
            "reason": str(self.reject.reason),
            "message": self.reject.message,
        }


def open_recogniser(output: Location | None) -> PhotoRecogniser:
    """The recogniser of an OUTPUT, or without one that which ships.

    Raises:
        RecognitionError: OUTPUT has none.
        ModelError: its file is damaged or keeps weights elsewhere.
    """
    if output is None:
        return _BuiltIn()
    from pomona.storage import NotFound, NotPermitted, ReadFailed, open_store

    try:
        data = open_store(output).read(FRUIT)
    except (NotFound, NotPermitted, ReadFailed) as error:
        raise RecognitionError(
            f"There is no recogniser in {output}.", "Run `pomona train OUTPUT` first."
        ) from error
    return Exported(data, f"{output}/{FRUIT}")


class Exported:
    """A file that ``pomona export`` wrote.

    Args:
        data: the file.
        name: of it, for messages.

    Raises:
        ModelError: it is no such file, damaged, or keeps weights in other files.
    """

    calibrated = True

    def __init__(self, data: bytes, name: str) -> None:
        _refuse_external(data, name)
        self.name = name
        self._session = _session(data, name)
        facts = _metadata(self._session)
        try:
            self.naming = Naming(
                tuple(facts["labels"]),
                tuple(facts["fruits"]),
                Calibration(**facts["calibration"]),
            )
            self.size = int(facts["manifest"]["size"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{name} is not a recogniser that Pomona exported.", "Run `pomona export` again."
            ) from error

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Name what is shown."""
        probabilities, novelty = self._session.run(
            ["probabilities", "novelty"], {"image": np.ascontiguousarray(pixels)}
        )
        return self.naming.answers(probabilities[None], novelty)[0]


class _BuiltIn:
    """The network that ships, by its own logits."""

    def __init__(self) -> None:
        from pomona.embedding.network import NetworkSpec

        self.name = _BUILT_IN
        folder = resources.files("pomona.embedding") / "networks"
        data = (folder / f"{_BUILT_IN}.onnx").read_bytes()
        described = json.loads((folder / f"{_BUILT_IN}.json").read_text(encoding="utf-8"))
        self.size = int(described["size"])
        self._session = _session(data, _BUILT_IN)
        self._logits = str(described["logits"])
        self._spec = NetworkSpec(
            name=_BUILT_IN,
            sha256="",
            input=described["input"],
            dtype=described["dtype"],
            layout=described["layout"],
            size=self.size,
            features=described["features"],
            dimension=0,
            mean=tuple(described.get("mean", (0.0, 0.0, 0.0))),
            scale=tuple(described.get("scale", (255.0, 255.0, 255.0))),
        )
        facts = _metadata(self._session)
        labels = tuple(facts["labels"])
        found = facts.get("calibration")
        self.calibrated = found is not None
        self.naming = Naming(
            labels,
            tuple(facts.get("fruits") or load_fruits().fruits_of(labels)),
            Calibration(**found) if found is not None else _UNCALIBRATED,
        )

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Name what is shown."""
        from pomona.embedding.runtime import network_input
        from pomona.images.fitting import fit_square

        square = np.empty((1, self.size, self.size, 3), np.uint8)
        fit_square(pixels, square[0])
        (logits,) = self._session.run(
            [self._logits], {self._spec.input: network_input(self._spec, square)}
        )
        probabilities = softmax(logits, self.naming.calibration.temperature)
        return self.naming.answers(probabilities, None)[0]


def predict(
    recogniser: PhotoRecogniser, source: str, limits: DecodeLimits | None = None
) -> Iterator[Prediction]:
    """Name every image of a file, a folder or a tar, in order.

    Raises:
        InputError: there is nothing of that name, or it cannot be listed.
    """
    from pomona.images.listing import SkippedFiles, list_images, open_source
    from pomona.images.reading import read_images
    from pomona.storage import open_store

    limits = limits or DecodeLimits()
    found = open_source(source)
    store = open_store(found.root)
    for rows in list_images(found, SkippedFiles()):
        paths = rows.column("path").to_pylist()
        for path, blob in zip(paths, read_images(store, rows, limits), strict=True):
            if isinstance(blob, RejectedImage):
                yield Prediction(path, None, blob)
                continue
            try:
                image = decode(blob, wanted=recogniser.size, limits=limits, path=path)
            except RejectedImage as rejected:
                yield Prediction(path, None, rejected)
            else:
                yield Prediction(path, recogniser.answer(image.pixels), None)


def _session(data: bytes, name: str) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"{name} cannot be run: {' '.join(str(error).split())[:200]}",
            "Export it again (pomona export).",
        ) from error


def _metadata(session: Any) -> Mapping[str, Any]:
    """The JSON texts of the metadata; others are passed over."""
    found = {}
    for key, text in session.get_modelmeta().custom_metadata_map.items():
        try:
            found[key] = json.loads(text)
        except ValueError:
            continue
    return found


def _refuse_external(data: bytes, name: str) -> None:
    """Refuse a file that would have the runtime read other files of this machine."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    try:
        model = onnx.load_model_from_string(data)
        outside = any(uses_external_data(tensor) for tensor in _get_all_tensors(model))
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{name} is damaged, or no ONNX file.", "Export it again (pomona export)."
        ) from error
    if outside:
        raise ModelError(
            f"{name} keeps weights in other files, which are not followed.",
            "Export it again (pomona export).",
        )
