"""Dimension reduction: PCA from mergeable moments, as pyspark.ml stages and as plain arrays.

``PCA`` and ``PCAModel`` need Spark, which is imported when they are first asked for; the rest is
numpy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pomona.reduction.moments import Moments
from pomona.reduction.principal import PrincipalComponents, fit_principal
from pomona.reduction.saving import load_pca, save_pca

if TYPE_CHECKING:
    from pomona.reduction.stage import PCA, PCAModel

__all__ = [
    "PCA",
    "Moments",
    "PCAModel",
    "PrincipalComponents",
    "fit_principal",
    "load_pca",
    "save_pca",
]


def __getattr__(name: str) -> Any:
    if name in ("PCA", "PCAModel"):
        from pomona.reduction import stage

        return getattr(stage, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
