"""Evaluation on Spark: the leak audit, the answers to the test images, and leaving groups out."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.recognition.calibration import by_fruit
from pomona.recognition.duplicates import BINS, Duplicates
from pomona.recognition.evaluation import Tally, share
from pomona.recognition.learning import Block, descend, thinned
from pomona.recognition.linear import LinearClassifier, Spread, softmax
from pomona.recognition.regression import Descent, Problem
from pomona.recognition.splitting import Role
from pomona.recognition.statistics import ClassStatistics
from pomona.recognition.training import Shipped
from pomona.reduction.job import spread
from pomona.schema import GROUP, SPLIT
from pomona.spark.jobs import run_chunks, tree_reduce
from pomona.spark.kept import Kept
from pomona.spark.session import slots_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from pyspark import Broadcast, SparkContext

    from pomona.recognition.answering import Naming
    from pomona.recognition.recogniser import Recogniser
    from pomona.recognition.rows import Reading, Rows
    from pomona.recognition.training import Labelled
    from pomona.storage.table import Table

FOLDS = 5
_ROWS_OF_TASK = 20_000
_EVERYTHING = (Role.TRAIN, Role.VALIDATE, Role.TEST, Role.UNUSED)


class _Compare:
    """Worker's part of the audit: some labels, and the files that hold them."""

    def __init__(
        self,
        reading: Broadcast[Reading],
        units: Broadcast[tuple[NDArray[np.float32], NDArray[np.float32]]],
    ) -> None:
        self._reading = reading
        self._units = units

    def __call__(self, payload: tuple[frozenset[int], list[str]]) -> Duplicates:
        labels, files = payload
        mean, scale = self._units.value
        sides: dict[tuple[int, bool], tuple[list[NDArray[np.float32]], list[str]]] = {}
        wanted = np.array(sorted(labels))
        reading = self._reading.value
        for rows in reading.rows(files, Role.TRAIN, Role.VALIDATE, Role.TEST):
            standard = (rows.features - mean) / scale
            paths = rows.paths
            for at in np.flatnonzero(np.isin(rows.labels, wanted)).tolist():
                key = int(rows.labels[at]), bool(rows.roles[at] == Role.TEST)
                values, names = sides.setdefault(key, ([], []))
                values.append(standard[at])
                names.append(paths[at])
        found = Duplicates.none()
        for label in labels:
            if (label, True) in sides and (label, False) in sides:
                known, known_paths = sides[label, False]
                test, test_paths = sides[label, True]
                found = found.merge(
                    Duplicates.between(np.stack(known), known_paths, np.stack(test), test_paths)
                )
        return found


class _Answer:
    """Worker's part of the evaluation: test images to a tally."""

    def __init__(
        self,
        reading: Broadcast[Reading],
        recogniser: Broadcast[Recogniser],
        seen: Broadcast[tuple[frozenset[str], frozenset[str]]],
    ) -> None:
        self._reading = reading
        self._recogniser = recogniser
        self._seen = seen

    def __call__(self, files: list[str]) -> Tally:
        recogniser = self._recogniser.value
        near, exact = self._seen.value
        tally = Tally.none(len(recogniser.naming.classes))
        for rows in self._reading.value.rows(files, Role.TEST):
            probabilities, novelty = recogniser.recognise_normalised(rows.features)
            paths = rows.paths
            kinds = [
                "exact" if path in exact else "near" if path in near else "new" for path in paths
            ]
            parts = {"split": rows.names(SPLIT), "duplicate": kinds, "group": rows.names(GROUP)}
            tally = tally.merge(
                Tally.of(recogniser.naming, probabilities, novelty, rows.labels, paths, parts)
            )
        return tally


def audit(
    context: SparkContext,
    reading: Reading,
    labelled: Labelled,
    units: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> Duplicates:
    """Find the test images that training has seen already.

    Args:
        context: Spark.
        reading: which rows, classes and split.
        labelled: which file holds which labels, and how many images each has.
        units: mean and standard deviation of the normalised features, float32 [d] each.
    """
    sizes: Counter[str] = Counter()
    for (_, label), count in labelled.survey.labels.items():
        sizes[label] += count
    payloads = []
    for labels in _batches(reading.classes, sizes, slots_of(context)):
        names = {reading.classes[index] for index in labels}
        files = sorted(file for file, held in labelled.labels.items() if held & names)
        payloads.append((labels, files))
    with Shipped(context) as ship:
        work = _Compare(ship(reading), ship(units))
        chunks = run_chunks(context, [payloads], work, describe="looking for duplicates")
        with closing(chunks):
            found = [part for results in chunks for part in results]
    return reduce(Duplicates.merge, found, Duplicates.none())


def _batches(
    classes: tuple[str, ...], sizes: Mapping[str, int], slots: int
) -> list[frozenset[int]]:
    """Classes gathered into tasks of about equal numbers of images, neighbours together."""
    total = sum(sizes[name] for name in classes)
    tasks = max(2 * slots, -(-total // _ROWS_OF_TASK))
    gathered: list[set[int]] = [set() for _ in range(tasks)]
    seen = 0
    for index, name in enumerate(classes):
        gathered[min(tasks - 1, seen * tasks // max(1, total))].add(index)
        seen += sizes[name]
    return [frozenset(batch) for batch in gathered if batch]


def answer(
    context: SparkContext,
    features: Table,
    reading: Reading,
    recogniser: Recogniser,
    duplicates: Duplicates,
) -> Tally:
    """Answer every test image, and count."""
    tasks = spread(features.files(), slots_of(context))
    with Shipped(context) as ship:
        seen = duplicates.near, duplicates.exact
        work = _Answer(ship(reading), ship(recogniser), ship(seen))
        return tree_reduce(context, tasks, work, Tally.merge, describe="answering test images")


def told_duplicates(found: Duplicates, tally: Tally) -> dict[str, Any]:
    """The audit as plain values, with the accuracy with and without duplicates."""

    def count(*kinds: str) -> dict[str, Any]:
        right = sum(tally.parts["duplicate", kind, True] for kind in kinds)
        wrong = sum(tally.parts["duplicate", kind, False] for kind in kinds)
        return share(right, right + wrong)

    return {
        "compared": found.images,
        "exact": len(found.exact),
        "near": len(found.near),
        "accuracy_of_exact": count("exact"),
        "accuracy_of_near": count("near"),
        "accuracy_without": count("new"),
        "nearest_cosine": {"bins": BINS, "images": found.histogram.tolist()},
        "pairs": [pair._asdict() for pair in found.pairs],
    }


@dataclass(frozen=True)
class _Folds:
    """Which rows are left out together.

    Attributes:
        by_group: whether a unit is a group; else it is a label.
        folds: fold of each unit, (label, group) or (label, "").
    """

    by_group: bool
    folds: dict[tuple[str, str], int]

    def of(self, rows: Rows, classes: tuple[str, ...]) -> NDArray[np.int8]:
        """The fold of each row; -1 for rows that only train."""
        groups = rows.names(GROUP) if self.by_group else [""] * len(rows.labels)
        return np.array(
            [
                self.folds.get((classes[label], group), -1)
                for label, group in zip(rows.labels.tolist(), groups, strict=True)
            ],
            np.int8,
        )


class _ReadFolds:
    """Worker's part: data files to blocks whose rows know their fold."""

    def __init__(self, reading: Broadcast[Reading], folds: Broadcast[_Folds]) -> None:
        self._reading = reading
        self._folds = folds

    def __call__(self, files: list[str]) -> Iterator[Block]:
        reading = self._reading.value
        for rows in reading.rows(files, *_EVERYTHING):
            yield Block(rows.features, rows.labels, self._folds.value.of(rows, reading.classes))


@dataclass(frozen=True)
class _Sums:
    """Class statistics of all rows, and how many each fold has of each class."""

    statistics: ClassStatistics
    counts: NDArray[np.int64]

    def merge(self, other: _Sums) -> _Sums:
        return _Sums(self.statistics.merge(other.statistics), self.counts + other.counts)


class _GatherFolds:
    def __init__(self, classes: int) -> None:
        self._classes = classes

    def __call__(self, block: Block) -> _Sums:
        counts = np.zeros((FOLDS + 1, self._classes), np.int64)
        np.add.at(counts, (block.folds, block.labels), 1)  # those that only train come last
        return _Sums(ClassStatistics.of(block.features, block.labels, self._classes), counts)


@dataclass(frozen=True)
class _Counts:
    """Images by fold, and whether label and fruit are right."""

    images: Counter[tuple[int, bool, bool]]

    def merge(self, other: _Counts) -> _Counts:
        return _Counts(self.images + other.images)


class _AnswerFolds:
    """Worker's part: each row answered by the classifier that never saw its fold."""

    def __init__(
        self,
        learned: dict[int, tuple[LinearClassifier, NDArray[np.intp]]],
        fruits: NDArray[np.intp],
        temperature: float,
    ) -> None:
        self._learned = learned
        self._fruits = fruits
        self._temperature = temperature

    def __call__(self, block: Block) -> _Counts:
        found = Counter[tuple[int, bool, bool]]()
        for fold, (classifier, classes) in self._learned.items():
            some = block.only(block.folds == fold)
            if not len(some.labels):
                continue
            logits = classifier.logits(some.features)[:, classes]
            probabilities = softmax(logits, self._temperature)
            right = classes[logits.argmax(axis=1)] == some.labels
            summed = by_fruit(probabilities, self._fruits[classes])
            fruit_right = summed.argmax(axis=1) == self._fruits[some.labels]
            found.update(
                zip([fold] * len(right), right.tolist(), fruit_right.tolist(), strict=True)
            )
        return _Counts(found)


def leave_out(
    context: SparkContext,
    features: Table,
    reading: Reading,
    labelled: Labelled,
    naming: Naming,
    penalty: float,
) -> dict[str, Any] | None:
    """Train without some groups, and try to name these; five times, until each was left out.

    Where labels have several groups (varieties, shops, days) whole groups are left out and the
    label is to be named. Otherwise, where fruits have several labels, whole labels are left out
    and the *fruit* is to be named, which the classifier knows from other varieties alone.

    Returns:
        Plain values; None where there is neither.
    """
    folds = _fold(labelled, reading.classes, naming)
    if folds is None:
        return None
    tasks = spread(features.files(), slots_of(context))
    fruits = naming.fruit_index
    with Shipped(context) as ship:
        read = _ReadFolds(ship(reading), ship(folds))
        with Kept.of(context, tasks, read, describe="reading features") as blocks:
            gather = _GatherFolds(len(reading.classes))
            sums = blocks.reduce(gather, describe="gathering statistics of groups")
            everything = Spread(sums.statistics)
            left = {}
            with thinned(blocks, sums.counts.sum(axis=0)) as few:
                some = sums if few is blocks else few.reduce(gather, describe="counting")
                for fold in range(FOLDS):
                    trained = some.counts.sum(axis=0) - some.counts[fold]
                    if some.counts[fold].any() and np.count_nonzero(trained) >= 2:
                        problem = Problem.balanced(penalty, trained.astype(np.float64), fold)
                        left[fold] = Descent(everything, problem)
                every = np.arange(len(reading.classes))
                found = descend(few, every, tuple(left.values()), int(some.counts.sum()))
            learned = {
                fold: (classifier, np.flatnonzero(descent.problem.weights))
                for (fold, descent), classifier in zip(left.items(), found, strict=True)
            }
            counts = blocks.reduce(
                _AnswerFolds(learned, fruits, naming.calibration.temperature),
                describe="answering groups that were left out",
            )
    return _told(folds, counts.images)


def _fold(labelled: Labelled, classes: tuple[str, ...], naming: Naming) -> _Folds | None:
    groups: dict[str, set[str]] = {}
    for _, label, group in labelled.survey.groups:
        if label in classes:
            groups.setdefault(label, set()).add(group)
    several = {label: sorted(names) for label, names in groups.items() if len(names) > 1}
    if several:
        # A group that labels share is left out of all of them at once.
        units = sorted({name for names in several.values() for name in names})
        fold_of = {name: index % FOLDS for index, name in enumerate(units)}
        return _Folds(
            True,
            {(label, name): fold_of[name] for label, names in several.items() for name in names},
        )
    varieties: dict[str, list[str]] = {}
    for label, fruit in zip(naming.classes, naming.fruits, strict=True):
        varieties.setdefault(fruit, []).append(label)
    folds = {
        (label, ""): index % FOLDS
        for names in varieties.values()
        if len(names) > 1
        for index, label in enumerate(names)
    }
    return _Folds(False, folds) if folds else None


def _told(folds: _Folds, counts: Counter[tuple[int, bool, bool]]) -> dict[str, Any]:
    def of(fold: int | None) -> dict[str, Any]:
        mine = {key: number for key, number in counts.items() if fold in (None, key[0])}
        right = sum(number for key, number in mine.items() if key[1 if folds.by_group else 2])
        return share(right, sum(mine.values()))

    return {
        "left_out": "groups" if folds.by_group else "labels",
        "named": "label" if folds.by_group else "fruit",
        "units": len(folds.folds),
        "accuracy": of(None),
        "folds": [of(fold) for fold in sorted({key[0] for key in counts})],
    }
