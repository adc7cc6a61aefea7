"""The reduced matrix as a map: points of the first axes, and each axis' most extreme images.

One pass over ``components``; of a table larger than a browser can draw, rows are sampled evenly.
"""

from __future__ import annotations

import base64
import gzip
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pomona.report.text import shown
from pomona.schema import COMPONENTS, LABEL, PATH, SPLIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pomona.storage.table import Table

MOST_POINTS = 100_000
"""That are drawn."""
_AXES = 4
"""Axes that the map can show, two at a time."""
_NAMED_AXES = 5
"""Axes whose extreme images are shown."""
_EXTREMES, _CANDIDATES = 6, 400
_MOST_LABELS = 1_000
_COMPARED = 3_000
"""Points whose nearest neighbour is looked for."""
_STEPS = 65_535
_OTHER = "(other labels)"


class Extreme(NamedTuple):
    """An image far out on an axis."""

    path: str
    label: str
    value: float


@dataclass(frozen=True)
class Axis:
    """One principal axis, by its extreme images.

    Attributes:
        low: those of the smallest values, the most extreme first.
        high: those of the largest.
    """

    low: tuple[Extreme, ...]
    high: tuple[Extreme, ...]


@dataclass(frozen=True)
class Points:
    """Images on the first principal axes.

    Attributes:
        rows: of the table.
        values: float32 [n, a], a up to four.
        paths: n of them, sorted.
        labels: n of them; an image without has an empty one.
        splits: likewise.
        axes: the first ones, by their extreme images among all rows.
    """

    rows: int
    values: NDArray[np.float32]
    paths: list[str]
    labels: list[str]
    splits: list[str]
    axes: tuple[Axis, ...]

    @property
    def sampled(self) -> bool:
        """Whether there are more rows than points."""
        return len(self.paths) < self.rows

    def neighbours(self) -> tuple[float, float] | None:
        """How well two axes part the labels.

        Returns:
            The share of points whose nearest neighbour on the first two axes has their label, and
            the share that chance would give; None without two labels. Of many points some are
            looked at.
        """
        names = np.unique(np.asarray(self.labels, dtype=object).astype(str), return_inverse=True)[1]
        if len(names) < 3 or names.max() == 0:
            return None
        chosen = _spread(len(names), _COMPARED)
        at, names = self.values[chosen, :2].astype(np.float64), names[chosen]
        found = 0
        for begin in range(0, len(at), 500):
            part = at[begin : begin + 500]
            distances = ((part[:, None] - at[None]) ** 2).sum(axis=2)
            distances[np.arange(len(part)), np.arange(begin, begin + len(part))] = np.inf
            found += int((names[distances.argmin(axis=1)] == names[begin : begin + 500]).sum())
        counts = np.bincount(names)
        chance = (counts * (counts - 1)).sum() / (len(at) * (len(at) - 1))
        return found / len(at), float(chance)


def read_points(table: Table) -> Points | None:
    """Read the map's points; None where there is no reduced matrix, or an empty one.

    Raises:
        TableError: a data file is gone or damaged.
    """
    rows = table.rows() if table.exists() else 0
    if not rows:
        return None
    kept = _spread(rows, MOST_POINTS)
    parts: list[pa.Table] = []
    blocks: list[NDArray[np.float32]] = []
    farthest: _Farthest | None = None
    begin = 0
    for batch, values in _values(table):
        if farthest is None:
            farthest = _Farthest(min(_NAMED_AXES, values.shape[1]))
        farthest.see(batch, values)
        here = kept[(kept >= begin) & (kept < begin + len(values))] - begin
        begin += len(values)
        parts.append(batch.take(pa.array(here)))
        blocks.append(values[here, :_AXES])
    if farthest is None:
        return None
    names = pa.concat_tables(parts)
    paths = names[PATH].to_pylist()
    order = sorted(range(len(paths)), key=paths.__getitem__)
    labels, splits = (names[column].to_pylist() for column in (LABEL, SPLIT))
    return Points(
        rows=rows,
        values=np.concatenate(blocks)[order],
        paths=[paths[at] for at in order],
        labels=[labels[at] or "" for at in order],
        splits=[splits[at] or "" for at in order],
        axes=farthest.axes(),
    )


def _values(table: Table) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
    """The names of each data file's rows, and their components up to those that are shown."""
    for rows in table.batches([PATH, LABEL, SPLIT, COMPONENTS]):
        if rows.num_rows:
            lists = rows[COMPONENTS].combine_chunks()
            flat = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
            values = flat.reshape(rows.num_rows, -1)[:, :_NAMED_AXES]
            yield rows.drop_columns([COMPONENTS]), np.ascontiguousarray(values, np.float32)


def _spread(count: int, most: int) -> NDArray[np.intp]:
    """Rows of a sample that is even over the whole and the same each time."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


class _Farthest:
    """Candidates for both ends of some axes, while batches pass."""

    def __init__(self, axes: int) -> None:
        self._ends: list[tuple[list[Extreme], list[Extreme]]] = [([], []) for _ in range(axes)]

    def see(self, names: pa.Table, values: NDArray[np.float32]) -> None:
        """Take in a batch."""
        paths, labels = names[PATH], names[LABEL]
        for axis, (low, high) in enumerate(self._ends):
            column = values[:, axis]
            count = min(_CANDIDATES, len(column))
            for end, sign in ((low, 1), (high, -1)):
                rows = np.argpartition(sign * column, count - 1)[:count]
                end += [
                    Extreme(paths[int(r)].as_py(), labels[int(r)].as_py() or "", float(column[r]))
                    for r in rows
                ]
                end.sort(key=lambda extreme: (sign * extreme.value, extreme.path))
                del end[_CANDIDATES:]

    def axes(self) -> tuple[Axis, ...]:
        """The axes, by their ends."""
        return tuple(Axis(_various(low), _various(high)) for low, high in self._ends)


def _various(end: Sequence[Extreme]) -> tuple[Extreme, ...]:
    """The most extreme images, one of each label as far as they reach: frames are alike."""
    seen: Counter[str] = Counter()
    ranked = []
    for rank, extreme in enumerate(end):
        ranked.append((seen[extreme.label] if extreme.label else 0, rank))
        seen[extreme.label] += 1
    chosen = sorted(sorted(ranked)[:_EXTREMES], key=lambda place: place[1])
    return tuple(end[rank] for _, rank in chosen)


def pictured(points: Points, most: int) -> list[str]:
    """Paths of the points that get a picture: first one of each label, then evenly over the map.

    Args:
        points: to choose from.
        most: paths.
    """
    at = points.values[:, :2].astype(np.float64)
    span = np.ptp(at, axis=0)
    unit = (at - at.min(axis=0)) / np.where(span > 0, span, 1)
    chosen: dict[int, None] = {}
    labels = np.asarray(points.labels, dtype=object).astype(str)
    for row in np.unique(labels, return_index=True)[1].tolist():
        chosen.setdefault(_middle(unit, labels == labels[row]))
    cells = 4
    while len(chosen) < min(most, len(at)) and cells <= 4_096:
        keys = np.minimum((unit * cells).astype(int), cells - 1) @ [1, cells][: unit.shape[1]]
        taken = set(keys[list(chosen)].tolist())
        for key, row in zip(*np.unique(keys, return_index=True), strict=True):
            if key not in taken:
                chosen.setdefault(int(row))
        cells *= 2
    return [points.paths[row] for row in list(chosen)[:most]]


def _middle(unit: NDArray[np.float64], rows: NDArray[np.bool_]) -> int:
    """The row that is nearest to the middle of some."""
    chosen = np.nonzero(rows)[0]
    middle = np.median(unit[chosen], axis=0)
    return int(chosen[((unit[chosen] - middle) ** 2).sum(axis=1).argmin()])


def encoded(points: Points, shares: Sequence[float], budget: int) -> tuple[dict[str, Any], Points]:
    """The points as the page's script reads them, within so many characters, and which they are.

    Coordinates are 16-bit steps between each axis' ends. Where the budget is short, the later axes
    go first, then points.

    Args:
        points: to encode.
        shares: of the variance, by axis.
        budget: characters, about.
    """
    axes = points.values.shape[1]
    while True:
        found = _encode(points, shares, axes)
        size = sum(len(value) for value in found.values() if isinstance(value, str))
        if size <= budget or len(points.paths) < 1_000:
            return found, points
        if axes > 2:
            axes -= 1
        else:
            points = _thinned(points, 0.95 * budget / size)


def _thinned(points: Points, share: float) -> Points:
    rows = _spread(len(points.paths), int(len(points.paths) * share))
    return replace(
        points,
        values=points.values[rows],
        paths=[points.paths[row] for row in rows],
        labels=[points.labels[row] for row in rows],
        splits=[points.splits[row] for row in rows],
    )


def _encode(points: Points, shares: Sequence[float], axes: int) -> dict[str, Any]:
    values = points.values[:, :axes].astype(np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    steps = np.round((values - low) / np.where(high > low, high - low, 1) * _STEPS)
    labels, label_of = _codes(points.labels)
    splits, split_of = _codes(points.splits)
    return {
        "count": len(points.paths),
        "rows": points.rows,
        "axes": [
            {"share": share, "low": float(a), "high": float(b)}
            for share, a, b in zip(shares, low, high, strict=False)
        ],
        "labels": labels,
        "splits": splits,
        "values": _packed(_planes(steps.T.astype(np.uint16))),
        "label_of": _packed(_planes(label_of)),
        "split_of": _packed(_planes(split_of)),
        "paths": _packed("\0".join(shown(path) for path in points.paths).encode()),
    }


def _codes(names: Sequence[str]) -> tuple[list[str], NDArray[np.uint16]]:
    """Distinct names in order, the rare ones of very many joined, and which each row has."""
    distinct, codes, counts = np.unique(
        np.asarray(names, dtype=object).astype(str), return_inverse=True, return_counts=True
    )
    if len(distinct) > _MOST_LABELS:
        common = np.sort(np.argsort(-counts, kind="stable")[: _MOST_LABELS - 1])
        place = np.full(len(distinct), _MOST_LABELS - 1)
        place[common] = np.arange(len(common))
        distinct, codes = np.append(distinct[common], _OTHER), place[codes]
    return [shown(str(name), 80) for name in distinct], codes.astype(np.uint16)


def _planes(numbers: NDArray[np.uint16]) -> bytes:
    """All high bytes, then all low bytes, which packs better than the two in turn."""
    return (numbers >> 8).astype(np.uint8).tobytes() + (numbers & 255).astype(np.uint8).tobytes()


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
