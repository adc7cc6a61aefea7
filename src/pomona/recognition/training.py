"""Training on Spark: a look at paths and labels, then blocks of rows to learn from.

The features are read once, and stay on the workers.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.recognition.learning import TRAINS, VALIDATES, Block, Learned, learn
from pomona.recognition.rows import Reading, read_keys
from pomona.recognition.splitting import Role, Split, Survey, plan_split
from pomona.reduction.job import spread
from pomona.schema import GROUP, LABEL, PATH, SPLIT
from pomona.spark.jobs import run_chunks
from pomona.spark.kept import Kept
from pomona.spark.session import slots_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark import Broadcast, SparkContext

    from pomona.recognition.fruits import FruitTable
    from pomona.storage import Location
    from pomona.storage.table import Table


@dataclass(frozen=True)
class Labelled:
    """What a survey of the features table found.

    Attributes:
        survey: of paths, labels, splits and groups.
        labels: by data file, those that it holds.
    """

    survey: Survey
    labels: dict[str, frozenset[str]]

    @property
    def label_count(self) -> int:
        """Different labels."""
        return len({label for _, label in self.survey.labels})


@dataclass(frozen=True)
class _Look:
    """Worker's part of the survey."""

    features: Location
    model: str

    def __call__(self, files: list[str]) -> Labelled:
        survey, labels = Survey(), {}
        for file in files:
            keys = read_keys(self.features, self.model, file)
            survey.see(*(keys[name].to_pylist() for name in (PATH, LABEL, SPLIT, GROUP)))
            found = keys[LABEL].unique().to_pylist()
            labels[file] = frozenset(label for label in found if label is not None)
        return Labelled(survey, labels)


class _Read:
    """Worker's part of the training: data files to blocks."""

    def __init__(self, reading: Broadcast[Reading]) -> None:
        self._reading = reading

    def __call__(self, files: list[str]) -> Iterator[Block]:
        for rows in self._reading.value.rows(files, Role.TRAIN, Role.VALIDATE):
            folds = np.where(rows.roles == Role.VALIDATE, VALIDATES, TRAINS).astype(np.int8)
            yield Block(rows.features, rows.labels, folds)


def look(context: SparkContext, features: Table, model: str) -> Labelled:
    """Survey the labelled rows of one model."""
    tasks = spread(features.files(), slots_of(context))
    work = _Look(features.location, model)
    found = Labelled(Survey(), {})
    if not tasks:
        return found
    with closing(run_chunks(context, [tasks], work, describe="looking at labels")) as chunks:
        for part in (part for results in chunks for part in results):
            found = Labelled(found.survey.merge(part.survey), found.labels | part.labels)
    return found


def reading_of(features: Table, model: str, survey: Survey, seed: int) -> Reading:
    """How the rows of a survey are read: their classes, and their split."""
    split = plan_split(survey, seed=seed)
    classes = {label for of, label in survey.labels if _trains(split, of)}
    return Reading(features.location, model, tuple(sorted(classes)), split)


def _trains(split: Split, name: str) -> bool:
    return split.roles_of_splits.get(name, Role.TRAIN) == Role.TRAIN


def train(
    context: SparkContext,
    features: Table,
    reading: Reading,
    table: FruitTable,
    *,
    penalty: float | None,
    risk: float,
    refuse: float,
) -> Learned:
    """Learn to name the labels of a features table; see :func:`learn`.

    Args:
        context: Spark.
        features: the table.
        reading: which rows, classes and split.
        table: class to fruit.
        penalty: of the regression; None chooses.
        risk: share of wrong answers among the sure ones, at most.
        refuse: share of good images that may be refused as strange.

    Raises:
        RecognitionError: fewer than two classes to train on, or too few images to validate on.
    """
    tasks = spread(features.files(), slots_of(context))
    with Shipped(context) as ship:
        read = _Read(ship(reading))
        with Kept.of(context, tasks, read, describe="reading features") as blocks:
            return learn(blocks, reading.classes, table, penalty=penalty, risk=risk, refuse=refuse)


class Shipped:
    """Broadcasts that are given back at the end."""

    def __init__(self, context: SparkContext) -> None:
        self._context = context
        self._sent: list[Broadcast[Any]] = []

    def __enter__(self) -> Shipped:
        return self

    def __call__(self, value: Any) -> Broadcast[Any]:
        """Send a value to the workers."""
        self._sent.append(self._context.broadcast(value))
        return self._sent[-1]

    def __exit__(self, *exc_info: object) -> None:
        for sent in self._sent:
            sent.unpersist()
