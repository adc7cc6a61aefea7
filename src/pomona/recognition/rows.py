"""Labelled rows of the features table as a worker reads them, with their roles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pomona.columns import matrix_of
from pomona.recognition.normalising import normalise
from pomona.schema import FEATURES, GROUP, LABEL, MODEL, PATH, SPLIT
from pomona.storage import open_store
from pomona.storage.table import read_datafile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pomona.recognition.splitting import Role, Split
    from pomona.storage import Location

_SLICE = 4_096
"""Rows that are turned into a matrix at a time."""
_KEYS = [PATH, LABEL, SPLIT, GROUP]


@dataclass(frozen=True)
class Rows:
    """Some rows whose label is one of the classes.

    Attributes:
        table: path, label, split, group and features.
        labels: int [n], index into the classes.
        roles: int8 [n].
    """

    table: pa.Table
    labels: NDArray[np.intp]
    roles: NDArray[np.int8]

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """float32 [n, d], normalised."""
        return normalise(matrix_of(self.table[FEATURES]))

    @property
    def paths(self) -> list[str]:
        """Of the images."""
        return list(self.table[PATH].to_pylist())

    def names(self, column: str) -> list[str]:
        """Values of ``split`` or ``group``; empty where there is none."""
        return [value or "" for value in self.table[column].to_pylist()]


@dataclass(frozen=True)
class Reading:
    """What a worker has to know to read rows; small and picklable, but for a large split.

    Attributes:
        features: location of the table.
        model: rows of other models are left out.
        classes: rows of other labels are left out.
        split: gives the roles.
    """

    features: Location
    model: str
    classes: tuple[str, ...]
    split: Split

    def only(self, classes: tuple[str, ...]) -> Reading:
        """The same for other classes."""
        return replace(self, classes=classes)

    def rows(self, files: Sequence[str], *roles: Role) -> Iterator[Rows]:
        """Rows of some roles, a few thousand at a time."""
        store = open_store(self.features)
        classes = pa.array(self.classes, pa.string())
        for file in files:
            table = read_datafile(store, file, [*_KEYS, MODEL, FEATURES])
            table = table.filter(pc.equal(table[MODEL], self.model)).drop_columns([MODEL])
            labels = pc.fill_null(pc.index_in(table[LABEL], value_set=classes), -1).to_numpy()
            found = self.split.roles(*(table[name].to_pylist() for name in _KEYS))
            wanted = np.flatnonzero((labels >= 0) & np.isin(found, roles))
            for at in range(0, len(wanted), _SLICE):
                some = wanted[at : at + _SLICE]
                yield Rows(table.take(pa.array(some)), labels[some].astype(np.intp), found[some])


def read_keys(features: Location, model: str, file: str) -> pa.Table:
    """Path, label, split and group of the rows of one model in a data file."""
    table = read_datafile(open_store(features), file, [*_KEYS, MODEL])
    return table.filter(pc.equal(table[MODEL], model)).select(_KEYS)
