"""Principal components from moments, and the model that projects onto them; numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pomona.errors import ReductionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomona.reduction.moments import Moments


@dataclass(frozen=True)
class PrincipalComponents:
    """A fitted PCA. Learned values carry scikit-learn's names.

    Attributes:
        mean_: float64 [d].
        components_: float64 [k, d], orthonormal rows in order of falling variance; the entry of
            largest magnitude of each is positive.
        explained_variance_: float64 [k], with n - 1 in the denominator.
        explained_variance_ratio_: float64 [k], shares of the total variance.
        spectrum_: float64 [r], the variance along every axis up to the rank, for the scree curve.
        n_samples_: rows it was fitted on.
    """

    mean_: NDArray[np.float64]
    components_: NDArray[np.float64]
    explained_variance_: NDArray[np.float64]
    explained_variance_ratio_: NDArray[np.float64]
    spectrum_: NDArray[np.float64]
    n_samples_: int

    @property
    def k(self) -> int:
        """Number of components."""
        return len(self.components_)

    def transform(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """Centre and project.

        Args:
            rows: [n, d].

        Returns:
            float32 [n, k].

        Raises:
            ReductionError: rows of another length.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.mean_):
            raise ReductionError(
                f"The PCA takes rows of {len(self.mean_)} values, not of shape {list(rows.shape)}.",
                "Use the network that it was fitted on.",
            )
        centred = rows.astype(np.float64) - self.mean_
        return (centred @ self.components_.T).astype(np.float32)


def fit_principal(
    moments: Moments, *, k: int | None = None, variance: float = 0.95
) -> PrincipalComponents:
    """Eigenvectors of the covariance matrix, in order of falling eigenvalue.

    Args:
        moments: of the rows to fit.
        k: number of components; overrides ``variance``.
        variance: share of the total variance to keep, in (0, 1]; the smallest number of
            components that reaches it is taken.

    Raises:
        ReductionError: fewer than two rows, rows that are all the same, values that are not
            finite, or more components asked for than the rows have directions.
    """
    if moments.count < 2:
        raise ReductionError(
            f"A PCA needs at least 2 images; there are {moments.count}.",
            "Add images, or leave the reduction out (pomona embed).",
        )
    if not np.isfinite(moments.scatter).all() or not np.isfinite(moments.mean).all():
        raise ReductionError(
            "Some features are not finite numbers.", "Embed again with --precision fp32."
        )
    values, vectors = np.linalg.eigh(moments.scatter / (moments.count - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = _rank(values, moments)
    if rank == 0:
        raise ReductionError(
            f"All {moments.count} images have the same features; there is nothing to reduce.",
            "Check INPUT and the network.",
        )
    spectrum = values[:rank]
    ratios = spectrum / spectrum.sum()
    if k is None:
        # The sum of all ratios may fall short of 1 by a rounding error.
        reached = np.cumsum(ratios) >= variance - 1e-12
        k = int(np.argmax(reached)) + 1 if reached.any() else rank
    elif k > rank:
        raise ReductionError(
            f"{k} components were asked for; {moments.count} images of {len(values)} features "
            f"have {rank} directions.",
            f"Ask for at most {rank} (--components {rank}), or for a share of the variance.",
        )
    return PrincipalComponents(
        mean_=moments.mean,
        components_=_signed(vectors[:, :k].T),
        explained_variance_=spectrum[:k],
        explained_variance_ratio_=ratios[:k],
        spectrum_=spectrum,
        n_samples_=moments.count,
    )


def _rank(values: NDArray[np.float64], moments: Moments) -> int:
    """Directions whose variance stands out of the rounding errors, at most n - 1."""
    largest = max(float(values[0]), 0.0)
    # Rows come as float32, so a mean of size m carries an error of its own into the deviations.
    floor = (np.finfo(np.float64).eps * float(np.abs(moments.mean).max(initial=0.0))) ** 2
    noise = largest * len(values) * np.finfo(np.float64).eps + floor
    return min(int((values > noise).sum()), moments.count - 1)


def _signed(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row with the sign that makes its entry of largest magnitude positive."""
    rows = np.arange(len(components))
    largest = np.argmax(np.abs(components), axis=1)
    signs = np.where(components[rows, largest] < 0, -1.0, 1.0)
    return np.ascontiguousarray(components * signs[:, None])
