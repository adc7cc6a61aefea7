import numpy as np
import pytest
from sklearn.decomposition import PCA

from pomona.errors import ReductionError
from pomona.reduction.moments import Moments
from pomona.reduction.principal import fit_principal

_RNG = np.random.default_rng(0)
_PLAIN = _RNG.normal(size=(200, 12)) @ _RNG.normal(size=(12, 12))
_CONSTANT = _PLAIN.copy()
_CONSTANT[:, 3] = 7.0


@pytest.mark.parametrize(
    "rows",
    [_PLAIN, _CONSTANT, _PLAIN + 1e6, np.repeat(_PLAIN[:20], 4, axis=0), _PLAIN[:8]],
    ids=["plain", "constant column", "large offset", "duplicated rows", "n < d"],
)
def test_equals_scikit_learn_from_merged_pieces(rows: np.ndarray) -> None:
    pieces = [Moments.of(part) for part in np.array_split(rows, 3)]
    ours = fit_principal(pieces[0].merge(pieces[1]).merge(pieces[2]), k=5)
    theirs = PCA(n_components=5, svd_solver="full").fit(rows)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-5)
    cosines = np.abs(np.sum(ours.components_ * theirs.components_, axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_more_components_than_directions_is_refused() -> None:
    with pytest.raises(ReductionError, match="directions"):
        fit_principal(Moments.of(_PLAIN[:4]), k=4)
