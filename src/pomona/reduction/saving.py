"""A fitted PCA on disk: arrays and a manifest, loaded without Spark and without pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.errors import TableError
from pomona.reduction.principal import PrincipalComponents
from pomona.sealed import Sealed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pomona.storage import Store

_NAMES = ("mean_", "components_", "explained_variance_", "explained_variance_ratio_", "spectrum_")


def save_pca(
    store: Store, pca: PrincipalComponents, about: Mapping[str, Any], folder: str = ""
) -> None:
    """Write the arrays, then the manifest that names their checksum.

    Args:
        store: where.
        pca: what.
        about: what trained it; goes into the manifest.
        folder: below the store's root, ending in ``/``.
    """
    manifest = {
        "kind": "pca",
        "k": pca.k,
        "dimension": len(pca.mean_),
        "n_samples": pca.n_samples_,
        "explained_variance": float(pca.explained_variance_ratio_.sum()),
        **about,
    }
    _SEALED.save(store, folder, {name: getattr(pca, name) for name in _NAMES}, manifest)


def load_pca(store: Store, folder: str = "") -> tuple[PrincipalComponents, dict[str, Any]]:
    """Read a PCA and its manifest.

    Raises:
        TableError: absent, damaged, or not what its manifest says.
    """
    return _SEALED.load(store, folder)


def _unpack(arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> PrincipalComponents:
    found = {name: np.asarray(arrays[name], np.float64) for name in _NAMES}
    if found["components_"].shape != (manifest["k"], manifest["dimension"]):
        raise ValueError("the arrays have other shapes than the manifest says")
    return PrincipalComponents(**found, n_samples_=int(manifest["n_samples"]))


_SEALED = Sealed("PCA", "pca.npz", _unpack, TableError, "pomona reduce OUTPUT")
