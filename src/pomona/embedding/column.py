"""The work on a column of images, whole files or their paths, as the stage hands it to workers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa

from pomona.columns import lists_of
from pomona.embedding.runtime import shared_runtime
from pomona.embedding.task import Watch, decode_batches
from pomona.errors import InputError, UsageError
from pomona.images.limits import RejectedImage
from pomona.images.reading import read_images
from pomona.schema import MANIFEST, MESSAGE, REASON, STAGE, Reason
from pomona.storage import Location, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pyspark import Broadcast

    from pomona.embedding.network import Network, NetworkSpec
    from pomona.embedding.runtime import Engine, Precision
    from pomona.images.limits import DecodeLimits
    from pomona.storage import StorageOptions

FEATURES, REJECT = "features", "reject"
"""Fields of what comes back for each row."""

_REJECT = pa.struct([(name, pa.string()) for name in (STAGE, REASON, MESSAGE)])
_WANTED = pa.schema([field.with_nullable(True) for field in MANIFEST])
"""A manifest of images that nobody listed: without version tags."""


class EmbedColumn:
    """Runs on the workers: a batch of images to their features, or why there are none.

    A row without an image gets neither.
    """

    def __init__(
        self,
        network: Broadcast[Network],
        spec: NetworkSpec,
        engine: Engine,
        precision: Precision,
        threads: int,
        limits: DecodeLimits,
        options: StorageOptions | None,
        *,
        strict: bool,
    ) -> None:
        self._network = network
        self._spec = spec
        self._engine: Engine = engine
        self._precision: Precision = precision
        self._threads = threads
        self._limits = limits
        self._options = options
        self._strict = strict

    def __call__(self, images: pa.Array) -> pa.StructArray:
        """Embed a batch.

        Args:
            images: files as binary, or their addresses as strings.

        Returns:
            Structs of ``features``, a list of float32, and ``reject``, a struct of texts.

        Raises:
            InputError: an image cannot be used, where that is an error.
            ModelError: the network does not run here.
            StorageError: the storage cannot be asked at all.
        """
        runtime = shared_runtime(
            self._spec, lambda: self._network.value, self._engine, self._precision, self._threads
        )
        if pa.types.is_string(images.type) or pa.types.is_large_string(images.type):
            paths: list[str | None] = images.to_pylist()
            blobs = self._read(paths)
        else:
            paths = [None] * len(images)
            blobs = (image.as_py() for image in images)
        rejects: list[tuple[int, RejectedImage]] = []
        rows: list[int] = []
        parts: list[NDArray[np.float32]] = []
        known = [path or "" for path in paths]
        for batch in decode_batches(blobs, known, self._spec.size, self._limits, rejects, Watch()):
            rows += batch.rows
            parts.append(runtime.embed(batch.pixels[: len(batch.rows)]))
        if self._strict and len(rows) < len(images):
            _refuse(known, rejects)
        features = _spread(rows, parts, len(images))
        return pa.StructArray.from_arrays(
            [features, _told(rejects, len(images))], names=[FEATURES, REJECT]
        )

    def _read(self, paths: list[str | None]) -> Iterator[bytes | RejectedImage | None]:
        """What lies at each path, in order; those of one bucket are read ahead together."""
        places = (_place(path, self._options) for path in paths)
        for root, group in groupby(places, key=lambda place: place[0]):
            keys = [key for _, key in group]
            if root is None:
                yield from (
                    None if not key else RejectedImage(Reason.READ_FAILED, key) for key in keys
                )
                continue
            rows: list[dict[str, Any]] = [{"path": key, "size": -1} for key in keys]
            yield from read_images(
                open_store(root), pa.RecordBatch.from_pylist(rows, schema=_WANTED), self._limits
            )


def _refuse(paths: list[str], rejects: list[tuple[int, RejectedImage]]) -> NoReturn:
    fix = "Set handleInvalid to keep or skip to go on without such images."
    if not rejects:
        raise InputError("A row has no image.", fix)
    row, rejected = rejects[0]
    raise InputError(f"{paths[row] or 'An image'} cannot be used: {rejected.message}.", fix)


def _place(path: str | None, options: StorageOptions | None) -> tuple[Location | None, str]:
    """Root and key of a path; no root, and why, where it is none."""
    if path is None:
        return None, ""
    try:
        location = Location.parse(path, options)
    except UsageError as error:
        return None, error.what
    if location.scheme == "s3":
        return Location("s3", location.bucket, location.options), location.key
    return Location("file", "/"), location.path[1:]


def _spread(rows: list[int], parts: list[NDArray[np.float32]], count: int) -> pa.ListArray:
    """Features of some rows as a column of all rows, null in the others."""
    there = np.zeros(count, bool)
    there[rows] = True
    matrix = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
    found = lists_of(matrix)
    at = np.where(there, np.cumsum(there) - 1, 0)
    return found.take(pa.array(at, pa.int32(), mask=~there))


def _told(rejects: list[tuple[int, RejectedImage]], count: int) -> pa.Array:
    told: list[dict[str, str] | None] = [None] * count
    for row, rejected in rejects:
        told[row] = {
            STAGE: rejected.reason.stage,
            REASON: str(rejected.reason),
            MESSAGE: rejected.message[:300],
        }
    return pa.array(told, _REJECT)
