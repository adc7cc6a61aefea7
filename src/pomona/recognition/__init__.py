"""Recognition: a calibrated classifier on features, its evaluation, and answers to photographs.

``FruitClassifier`` and ``FruitClassifierModel`` need Spark, which is imported when they are first
asked for; the rest is numpy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pomona.recognition.stage import FruitClassifier, FruitClassifierModel

__all__ = ["FruitClassifier", "FruitClassifierModel"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pomona.recognition import stage

        return getattr(stage, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
