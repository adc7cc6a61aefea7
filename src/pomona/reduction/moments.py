"""Mean and scatter of a matrix, gathered in pieces that can be merged in any order.

Deviations are taken from each piece's own mean and pieces are merged by the pairwise update of
Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for computing sample
variances", 1979), so that a large offset costs no digits, as E[xy] - E[x]E[y] would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pomona.errors import TableError

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

    def to_bytes(self) -> bytes:
        """Everything as little-endian float64, for :meth:`from_bytes`."""
        packed = np.concatenate([[self.count], self.mean, self.scatter.reshape(-1)])
        return packed.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Moments:
        """What :meth:`to_bytes` packed: 1 + d + d * d numbers."""
        packed = np.frombuffer(data, "<f8")
        width = round((np.sqrt(4 * len(packed) - 3) - 1) / 2)
        return cls(int(packed[0]), packed[1 : 1 + width], packed[1 + width :].reshape(width, width))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of rows together; the moments of no rows go with any length.

        Raises:
            TableError: the rows are not of one length.
        """
        if not self.count or not other.count:
            return self if self.count else other
        if len(self.mean) != len(other.mean):
            raise TableError(
                f"The features have several lengths, such as {len(self.mean)} and "
                f"{len(other.mean)}.",
                "Give rows of one network.",
            )
        count = self.count + other.count
        delta = other.mean - self.mean
        weight = self.count * other.count / count
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            self.scatter + other.scatter + weight * np.outer(delta, delta),
        )
