"""A linear classifier, and the units and axes in which it is learned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pomona.errors import RecognitionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomona.recognition.statistics import ClassStatistics

_CONSTANT = 1e-6
"""A feature of a smaller standard deviation, relative to the largest, is left as it is."""


@dataclass(frozen=True)
class LinearClassifier:
    """Logits that are linear in the features. Learned values carry scikit-learn's names.

    Attributes:
        mean_: float32 [d], subtracted from normalised features.
        scale_: float32 [d], their standard deviations; the coefficients account for them.
        coef_: float32 [c, d].
        intercept_: float32 [c].
    """

    mean_: NDArray[np.float32]
    scale_: NDArray[np.float32]
    coef_: NDArray[np.float32]
    intercept_: NDArray[np.float32]

    def logits(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """One number a class; not yet calibrated.

        Args:
            rows: [n, d], normalised features.

        Returns:
            float32 [n, c].

        Raises:
            RecognitionError: rows of another length.
        """
        check_rows(rows, len(self.mean_))
        centred: NDArray[np.float32] = rows.astype(np.float32, copy=False) - self.mean_
        logits: NDArray[np.float32] = centred @ self.coef_.T + self.intercept_
        return logits


class Spread:
    """How features spread, in all and within classes: what class statistics say.

    Every feature is measured in its standard deviation.

    Args:
        statistics: of at least two classes, each with at least one row.

    Raises:
        RecognitionError: fewer than two classes, or features that are not finite.
    """

    def __init__(self, statistics: ClassStatistics) -> None:
        if len(statistics.counts) < 2 or not statistics.counts.all():
            raise RecognitionError(
                "A classifier needs images of at least 2 labels to train on.",
                "Give INPUT folders named after what they show, or --layout.",
            )
        if not np.isfinite(statistics.within).all() or not np.isfinite(statistics.means).all():
            raise RecognitionError(
                "Some features are not finite numbers.", "Embed again with --precision fp32."
            )
        rows = statistics.rows
        mean = statistics.counts @ statistics.means / rows
        apart = statistics.means - mean
        between = (apart * statistics.counts[:, None]).T @ apart
        variance = np.diagonal(statistics.within + between) / rows
        scale = np.sqrt(np.maximum(variance, 0))
        scale = np.where(scale <= _CONSTANT * scale.max(initial=0), 1.0, scale)
        self.mean: NDArray[np.float64] = mean
        self.scale: NDArray[np.float64] = scale
        self.centres = apart / scale
        """float64 [c, d], the classes' means in standard units."""
        outer = np.outer(scale, scale) * rows
        self.within = statistics.within / outer
        """float64 [d, d], covariance within classes in standard units."""
        self.total = (statistics.within + between) / outer
        """float64 [d, d], covariance of all rows in standard units."""

    @cached_property
    def axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Variances along the principal axes of all rows, falling, [d]; the axes, [d, d]."""
        values, axes = np.linalg.eigh(self.total)
        return np.maximum(values[::-1], 0), axes[:, ::-1]


def shrunk(covariance: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """A covariance moved towards the identity times its mean variance."""
    level = float(np.trace(covariance)) / len(covariance) or 1.0
    moved: NDArray[np.float64] = (1 - shrinkage) * covariance
    moved[np.diag_indices_from(moved)] += shrinkage * level
    return moved


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities, float32 [n, c], of logits [n, c] divided by a temperature."""
    scaled: NDArray[np.float32] = np.asarray(logits, np.float32) / np.float32(temperature)
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def check_rows(features: NDArray[np.floating], dimension: int) -> None:
    """Refuse features of another network.

    Raises:
        RecognitionError: not [n, dimension].
    """
    if features.ndim != 2 or features.shape[1] != dimension:
        raise RecognitionError(
            f"The classifier takes rows of {dimension} features, not of shape "
            f"{list(features.shape)}.",
            "Use the network that it was trained on.",
        )
