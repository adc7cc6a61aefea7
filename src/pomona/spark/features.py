"""Columns of features as pyspark.ml stages take them, and functions on batches of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa  # noqa: TC002 - Spark looks the type hints up
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.functions import col
from pyspark.sql.types import ArrayType

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Column, DataFrame

    from pomona.errors import PomonaError


def as_array(
    dataset: DataFrame, name: str, *, stage: str, param: str, error: type[PomonaError]
) -> Column:
    """A column of vectors or arrays as arrays.

    Args:
        dataset: that should have the column.
        name: of the column.
        stage: what takes it, for messages ("A PCA").
        param: the Param that names it, for messages.
        error: what to raise.

    Raises:
        PomonaError: of the kind ``error``: no such column, or one of another type.
    """
    if name not in dataset.columns:
        raise error(
            f"There is no column {name!r}; there are {', '.join(dataset.columns)}.",
            f"Set {param} to the column of features.",
        )
    kind = dataset.schema[name].dataType
    if isinstance(kind, VectorUDT):
        return vector_to_array(col(name))
    if isinstance(kind, ArrayType) and kind.elementType.typeName() in ("float", "double"):
        return col(name)
    raise error(
        f"The column {name!r} is of type {kind.simpleString()}.",
        f"{stage} takes vectors, or arrays of float or double.",
    )


def of_batches(work: Callable[[pa.Array], pa.Array]) -> Callable[[pa.Array], pa.Array]:
    """A function as ``arrow_udf`` wants it, which goes by the type hints."""

    def of_batch(rows: pa.Array) -> pa.Array:
        return work(rows)

    return of_batch
