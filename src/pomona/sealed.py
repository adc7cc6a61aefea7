"""Arrays on disk under a seal: an ``.npz`` file and the manifest that names its checksum.

Nothing is unpickled, and Spark is not needed to read them.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from pomona.storage import NotFound, NotPermitted, ReadFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pomona.errors import PomonaError
    from pomona.storage import Store

Model = TypeVar("Model")

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Sealed(Generic[Model]):
    """One kind of model on disk.

    Attributes:
        kind: what it is, for messages ("PCA").
        arrays: name of the file of arrays.
        unpack: the model from its arrays and its manifest; a ValueError, KeyError or TypeError
            says that they do not belong together.
        error: what to raise.
        command: what makes one.
    """

    kind: str
    arrays: str
    unpack: Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any]], Model]
    error: type[PomonaError]
    command: str

    def save(
        self,
        store: Store,
        folder: str,
        arrays: Mapping[str, NDArray[Any]],
        manifest: Mapping[str, Any],
    ) -> None:
        """Write the arrays, then the manifest with their checksum.

        Args:
            store: where.
            folder: below the store's root, ending in ``/`` or empty.
            arrays: by name.
            manifest: what else is to be known; JSON.

        Raises:
            StorageError: they cannot be written.
        """
        sink = io.BytesIO()
        np.savez(sink, allow_pickle=False, **arrays)
        data = sink.getvalue()
        sealed = {**manifest, "sha256": hashlib.sha256(data).hexdigest()}
        store.write(folder + self.arrays, data)
        store.write(folder + _MANIFEST, json.dumps(sealed, indent=2).encode())

    def load(self, store: Store, folder: str) -> tuple[Model, dict[str, Any]]:
        """Read a model and its manifest.

        Raises:
            PomonaError: of the kind ``error``: absent, damaged, or not what its manifest says.
        """
        where = f"{store.root}/{folder}".rstrip("/")
        try:
            manifest = json.loads(store.read(folder + _MANIFEST))
            data = store.read(folder + self.arrays)
            if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
                raise ValueError("the checksum of the arrays is not the manifest's")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return self.unpack(arrays, manifest), manifest
        except NotFound as error:
            raise self.error(
                f"There is no {self.kind} in {where}.", f"Run `{self.command}` first."
            ) from error
        except (
            *(NotPermitted, ReadFailed),
            *(ValueError, KeyError, TypeError, zipfile.BadZipFile),
        ) as error:
            raise self.error(
                f"The {self.kind} in {where} is damaged: {error}.", f"Run `{self.command}` again."
            ) from error
