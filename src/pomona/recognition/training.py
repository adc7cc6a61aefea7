"""Training on Spark: two or three passes over the features, each on the workers.

The first pass looks at paths and labels, the second gathers class statistics, the third tries
every shrinkage and temperature on the validation images, the fourth sets the thresholds there.
What comes back is small; the features stay where they are.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.errors import RecognitionError
from pomona.recognition.answering import Naming
from pomona.recognition.calibration import (
    SHRINKAGES,
    Answers,
    Calibration,
    Likelihoods,
    calibrate,
    expected_error,
)
from pomona.recognition.linear import Discriminants, LinearClassifier, softmax
from pomona.recognition.novelty import Novelty, fit_novelty
from pomona.recognition.recogniser import Recogniser
from pomona.recognition.rows import Reading, read_keys
from pomona.recognition.splitting import Role, Split, Survey, plan_split
from pomona.recognition.statistics import ClassStatistics
from pomona.reduction.job import spread
from pomona.schema import GROUP, LABEL, PATH, SPLIT
from pomona.spark.jobs import run_chunks, tree_reduce
from pomona.spark.session import slots_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark import Broadcast, SparkContext

    from pomona.recognition.fruits import FruitTable
    from pomona.storage import Location
    from pomona.storage.table import Table

FEWEST_VALIDATING = 10
"""Fewer validation images than this say nothing of calibration."""


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


class _Gather:
    """Worker's part of the fit: statistics of the images that train, and of those that validate."""

    def __init__(self, reading: Broadcast[Reading]) -> None:
        self._reading = reading

    def __call__(self, files: list[str]) -> tuple[ClassStatistics | None, ClassStatistics | None]:
        reading = self._reading.value
        found: list[ClassStatistics | None] = [None, None]
        for rows in reading.rows(files, Role.TRAIN, Role.VALIDATE):
            for index, role in enumerate((Role.TRAIN, Role.VALIDATE)):
                mine = rows.roles == role
                if mine.any():
                    part = ClassStatistics.of(
                        rows.features[mine], rows.labels[mine], len(reading.classes)
                    )
                    known = found[index]
                    found[index] = part if known is None else known.merge(part)
        return found[0], found[1]


class _Try:
    """Worker's part of choosing the shrinkage and the temperature."""

    def __init__(
        self, reading: Broadcast[Reading], tried: Broadcast[tuple[LinearClassifier, ...]]
    ) -> None:
        self._reading = reading
        self._tried = tried

    def __call__(self, files: list[str]) -> Likelihoods | None:
        found = [
            Likelihoods.of([one.logits(rows.features) for one in self._tried.value], rows.labels)
            for rows in self._reading.value.rows(files, Role.VALIDATE)
        ]
        return reduce(Likelihoods.merge, found) if found else None


class _Answer:
    """Worker's part of setting the thresholds."""

    def __init__(
        self,
        reading: Broadcast[Reading],
        learned: Broadcast[tuple[LinearClassifier, Novelty]],
        temperature: float,
        fruits: Any,
    ) -> None:
        self._reading = reading
        self._learned = learned
        self._temperature = temperature
        self._fruits = fruits

    def __call__(self, files: list[str]) -> Answers | None:
        classifier, novelty = self._learned.value
        found = []
        for rows in self._reading.value.rows(files, Role.VALIDATE):
            probabilities = softmax(classifier.logits(rows.features), self._temperature)
            found.append(
                Answers.of(probabilities, rows.labels, self._fruits, novelty.score(rows.features))
            )
        return reduce(Answers.merge, found) if found else None


@dataclass(frozen=True)
class Trained:
    """A recogniser and how it came about.

    Attributes:
        recogniser: learned from the images that train and those that validate.
        reading: how its images are read again, for the evaluation.
        shrinkage: chosen on the validation images.
        validation: what these said, of the classifier that had not seen them.
        images: by role.
        left_out: labels without a training image.
    """

    recogniser: Recogniser
    reading: Reading
    shrinkage: float
    validation: dict[str, float]
    images: dict[str, int]
    left_out: tuple[str, ...]


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
    shrinkage: float | None,
    risk: float,
    refuse: float,
) -> Trained:
    """Learn to name the labels of a features table.

    Args:
        context: Spark.
        features: the table.
        reading: which rows, classes and split.
        table: class to fruit.
        shrinkage: of the covariance; None chooses.
        risk: share of wrong answers among the sure ones, at most.
        refuse: share of good images that may be refused as strange.

    Raises:
        RecognitionError: fewer than two classes to train on, or too few images to validate on.
    """
    tasks = spread(features.files(), slots_of(context))
    with Shipped(context) as ship:
        training, validating = tree_reduce(
            context,
            tasks,
            _Gather(ship(reading)),
            merge_pairs,
            describe="gathering class statistics",
        )
        training, validating, reading, left_out = _present(training, validating, reading)
        fruits = table.fruits_of(reading.classes)
        found = Discriminants(training)
        shrinkages = SHRINKAGES if shrinkage is None else (shrinkage,)
        tried = tuple(found.classifier(s) for s in shrinkages)
        read = ship(reading)
        likelihoods = tree_reduce(
            context, tasks, _Try(read, ship(tried)), merge_found, describe="choosing the shrinkage"
        )
        if likelihoods is None or likelihoods.count < FEWEST_VALIDATING:
            raise RecognitionError(
                f"Only {0 if likelihoods is None else likelihoods.count} images are left to "
                "validate on.",
                "Give more images of each label, or of each group or run of frames.",
            )
        chosen, temperature = likelihoods.best()
        naming = Naming(reading.classes, fruits, Calibration(temperature, 1, 1, 0, risk))
        learned = tried[chosen], fit_novelty(found)
        answers = tree_reduce(
            context,
            tasks,
            _Answer(read, ship(learned), temperature, naming.fruit_index),
            merge_found,
            describe="setting the thresholds",
        )
    assert answers is not None  # the same rows as above
    both = Discriminants(training.merge(validating))
    calibration = calibrate(answers, temperature, risk=risk, refuse=refuse)
    sure = answers.confidence >= calibration.sure
    return Trained(
        Recogniser(
            Naming(reading.classes, fruits, calibration),
            both.classifier(shrinkages[chosen]),
            fit_novelty(both),
        ),
        reading,
        shrinkages[chosen],
        {
            "accuracy": float(answers.right.mean()),
            "fruit_accuracy": float(answers.fruit_right.mean()),
            "log_loss": float(likelihoods.losses[chosen].min() / likelihoods.count),
            "calibration_error": expected_error(answers.confidence, answers.right),
            "sure_share": float(sure.mean()),
            "sure_accuracy": float(answers.right[sure].mean()) if sure.any() else 0.0,
        },
        {"train": training.rows, "validate": validating.rows},
        left_out,
    )


def _present(
    training: ClassStatistics | None, validating: ClassStatistics | None, reading: Reading
) -> tuple[ClassStatistics, ClassStatistics, Reading, tuple[str, ...]]:
    """Keep the classes that have an image to train on."""
    if training is None:
        raise RecognitionError(
            "No labelled image is left to train on.",
            "Give INPUT folders named after what they show, or --layout.",
        )
    if validating is None:
        validating = ClassStatistics.none(len(training.counts), training.dimension)
    have = np.flatnonzero(training.counts)
    if len(have) == len(reading.classes):
        return training, validating, reading, ()
    names = tuple(reading.classes[index] for index in have)
    lost = tuple(sorted(set(reading.classes) - set(names)))
    reading = reading.only(names)
    # Validation images of a class that nothing trains are left out: their scatter has to go too.
    kept = validating.only(have) if not np.delete(validating.counts, have).any() else None
    empty = ClassStatistics.none(len(have), training.dimension)
    return training.only(have), kept or empty, reading, lost


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


def merge_found(left: Any, right: Any) -> Any:
    """Merge, where a task that saw no row has nothing."""
    if left is None or right is None:
        return right if left is None else left
    return left.merge(right)


def merge_pairs(left: Iterable[Any], right: Iterable[Any]) -> tuple[Any, ...]:
    """Merge entry by entry."""
    return tuple(merge_found(a, b) for a, b in zip(left, right, strict=True))
