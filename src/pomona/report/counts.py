"""What the tables hold, counted for the report in one pass each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pomona.schema import ETAG, LABEL, MESSAGE, MODEL, PATH, REASON, SPLIT, STAGE

if TYPE_CHECKING:
    from collections.abc import Collection

    from pomona.storage.table import Table


@dataclass
class Images:
    """Embedded images of one model.

    Attributes:
        by_label: how many of each label and split; an image without has an empty one.
        etags: version of those that were asked for, by path.
    """

    by_label: dict[str, Counter[str]] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(splits.total() for splits in self.by_label.values())

    @property
    def splits(self) -> Counter[str]:
        """How many of each split."""
        return sum(self.by_label.values(), Counter[str]())

    @property
    def labelled(self) -> list[tuple[str, Counter[str]]]:
        """The labels, those with the most images first; none where no image has one."""
        if set(self.by_label) <= {""}:
            return []
        return sorted(self.by_label.items(), key=lambda item: (-item[1].total(), item[0]))


def count_images(features: Table, model: str, wanted: Collection[str]) -> Images:
    """Count the rows of ``features``.

    Args:
        features: the table.
        model: rows of others do not count.
        wanted: paths whose version is to be noted.

    Raises:
        TableError: the table is absent or damaged.
    """
    images, paths = Images(), pa.array(list(wanted), pa.string())
    for rows in features.batches([PATH, ETAG, LABEL, SPLIT, MODEL]):
        mine = rows.filter(pc.equal(rows[MODEL], model))
        groups = mine.group_by([LABEL, SPLIT]).aggregate([([], "count_all")])
        for row in groups.to_pylist():
            splits = images.by_label.setdefault(row[LABEL] or "", Counter())
            splits[row[SPLIT] or ""] += row["count_all"]
        if len(paths):
            found = mine.filter(pc.is_in(mine[PATH], paths))
            images.etags.update(zip(found[PATH].to_pylist(), found[ETAG].to_pylist(), strict=True))
    return images


@dataclass
class Rejects:
    """Images that could not be used.

    Attributes:
        by_reason: how many.
        examples: some of each reason in turn, with path, etag, stage, reason and message.
    """

    by_reason: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)


def count_rejects(rejects: Table, most: int) -> Rejects:
    """Count the rows of ``rejects``, and keep some of each reason.

    Args:
        rejects: the table; it may be absent.
        most: examples in all.

    Raises:
        TableError: a data file is gone or damaged.
    """
    found, kept = Rejects(), dict[str, list[dict[str, Any]]]()
    if not rejects.exists():
        return found
    for rows in rejects.batches([PATH, ETAG, STAGE, REASON, MESSAGE]):
        for reason in rows[REASON].unique().to_pylist():
            mine = rows.filter(pc.equal(rows[REASON], reason))
            found.by_reason[reason] += mine.num_rows
            some = kept.setdefault(reason, [])
            some += mine.slice(0, max(0, most - len(some))).to_pylist()
    found.examples = _fairly(kept, most)
    return found


def _fairly(kept: dict[str, list[dict[str, Any]]], most: int) -> list[dict[str, Any]]:
    """So many examples, each reason in turn, so that a frequent one does not hide the others."""
    turns = sorted(
        (place, reason) for reason, rows in kept.items() for place in range(min(most, len(rows)))
    )
    return [kept[reason][place] for place, reason in turns[:most]]
