"""Learning a recogniser from labelled blocks of rows that lie on the workers.

One pass gathers class statistics. Softmax regressions of several penalties then go down together
on a part of the rows, a pass a step; a pass over the rows that validate chooses the penalty and
the temperature, another sets the thresholds. At last the chosen one goes on with all rows, those
that validated too. What comes to the driver is the size of the classifiers.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from pomona.errors import RecognitionError
from pomona.recognition.answering import Naming
from pomona.recognition.calibration import (
    PENALTIES,
    Answers,
    Calibration,
    Likelihoods,
    calibrate,
    expected_error,
)
from pomona.recognition.linear import LinearClassifier, Spread, softmax
from pomona.recognition.novelty import Novelty, fit_novelty
from pomona.recognition.recogniser import Recogniser
from pomona.recognition.regression import PASSES, Descent, Problem, Slopes
from pomona.recognition.statistics import ClassStatistics
from pomona.spark.kept import merge_found

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from pomona.recognition.fruits import FruitTable
    from pomona.spark.kept import Kept

TRAINS, VALIDATES = -1, 0
"""Folds of rows, where there is one part to validate on."""
_FEW = 16 << 20
"""Numbers in the features that one worker holds without being asked: 64 MiB."""
ENOUGH_ROWS = 16_384
"""Of more rows, about so many are taken where several classifiers are learned to be compared: the
same number of each class, evenly spaced along a film."""
_LAST = 8
"""Passes over many rows, at most, for the one that was chosen: it begins near its end."""
FEWEST_VALIDATING = 10
"""Fewer rows than this say nothing of calibration."""


@dataclass(frozen=True)
class Block:
    """Some labelled rows.

    Attributes:
        features: float32 [n, d], normalised.
        labels: int [n], class of each.
        folds: int8 [n], rows of one fold are left out together; below zero they always train.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.intp]
    folds: NDArray[np.int8]

    def only(self, rows: NDArray[np.bool_]) -> Block:
        """Some of the rows."""
        return Block(self.features[rows], self.labels[rows], self.folds[rows])


class Thin:
    """Takes every so manieth row of a class and fold, the first of each at least.

    Args:
        counts: [c], rows of each class in all.
    """

    def __init__(self, counts: NDArray[np.floating]) -> None:
        share = np.ceil(ENOUGH_ROWS / max(1, int(np.count_nonzero(counts))))
        self.steps = np.maximum(1, np.ceil(counts / share)).astype(np.intp)

    def __call__(self, block: Block) -> Block:
        """The rows of a block that are taken."""
        kinds = block.labels.astype(np.int64) * 256 + block.folds
        order = np.argsort(kinds, kind="stable")
        _, begins, counts = np.unique(kinds[order], return_index=True, return_counts=True)
        places = np.empty(len(kinds), np.intp)
        places[order] = np.arange(len(kinds)) - np.repeat(begins, counts)
        return block.only(places % self.steps[block.labels] == 0)


def thinned(
    blocks: Kept[Block], counts: NDArray[np.floating]
) -> AbstractContextManager[Kept[Block]]:
    """The rows that suffice to compare classifiers: all, where they are few."""
    thin = Thin(counts)
    if (thin.steps == 1).all():
        return nullcontext(blocks)
    return blocks.mapped(thin, describe="choosing images to compare classifiers on")


@dataclass(frozen=True)
class Learned:
    """A recogniser and how it came about.

    Attributes:
        recogniser: learned from the rows that train and those that validate.
        penalty: chosen on the rows that validate.
        validation: what these said, of the classifier that had not seen them.
        rows: by role.
        left_out: labels without a row to train on.
    """

    recogniser: Recogniser
    penalty: float
    validation: dict[str, float]
    rows: dict[str, int]
    left_out: tuple[str, ...]


def learn(
    blocks: Kept[Block],
    classes: tuple[str, ...],
    table: FruitTable,
    *,
    penalty: float | None,
    risk: float,
    refuse: float,
) -> Learned:
    """Learn to name classes.

    Args:
        blocks: rows that train, and of the fold ``VALIDATES`` those that validate.
        classes: names of the labels.
        table: class to fruit.
        penalty: of the regression; None chooses.
        risk: share of wrong answers among the sure ones, at most.
        refuse: share of good images that may be refused as strange.

    Raises:
        RecognitionError: fewer than two classes to train on, or too few rows to validate on.
    """
    sides = blocks.reduce(_Gather(len(classes)), describe="gathering class statistics")
    if sides is None or sides.training is None:
        raise RecognitionError(
            "No labelled image is left to train on.",
            "Give INPUT folders named after what they show, or --layout.",
        )
    have = np.flatnonzero(sides.training.counts)
    names = tuple(classes[index] for index in have)
    spread = Spread(sides.training.only(have))
    validating = 0 if sides.validating is None else int(sides.validating.counts[have].sum())
    if validating < FEWEST_VALIDATING:
        raise RecognitionError(
            f"Only {validating} images are left to validate on.",
            "Give more images of each label, or of each group or run of frames.",
        )
    counts = sides.training.counts[have]
    penalties = PENALTIES if penalty is None else (penalty,)
    count = int(counts.sum()) + validating
    with thinned(blocks, sides.counts) as few:
        some = sides if few is blocks else few.reduce(_Gather(len(classes)), describe="counting")
        problems = [
            Problem.balanced(one, some.training.counts[have], VALIDATES) for one in penalties
        ]
        descents = [Descent(spread, problem) for problem in problems]
        tried = descend(few, have, descents, int(some.counts.sum()))
    likelihoods = blocks.reduce(_Try(have, tried), describe="choosing the penalty")
    chosen, temperature = likelihoods.best()
    fruits = table.fruits_of(names)
    naming = Naming(names, fruits, Calibration(temperature, 1, 1, 0, risk))
    answers = blocks.reduce(
        _Answer(have, tried[chosen], fit_novelty(spread), temperature, naming.fruit_index),
        describe="setting the thresholds",
    )
    calibration = calibrate(answers, temperature, risk=risk, refuse=refuse)
    both = sides.both(have)
    everything = Spread(both)
    final = Descent(everything, Problem.balanced(penalties[chosen], both.counts), tried[chosen])
    (classifier,) = descend(blocks, have, [final], count, _LAST)
    sure = answers.confidence >= calibration.sure
    return Learned(
        Recogniser(Naming(names, fruits, calibration), classifier, fit_novelty(everything)),
        penalties[chosen],
        {
            "accuracy": float(answers.right.mean()),
            "fruit_accuracy": float(answers.fruit_right.mean()),
            "log_loss": float(likelihoods.losses[chosen].min() / likelihoods.count),
            "calibration_error": expected_error(answers.confidence, answers.right),
            "sure_share": float(sure.mean()),
            "sure_accuracy": float(answers.right[sure].mean()) if sure.any() else 0.0,
        },
        {"train": int(counts.sum()), "validate": validating},
        tuple(sorted(set(classes) - set(names))),
    )


def descend(
    blocks: Kept[Block],
    have: NDArray[np.intp],
    descents: Sequence[Descent],
    rows: int,
    most: int = PASSES,
) -> tuple[LinearClassifier, ...]:
    """Go down until nothing is left to gain; problems of one spread share the passes.

    Args:
        blocks: the rows.
        have: labels that are classes, in their order.
        descents: where to begin.
        rows: about how many there are; few are gone over in one task for each problem, since
            starting tasks for every pass would take longer than the passes.
        most: passes over many rows.
    """
    if not descents:
        return ()
    if rows * len(descents[0].classifier.mean_) <= _FEW:
        works = [_Descend(have, descent) for descent in descents]
        return tuple(blocks.at_once(works, describe="training the classifier"))
    for _ in range(most):
        going = [descent for descent in descents if not descent.done]
        if not going:
            break
        work = _Slope(have, [(descent.problem, descent.classifier) for descent in going])
        slopes = blocks.reduce(work, describe="training the classifier")
        for index, descent in enumerate(going):
            descent.tell(float(slopes.losses[index]), slopes.gradients[index])
    return tuple(descent.best for descent in descents)


class _Descend:
    """Worker's part of the whole descent of one problem, where it has all rows."""

    def __init__(self, have: NDArray[np.intp], descent: Descent) -> None:
        self._have = have
        self._descent = descent

    def __call__(self, blocks: list[Block]) -> LinearClassifier:
        descent = self._descent
        for _ in range(PASSES):
            if descent.done:
                break
            work = _Slope(self._have, [(descent.problem, descent.classifier)])
            slopes = reduce(merge_found, (work(block) for block in blocks))
            assert slopes is not None  # some row trains
            descent.tell(float(slopes.losses[0]), slopes.gradients[0])
        return descent.best


@dataclass(frozen=True)
class _Sides:
    """Statistics of the rows that train and of those that validate."""

    training: ClassStatistics | None
    validating: ClassStatistics | None

    def merge(self, other: _Sides) -> _Sides:
        return _Sides(
            merge_found(self.training, other.training),
            merge_found(self.validating, other.validating),
        )

    @property
    def counts(self) -> NDArray[np.float64]:
        """Rows of each class."""
        found = np.zeros(len(self.training.counts) if self.training else 0)
        for side in (self.training, self.validating):
            if side is not None:
                found = found + side.counts
        return found

    def both(self, have: NDArray[np.intp]) -> ClassStatistics:
        """Of all rows of the classes that have one to train on."""
        assert self.training is not None and self.validating is not None
        training = self.training.only(have)
        if np.delete(self.validating.counts, have).any():
            # The scatter is that of all classes: what others add to it cannot be taken out.
            return training
        return training.merge(self.validating.only(have))


class _Gather:
    def __init__(self, classes: int) -> None:
        self._classes = classes

    def __call__(self, block: Block) -> _Sides:
        mine = block.folds == VALIDATES
        parts = [
            ClassStatistics.of(block.features[rows], block.labels[rows], self._classes)
            if rows.any()
            else None
            for rows in (~mine, mine)
        ]
        return _Sides(*parts)


class _Work:
    """Does something with the rows of a block whose label is a class, numbered anew."""

    def __init__(self, have: NDArray[np.intp]) -> None:
        self._have = have

    def _of(self, block: Block, rows: NDArray[np.bool_] | None = None) -> Block | None:
        known = np.isin(block.labels, self._have)
        wanted = known if rows is None else known & rows
        some = block if wanted.all() else block.only(wanted)
        if not len(some.labels):
            return None
        return Block(some.features, np.searchsorted(self._have, some.labels), some.folds)


class _Slope(_Work):
    def __init__(
        self, have: NDArray[np.intp], problems: list[tuple[Problem, LinearClassifier]]
    ) -> None:
        super().__init__(have)
        self._problems = problems

    def __call__(self, block: Block) -> Slopes | None:
        some = self._of(block)
        if some is None:
            return None
        return Slopes.of(some.features, some.labels, some.folds, self._problems)


class _Try(_Work):
    def __init__(self, have: NDArray[np.intp], tried: Sequence[LinearClassifier]) -> None:
        super().__init__(have)
        self._tried = tried

    def __call__(self, block: Block) -> Likelihoods | None:
        some = self._of(block, block.folds == VALIDATES)
        if some is None:
            return None
        return Likelihoods.of([one.logits(some.features) for one in self._tried], some.labels)


class _Answer(_Work):
    def __init__(
        self,
        have: NDArray[np.intp],
        classifier: LinearClassifier,
        novelty: Novelty,
        temperature: float,
        fruits: NDArray[np.intp],
    ) -> None:
        super().__init__(have)
        self._classifier = classifier
        self._novelty = novelty
        self._temperature = temperature
        self._fruits = fruits

    def __call__(self, block: Block) -> Answers | None:
        some = self._of(block, block.folds == VALIDATES)
        if some is None:
            return None
        probabilities = softmax(self._classifier.logits(some.features), self._temperature)
        novelty = self._novelty.score(some.features)
        return Answers.of(probabilities, some.labels, self._fruits, novelty)
