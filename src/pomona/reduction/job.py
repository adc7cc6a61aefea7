"""The reduction on Spark: workers read the data files of ``features`` and write ``components``."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pomona.columns import lists_of, matrix_of
from pomona.errors import TableError
from pomona.reduction.moments import Moments
from pomona.reduction.principal import PrincipalComponents, fit_principal
from pomona.schema import COMPONENTS_TABLE, FEATURES, GROUP, LABEL, MODEL, PATH, SPLIT
from pomona.spark.jobs import run_chunks, tree_reduce
from pomona.spark.session import slots_of
from pomona.storage import open_store
from pomona.storage.datafile import write_datafile
from pomona.storage.table import read_datafile

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from pyspark import Broadcast, SparkContext

    from pomona.storage import Location
    from pomona.storage.datafile import DataFile
    from pomona.storage.table import Table

_SLICE = 4_096
"""Rows that are turned into float64 at a time."""


@dataclass(frozen=True)
class _Gather:
    """Worker's part of the fit: data files to moments."""

    features: Location
    model: str

    def __call__(self, files: list[str]) -> Moments:
        found = (Moments.of(rows) for rows in _matrices(self.features, files, self.model))
        return reduce(Moments.merge, found, Moments.none(0))


class _Project:
    """Worker's part of the transformation: data files to one data file of components."""

    def __init__(
        self,
        features: Location,
        components: Location,
        model: str,
        run: str,
        pca: Broadcast[PrincipalComponents],
    ) -> None:
        self._features = features
        self._components = components
        self._model = model
        self._run = run
        self._pca = pca

    def __call__(self, files: list[str]) -> DataFile | None:
        pca = self._pca.value
        source = open_store(self._features)
        parts = []
        for file in files:
            rows = read_datafile(source, file, [PATH, LABEL, SPLIT, GROUP, MODEL, FEATURES])
            rows = rows.filter(pc.equal(rows[MODEL], self._model))
            for at in range(0, rows.num_rows, _SLICE):
                piece = rows.slice(at, _SLICE)
                projected = pca.transform(matrix_of(piece[FEATURES]))
                parts.append(
                    pa.Table.from_arrays(
                        [
                            *(piece[name] for name in (PATH, LABEL, SPLIT, GROUP)),
                            lists_of(projected),
                        ],
                        schema=COMPONENTS_TABLE,
                    )
                )
        if not parts:
            return None
        return write_datafile(open_store(self._components), pa.concat_tables(parts), self._run)


def fit_pca(
    context: SparkContext,
    features: Table,
    model: str,
    *,
    components: int | None,
    variance: float,
) -> PrincipalComponents:
    """Fit a PCA on the rows of one model.

    Raises:
        TableError: there are no such rows.
        ReductionError: the rows do not allow it.
    """
    files = features.files()
    if not sum(file.rows for file in files):
        raise TableError(
            f"The table {features.location} has no rows.", "Run `pomona embed INPUT OUTPUT` first."
        )
    tasks = spread(files, slots_of(context))
    moments = tree_reduce(
        context,
        tasks,
        _Gather(features.location, model),
        Moments.merge,
        describe="gathering moments",
    )
    return fit_principal(moments, k=components, variance=variance)


def project(
    context: SparkContext,
    features: Table,
    components: Table,
    model: str,
    run: str,
    pca: PrincipalComponents,
) -> int:
    """Write the reduced matrix and make it the newest version of ``components``.

    Returns:
        The number of rows.
    """
    tasks = spread(features.files(), 2 * slots_of(context))
    shipped = context.broadcast(pca)
    work = _Project(features.location, components.location, model, run, shipped)
    files: list[DataFile] = []
    try:
        with closing(run_chunks(context, [tasks], work, describe="projecting features")) as chunks:
            files += [file for results in chunks for file in results if file is not None]
    finally:
        shipped.unpersist()
    components.create()
    components.commit(files, overwrite=True)
    return sum(file.rows for file in files)


def _matrices(features: Location, files: list[str], model: str) -> Iterator[NDArray[np.floating]]:
    store = open_store(features)
    for file in files:
        rows = read_datafile(store, file, [MODEL, FEATURES])
        rows = rows.filter(pc.equal(rows[MODEL], model))
        for at in range(0, rows.num_rows, _SLICE):
            yield matrix_of(rows[FEATURES].slice(at, _SLICE))


def spread(files: list[DataFile], tasks: int) -> list[list[str]]:
    """Data files dealt out to tasks of about equal numbers of rows, in order."""
    total = sum(file.rows for file in files)
    dealt: list[list[str]] = []
    seen = 0
    for file in files:
        share = min(tasks - 1, seen * tasks // max(1, total))
        while len(dealt) <= share:
            dealt.append([])
        dealt[share].append(file.path)
        seen += file.rows
    return [names for names in dealt if names]
