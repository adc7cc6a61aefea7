"""Features before they are classified: in units of their mean magnitude, and softly rooted.

Dividing takes the contrast of the photograph out; the root, with its sign kept, evens out features
that fire rarely but strongly (after Arandjelović and Zisserman, "Three things everyone should know
to improve object retrieval", 2012). It is the root of a shifted value, since the plain one would
make much of the last digits of features near zero, in which runtimes differ. docs/decisions/0007
has what it gained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY = np.float32(1e-12)
"""Added to the mean magnitude, so that a row of zeros stays one."""
SHIFT = np.float32(0.1)
"""Added before the root, in units of the mean magnitude."""


def normalise(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Signed soft roots: sign(x) (sqrt(|x| / mean + 0.1) - sqrt(0.1)).

    Args:
        features: [n, d]; not changed.

    Returns:
        float32 [n, d].
    """
    values = features.astype(np.float32, copy=False)
    magnitudes: NDArray[np.float32] = np.abs(values)
    magnitudes /= magnitudes.mean(axis=1, keepdims=True) + TINY
    magnitudes += SHIFT
    np.sqrt(magnitudes, out=magnitudes)
    magnitudes -= np.sqrt(SHIFT)
    return np.copysign(magnitudes, values, out=magnitudes)
