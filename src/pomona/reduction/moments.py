"""Mean and scatter of a matrix, gathered in pieces that can be merged in any order.

Deviations are taken from each piece's own mean and pieces are merged by the pairwise update of
Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for computing sample
variances", 1979), so that a large offset costs no digits, as E[xy] - E[x]E[y] would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Count, mean and centred scatter of some rows.

    Attributes:
        count: number of rows.
        mean: float64 [d].
        scatter: float64 [d, d], the sum of outer products of the centred rows.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def none(cls, dimension: int) -> Moments:
        """The moments of no rows of length ``dimension``."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def of(cls, rows: NDArray[np.floating]) -> Moments:
        """The moments of a matrix.

        Args:
            rows: [n, d] of any float type.
        """
        if not len(rows):
            return cls.none(rows.shape[1])
        exact = rows.astype(np.float64)
        mean = exact.mean(axis=0)
        exact -= mean
        # The mean is rounded, so the deviations do not quite add up to nothing: what is left is
        # taken out, which matters where the offset is a million times the spread.
        rest = exact.mean(axis=0)
        exact -= rest
        return cls(len(rows), mean + rest, exact.T @ exact)

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of rows together.

        Raises:
            ValueError: the rows are not of one length.
        """
        if len(self.mean) != len(other.mean):
            raise ValueError(f"rows of length {len(self.mean)} and of {len(other.mean)}")
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        delta = other.mean - self.mean
        weight = self.count * other.count / count
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            self.scatter + other.scatter + weight * np.outer(delta, delta),
        )
