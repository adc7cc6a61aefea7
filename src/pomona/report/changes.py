"""What changed between two OUTPUT folders: images, their labels, and what was rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pomona.schema import ETAG, FEATURES_TABLE, LABEL, MODEL, PATH, REASON, REJECTS_TABLE
from pomona.storage.table import Table

if TYPE_CHECKING:
    from pomona.storage import Location

_EXAMPLES = 20
_BEFORE, _AFTER = "_before", "_after"


def image_changes(
    before: tuple[Location, str], after: tuple[Location, str]
) -> dict[str, dict[str, Any]]:
    """Images that came, went, changed their content or their label.

    Both tables' names are in memory, about 100 bytes a row.

    Args:
        before: OUTPUT and the model whose rows count.
        after: likewise.

    Returns:
        By kind of change (``came``, ``went``, ``new_version``, ``relabelled``): ``count`` and
        ``examples``; and ``same``.

    Raises:
        TableError: there is no features table, or it is damaged.
    """
    both = _joined(_images(*before), _images(*after), [ETAG, LABEL])
    there = [pc.is_valid(both[ETAG + side]) for side in (_BEFORE, _AFTER)]
    in_both = pc.and_(*there)
    new = pc.and_(in_both, pc.not_equal(both[ETAG + _BEFORE], both[ETAG + _AFTER]))
    labels = [pc.fill_null(both[LABEL + side], "") for side in (_BEFORE, _AFTER)]
    other = pc.and_(in_both, pc.not_equal(*labels))
    return {
        "came": _found(both, pc.invert(there[0])),
        "went": _found(both, pc.invert(there[1])),
        "new_version": _found(both, new),
        "relabelled": _found(both, other, LABEL),
        "same": _found(both, pc.and_(in_both, pc.invert(pc.or_(new, other))), examples=0),
    }


def reject_changes(before: Location, after: Location) -> dict[str, dict[str, Any]]:
    """Rejects that came, went, or have another reason.

    Raises:
        TableError: a data file is gone or damaged.
    """
    both = _joined(_rejects(before), _rejects(after), [REASON])
    there = [pc.is_valid(both[REASON + side]) for side in (_BEFORE, _AFTER)]
    other = pc.not_equal(both[REASON + _BEFORE], both[REASON + _AFTER])
    return {
        "came": _found(both, pc.invert(there[0]), REASON),
        "went": _found(both, pc.invert(there[1]), REASON),
        "other_reason": _found(both, pc.fill_null(other, fill_value=False), REASON),
    }


def _images(output: Location, model: str) -> pa.Table:
    table, names = Table(output.join("features"), FEATURES_TABLE), [PATH, ETAG, LABEL]
    parts = [
        rows.filter(pc.equal(rows[MODEL], model)).select(names)
        for rows in table.batches([*names, MODEL])
    ]
    return _one_each(parts, names)


def _rejects(output: Location) -> pa.Table:
    table = Table(output.join("rejects"), REJECTS_TABLE)
    return _one_each(list(table.batches([PATH, REASON])) if table.exists() else [], [PATH, REASON])


def _one_each(parts: list[pa.Table], names: list[str]) -> pa.Table:
    """The parts as one table, with one row a path."""
    if not parts:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    rest = names[1:]
    found = pa.concat_tables(parts).group_by(PATH).aggregate([(name, "max") for name in rest])
    return found.rename_columns([name.removesuffix("_max") for name in found.column_names])


def _joined(before: pa.Table, after: pa.Table, columns: list[str]) -> pa.Table:
    left, right = (
        table.rename_columns([PATH, *(f"{name}{side}" for name in table.column_names[1:])])
        for table, side in ((before, _BEFORE), (after, _AFTER))
    )
    wanted = [PATH, *(f"{name}{side}" for side in (_BEFORE, _AFTER) for name in columns)]
    return left.join(right, PATH, join_type="full outer").select(wanted)


def _found(
    rows: pa.Table, chosen: pa.ChunkedArray, column: str = "", examples: int = _EXAMPLES
) -> dict[str, Any]:
    """How many rows, and the first ones by path, with a column's value before and after."""
    found = rows.filter(chosen)
    shown = found.sort_by(PATH).slice(0, examples).to_pylist() if examples else []
    return {
        "count": found.num_rows,
        "examples": [
            {"path": row[PATH]}
            | ({"before": row[column + _BEFORE], "after": row[column + _AFTER]} if column else {})
            for row in shown
        ],
    }
