"""Means of classes and the scatter within them, gathered in pieces that merge in any order.

All that the classifier learns comes from these: one pass over the features, on the workers.
Deviations are taken from each piece's own class means and merged by the pairwise update of Chan,
Golub and LeVeque (1979), as in :mod:`pomona.reduction.moments`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassStatistics:
    """Counts, means and the pooled scatter of rows that belong to classes.

    Attributes:
        counts: float64 [c], rows of each class.
        means: float64 [c, d]; zero for a class without rows.
        within: float64 [d, d], sum of outer products of deviations from the class's mean.
    """

    counts: NDArray[np.float64]
    means: NDArray[np.float64]
    within: NDArray[np.float64]

    @classmethod
    def none(cls, classes: int, dimension: int) -> ClassStatistics:
        """The statistics of no rows."""
        return cls(
            np.zeros(classes), np.zeros((classes, dimension)), np.zeros((dimension, dimension))
        )

    @classmethod
    def of(
        cls, rows: NDArray[np.floating], labels: NDArray[np.integer], classes: int
    ) -> ClassStatistics:
        """The statistics of a matrix.

        Args:
            rows: [n, d] of any float type.
            labels: [n], class of each row, from 0 to ``classes`` - 1.
            classes: number of classes.
        """
        found = cls.none(classes, rows.shape[1])
        if not len(rows):
            return found
        order = np.argsort(labels, kind="stable")
        exact, labels = rows[order].astype(np.float64), labels[order]
        present, begins, counts = np.unique(labels, return_index=True, return_counts=True)
        means = np.add.reduceat(exact, begins, axis=0) / counts[:, None]
        exact -= np.repeat(means, counts, axis=0)
        # The means are rounded: what is left of the deviations' sums is taken out (see Moments).
        rest = np.add.reduceat(exact, begins, axis=0) / counts[:, None]
        exact -= np.repeat(rest, counts, axis=0)
        found.counts[present] = counts
        found.means[present] = means + rest
        # Deviations have no offset left, so float32 holds them to seven digits: far less than
        # shrinkage changes, at half the time of the costliest product of the training.
        deviations = exact.astype(np.float32)
        within = (deviations.T @ deviations).astype(np.float64)
        return cls(found.counts, found.means, within)

    @property
    def rows(self) -> int:
        """Rows in all."""
        return int(self.counts.sum())

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return int(self.means.shape[1])

    def merge(self, other: ClassStatistics) -> ClassStatistics:
        """The statistics of both sets of rows.

        Raises:
            ValueError: rows of two lengths, or other numbers of classes.
        """
        if self.means.shape != other.means.shape:
            raise ValueError(f"statistics of shape {self.means.shape} and {other.means.shape}")
        counts = self.counts + other.counts
        share = np.divide(other.counts, counts, out=np.zeros_like(counts), where=counts > 0)
        delta = other.means - self.means
        weight = self.counts * share
        return ClassStatistics(
            counts,
            self.means + delta * share[:, None],
            self.within + other.within + (delta * weight[:, None]).T @ delta,
        )

    def only(self, classes: NDArray[np.intp]) -> ClassStatistics:
        """The same with some classes alone, in the order given; those left out must be empty."""
        return ClassStatistics(self.counts[classes], self.means[classes], self.within)
