"""A fitted PCA on disk: arrays and a manifest, loaded without Spark and without pickle."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.errors import TableError
from pomona.reduction.principal import PrincipalComponents
from pomona.storage import NotFound, NotPermitted, ReadFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pomona.storage import Store

MANIFEST, ARRAYS = "manifest.json", "pca.npz"
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
    sink = io.BytesIO()
    np.savez(sink, **{name: getattr(pca, name) for name in _NAMES})
    data = sink.getvalue()
    manifest = {
        "kind": "pca",
        "k": pca.k,
        "dimension": len(pca.mean_),
        "n_samples": pca.n_samples_,
        "explained_variance": float(pca.explained_variance_ratio_.sum()),
        "sha256": hashlib.sha256(data).hexdigest(),
        **about,
    }
    store.write(folder + ARRAYS, data)
    store.write(folder + MANIFEST, json.dumps(manifest, indent=2).encode())


def load_pca(store: Store, folder: str = "") -> tuple[PrincipalComponents, dict[str, Any]]:
    """Read a PCA and its manifest.

    Raises:
        TableError: absent, damaged, or not what its manifest says.
    """
    where = f"{store.root}/{folder}".rstrip("/")
    try:
        manifest = json.loads(store.read(folder + MANIFEST))
        data = store.read(folder + ARRAYS)
        if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            raise ValueError("the checksum of the arrays is not the manifest's")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name], np.float64) for name in _NAMES}
        if found["components_"].shape != (manifest["k"], manifest["dimension"]):
            raise ValueError("the arrays have other shapes than the manifest says")
        return PrincipalComponents(**found, n_samples_=int(manifest["n_samples"])), manifest
    except NotFound as error:
        raise TableError(
            f"There is no PCA in {where}.", "Run `pomona reduce OUTPUT` first."
        ) from error
    except (NotPermitted, ReadFailed, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TableError(
            f"The PCA in {where} is damaged: {error}.", "Run `pomona reduce OUTPUT` again."
        ) from error
