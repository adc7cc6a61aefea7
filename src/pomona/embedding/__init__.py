"""Embedding: images to features by an ONNX network, in the chain and as a pyspark.ml stage.

``ImageEmbedder`` needs Spark's SQL, which is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pomona.embedding.stage import ImageEmbedder

__all__ = ["ImageEmbedder"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pomona.embedding import stage

        return getattr(stage, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
