"""Features before they are classified: square roots, and length 1.

The root (with the sign kept) evens out features that fire rarely but strongly, and the length
says more of contrast than of kind (Arandjelović and Zisserman, "Three things everyone should know
to improve object retrieval", 2012). docs/decisions/0010 has what it gained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY = np.float32(1e-12)
"""Added to the squared length, so that a row of zeros stays one."""


def normalise(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Signed roots scaled to length 1.

    Args:
        features: [n, d]; not changed.

    Returns:
        float32 [n, d].
    """
    values = features.astype(np.float32, copy=False)
    roots: NDArray[np.float32] = np.copysign(np.sqrt(np.abs(values)), values)
    # The squared length of the roots is the sum of magnitudes.
    lengths = np.einsum("nd,nd->n", roots, roots) + TINY
    roots /= np.sqrt(lengths)[:, None]
    return roots
