"""A trained recogniser on disk: arrays and a manifest, loaded without Spark and without pickle."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.errors import RecognitionError
from pomona.recognition.answering import Naming
from pomona.recognition.calibration import Calibration
from pomona.recognition.linear import LinearClassifier
from pomona.recognition.novelty import Novelty
from pomona.recognition.recogniser import Recogniser
from pomona.sealed import Sealed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pomona.storage import Store

FOLDER = "models/classifier/"
FRUIT = "models/fruit.onnx"
"""The whole recogniser as one file."""
EVALUATION = "evaluation.json"
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
    naming = recogniser.naming
    arrays = {
        **{name: getattr(recogniser.classifier, name) for name in _CLASSIFIER},
        **{name: getattr(recogniser.novelty, name) for name in _NOVELTY},
    }
    manifest = {
        "kind": "classifier",
        "dimension": recogniser.dimension,
        "classes": list(naming.classes),
        "fruits": list(naming.fruits),
        "calibration": asdict(naming.calibration),
        **about,
    }
    _SEALED.save(store, folder, arrays, manifest)


def load_recogniser(store: Store, folder: str = FOLDER) -> tuple[Recogniser, dict[str, Any]]:
    """Read a recogniser and its manifest.

    Raises:
        RecognitionError: absent, damaged, or not what its manifest says.
    """
    return _SEALED.load(store, folder)


def _unpack(arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> Recogniser:
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


_SEALED = Sealed("classifier", "classifier.npz", _unpack, RecognitionError, "pomona train OUTPUT")
