"""Pomona: from a bucket of fruit photographs to features, a reduced matrix, a report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pomona.embedding.stage import ImageEmbedder
    from pomona.errors import PomonaError
    from pomona.recognition.stage import FruitClassifier, FruitClassifierModel
    from pomona.reduction.stage import PCA, PCAModel
    from pomona.session import register, start_session

__version__ = "0.1.0"

__all__ = [
    "PCA",
    "FruitClassifier",
    "FruitClassifierModel",
    "ImageEmbedder",
    "PCAModel",
    "PomonaError",
    "__version__",
    "register",
    "start_session",
]

_PLACES = {
    "PCA": "pomona.reduction.stage",
    "PCAModel": "pomona.reduction.stage",
    "FruitClassifier": "pomona.recognition.stage",
    "FruitClassifierModel": "pomona.recognition.stage",
    "ImageEmbedder": "pomona.embedding.stage",
    "PomonaError": "pomona.errors",
    "register": "pomona.session",
    "start_session": "pomona.session",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: the command line must start quickly."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
