"""How unlike the training images an image is: relative Mahalanobis distance.

The squared distance to the nearest class, measured by the covariance within classes, less the one
to the mean of all images, measured by the covariance of all (Ren et al., "A simple fix to
Mahalanobis distance for improving near-OOD detection", 2021). It is taken along the leading
principal axes, since the rest costs space in the exported file and adds nothing that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pomona.recognition.linear import check_rows, shrunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pomona.recognition.linear import Spread

AXES = 128
"""Principal axes that are looked along, at most."""
_SHRINKAGE = 0.1


@dataclass(frozen=True)
class Novelty:
    """A score that grows with strangeness.

    Attributes:
        mean_: float32 [d], subtracted from normalised features.
        axes_: float32 [d, r], features to principal axes in standard units.
        precision_: float32 [r], inverse variances of all images along the axes.
        whitening_: float32 [r, r], after which the covariance within classes is the identity.
        centres_: float32 [c, r], means of the classes after whitening.
    """

    mean_: NDArray[np.float32]
    axes_: NDArray[np.float32]
    precision_: NDArray[np.float32]
    whitening_: NDArray[np.float32]
    centres_: NDArray[np.float32]

    def score(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """The score of each row.

        Args:
            rows: [n, d], normalised features.

        Returns:
            float32 [n].
        """
        check_rows(rows, len(self.mean_))
        along = (rows.astype(np.float32, copy=False) - self.mean_) @ self.axes_
        white = along @ self.whitening_
        cross = white @ self.centres_.T
        squares = np.einsum("cr,cr->c", self.centres_, self.centres_)
        nearest = (squares - 2 * cross).min(axis=1) + np.einsum("nr,nr->n", white, white)
        score: NDArray[np.float32] = nearest - (along * along) @ self.precision_
        return score


def fit_novelty(found: Spread) -> Novelty:
    """The score for what the classifier was trained on."""
    values, axes = found.axes
    rank = max(1, min(AXES, int((values > 1e-6 * values[0]).sum())))
    values, axes = values[:rank], axes[:, :rank]
    within = shrunk(axes.T @ found.within @ axes, _SHRINKAGE)
    # within^-1 = W W', so |z W|^2 is the squared Mahalanobis distance.
    whitening = np.linalg.cholesky(np.linalg.inv(within))
    total = (1 - _SHRINKAGE) * values + _SHRINKAGE * values.mean()
    return Novelty(
        mean_=found.mean.astype(np.float32),
        axes_=(axes / found.scale[:, None]).astype(np.float32),
        precision_=(1 / total).astype(np.float32),
        whitening_=whitening.astype(np.float32),
        centres_=(found.centres @ axes @ whitening).astype(np.float32),
    )
