"""A trained recogniser on disk: arrays and a manifest, loaded without Spark and without pickle."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.errors import RecognitionError
from pomona.recognition.answering import Naming
from pomona.recognition.calibration import Calibration
from pomona.recognition.linear import LinearClassifier
from pomona.recognition.novelty import Novelty
from pomona.recognition.recogniser import Recogniser
from pomona.storage import NotFound, NotPermitted, ReadFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pomona.storage import Store

FOLDER = "models/classifier/"
FRUIT = "models/fruit.onnx"
"""The whole recogniser as one file."""
MANIFEST, ARRAYS, EVALUATION = "manifest.json", "classifier.npz", "evaluation.json"
_CLASSIFIER = ("mean_", "scale_", "coef_", "intercept_")
_NOVELTY = ("axes_", "precision_", "whitening_", "centres_")


def save_recogniser(
    store: Store, recogniser: Recogniser, about: Mapping[str, Any], folder: str = FOLDER
) -> None:
    """Write the arrays, then the manifest that names their checksum.

    Args:
        store: where.
        recogniser: what.
        about: what trained it; goes into the manifest.
        folder: below the store's root, ending in ``/`` or empty.
    """
    data = pack(recogniser)
    manifest = {**describe(recogniser), "sha256": hashlib.sha256(data).hexdigest(), **about}
    store.write(folder + ARRAYS, data)
    store.write(folder + MANIFEST, json.dumps(manifest, indent=2).encode())


def load_recogniser(store: Store, folder: str = FOLDER) -> tuple[Recogniser, dict[str, Any]]:
    """Read a recogniser and its manifest.

    Raises:
        RecognitionError: absent, damaged, or not what its manifest says.
    """
    where = f"{store.root}/{folder}".rstrip("/")
    try:
        manifest = json.loads(store.read(folder + MANIFEST))
        data = store.read(folder + ARRAYS)
        if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            raise ValueError("the checksum of the arrays is not the manifest's")
        return unpack(data, manifest), manifest
    except NotFound as error:
        raise RecognitionError(
            f"There is no classifier in {where}.", "Run `pomona train OUTPUT` first."
        ) from error
    except (NotPermitted, ReadFailed, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RecognitionError(
            f"The classifier in {where} is damaged: {error}.", "Run `pomona train OUTPUT` again."
        ) from error


def pack(recogniser: Recogniser) -> bytes:
    """The arrays as an ``.npz`` file."""
    sink = io.BytesIO()
    np.savez(
        sink,
        **{name: getattr(recogniser.classifier, name) for name in _CLASSIFIER},
        **{name: getattr(recogniser.novelty, name) for name in _NOVELTY},
    )
    return sink.getvalue()


def describe(recogniser: Recogniser) -> dict[str, Any]:
    """What the manifest says of a recogniser, and what :func:`unpack` needs besides the arrays."""
    naming = recogniser.naming
    return {
        "kind": "classifier",
        "dimension": recogniser.dimension,
        "classes": list(naming.classes),
        "fruits": list(naming.fruits),
        "calibration": asdict(naming.calibration),
    }


def unpack(data: bytes, manifest: Mapping[str, Any]) -> Recogniser:
    """A recogniser from its arrays and its description.

    Raises:
        ValueError: shapes contradict the manifest.
        KeyError: something is missing.
        zipfile.BadZipFile: no ``.npz`` file.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        found = {name: np.asarray(arrays[name], np.float32) for name in (*_CLASSIFIER, *_NOVELTY)}
    classes, dimension = tuple(manifest["classes"]), int(manifest["dimension"])
    rank = len(found["precision_"])
    shapes = {
        "mean_": (dimension,),
        "scale_": (dimension,),
        "coef_": (len(classes), dimension),
        "intercept_": (len(classes),),
        "axes_": (dimension, rank),
        "precision_": (rank,),
        "whitening_": (rank, rank),
        "centres_": (len(classes), rank),
    }
    wrong = [name for name, shape in shapes.items() if found[name].shape != shape]
    fruits = tuple(manifest["fruits"])
    if wrong or len(fruits) != len(classes):
        raise ValueError(f"{wrong or 'fruits'} have other shapes than the manifest says")
    return Recogniser(
        Naming(classes, fruits, Calibration(**manifest["calibration"])),
        LinearClassifier(**{name: found[name] for name in _CLASSIFIER}),
        Novelty(found["mean_"], **{name: found[name] for name in _NOVELTY}),
    )
