"""Columns of lists as matrices, and matrices as columns of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pomona.errors import TableError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def matrix_of(column: pa.ChunkedArray | pa.ListArray) -> NDArray[np.floating]:
    """A column of lists of one length as a matrix.

    Args:
        column: lists of floats, none of them null.

    Returns:
        [n, d] of the lists' own type, without a copy where the column is one chunk; [0, 0] for
        no rows.

    Raises:
        TableError: lists of several lengths, or a list or value that is null.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    count = len(column)
    if not count:
        return np.empty((0, 0), np.float32)
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise TableError(
            "Some rows have no features, or features that are null.",
            "Filter them out before this step.",
        )
    lengths = np.diff(column.offsets.to_numpy())
    if (lengths != lengths[0]).any():
        raise TableError(
            f"The features have several lengths, such as {lengths.min()} and {lengths.max()}.",
            "Give rows of one network; in OUTPUT, the table was changed by hand.",
        )
    matrix: NDArray[np.floating] = flat.to_numpy(zero_copy_only=False).reshape(count, -1)
    return matrix


def lists_of(matrix: NDArray[np.float32]) -> pa.ListArray:
    """A matrix [n, d] as a column of n lists of d values."""
    count, width = matrix.shape
    offsets = np.arange(0, count * width + 1, width or 1, dtype=np.int32)
    if not width:
        offsets = np.zeros(count + 1, np.int32)
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(matrix).reshape(-1))
