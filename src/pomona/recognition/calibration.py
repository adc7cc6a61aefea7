"""What held-out images teach: penalty, temperature, and from where on an answer is sure.

Temperature scaling after Guo et al., "On calibration of modern neural networks" (2017): all
logits are divided by one number of at least 1, chosen by the likelihood of images that did not
train.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PENALTIES = (0.003, 0.01, 0.03, 0.1)
"""What is tried; see docs/decisions/0019."""
TEMPERATURES = np.geomspace(1.0, 500.0, 41)
"""What is tried; a sixth apart, and the best is refined between its neighbours. None sharpens: what
validates is often close to what trained, and would have every answer called certain."""
LEAST_SURE = 0.5
"""No answer of a smaller probability is called sure, however well validation went."""
_FEWEST = 0.05
"""Share of the validation images that a threshold must leave."""


@dataclass(frozen=True)
class Likelihoods:
    """Sums over validation images, for every penalty and temperature; they can be added.

    Attributes:
        count: images.
        losses: float64 [s, t], negative log-likelihoods.
        right: int64 [s], images whose best class is the true one.
    """

    count: int
    losses: NDArray[np.float64]
    right: NDArray[np.int64]

    @classmethod
    def of(cls, logits: Sequence[NDArray[np.float32]], labels: NDArray[np.integer]) -> Likelihoods:
        """Those of some images.

        Args:
            logits: [n, c] for each penalty.
            labels: [n], the true classes.
        """
        losses = np.zeros((len(logits), len(TEMPERATURES)))
        right = np.zeros(len(logits), np.int64)
        rows = np.arange(len(labels))
        for s, values in enumerate(logits):
            below = values - values.max(axis=1, keepdims=True)
            true = below[rows, labels].astype(np.float64)
            right[s] = int((values.argmax(axis=1) == labels).sum())
            for t, temperature in enumerate(TEMPERATURES):
                sums = np.exp(below / np.float32(temperature)).sum(axis=1, dtype=np.float64)
                losses[s, t] = (np.log(sums) - true / temperature).sum()
        return cls(len(labels), losses, right)

    def merge(self, other: Likelihoods) -> Likelihoods:
        """Those of both sets of images."""
        return Likelihoods(
            self.count + other.count, self.losses + other.losses, self.right + other.right
        )

    def best(self) -> tuple[int, float]:
        """Index of the best penalty, and its best temperature.

        A larger penalty is preferred while its loss is within one image in a hundred thousand.
        """
        lowest = self.losses.min(axis=1)
        tolerance = 1e-5 * self.count
        s = int(np.flatnonzero(lowest <= lowest.min() + tolerance)[-1])
        return s, refined(self.losses[s])


def refined(losses: NDArray[np.float64]) -> float:
    """The temperature at the bottom of the parabola through the lowest loss and its neighbours."""
    at = int(np.argmin(losses))
    if at in (0, len(losses) - 1):
        return float(TEMPERATURES[at])
    left, middle, right = losses[at - 1 : at + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
    step = np.log(TEMPERATURES[1] / TEMPERATURES[0])
    return float(TEMPERATURES[at] * np.exp(shift * step))


@dataclass(frozen=True)
class Answers:
    """How some images were answered, one entry an image; they can be joined.

    Attributes:
        confidence: float32 [n], probability of the best class.
        right: bool [n], whether that is the true one.
        fruit_confidence: float32 [n], probability of the best fruit, summed over its classes.
        fruit_right: bool [n].
        novelty: float32 [n].
    """

    confidence: NDArray[np.float32]
    right: NDArray[np.bool_]
    fruit_confidence: NDArray[np.float32]
    fruit_right: NDArray[np.bool_]
    novelty: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        probabilities: NDArray[np.float32],
        labels: NDArray[np.integer],
        fruits: NDArray[np.intp],
        novelty: NDArray[np.float32],
    ) -> Answers:
        """The answers to some images.

        Args:
            probabilities: [n, c].
            labels: [n], true classes.
            fruits: [c], index of each class's fruit.
            novelty: [n].
        """
        summed = by_fruit(probabilities, fruits)
        best, best_fruit = probabilities.argmax(axis=1), summed.argmax(axis=1)
        return cls(
            probabilities.max(axis=1),
            best == labels,
            summed.max(axis=1),
            best_fruit == fruits[labels],
            novelty,
        )

    def merge(self, other: Answers) -> Answers:
        """Both, one after the other."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Answers(*(np.concatenate(pair) for pair in pairs))


def by_fruit(probabilities: NDArray[np.float32], fruits: NDArray[np.intp]) -> NDArray[np.float32]:
    """Probabilities [n, c] of classes summed to those of fruits [n, f]."""
    member = np.zeros((len(fruits), int(fruits.max()) + 1), np.float32)
    member[np.arange(len(fruits)), fruits] = 1
    summed: NDArray[np.float32] = np.minimum(probabilities @ member, 1)
    return summed


@dataclass(frozen=True)
class Calibration:
    """How logits become answers.

    Attributes:
        temperature: logits are divided by it.
        sure: probability from which a class is named without reserve.
        fruit_sure: likewise for a fruit, whose classes are summed up.
        strange: novelty above which an image is refused as unlike anything trained on.
        risk: share of wrong answers among the sure ones that was aimed at.
    """

    temperature: float
    sure: float
    fruit_sure: float
    strange: float
    risk: float


def calibrate(answers: Answers, temperature: float, *, risk: float, refuse: float) -> Calibration:
    """Thresholds from validation answers.

    Args:
        answers: at this temperature.
        temperature: that of the probabilities.
        risk: share of wrong answers among the sure ones, at most.
        refuse: share of good images that may be refused as strange.
    """
    return Calibration(
        temperature=temperature,
        sure=sure_from(answers.confidence, answers.right, risk),
        fruit_sure=sure_from(answers.fruit_confidence, answers.fruit_right, risk),
        strange=float(np.quantile(answers.novelty, 1 - refuse)),
        risk=risk,
    )


def sure_from(confidence: NDArray[np.float32], right: NDArray[np.bool_], risk: float) -> float:
    """The lowest confidence above which at most a share ``risk`` is wrong.

    Where no threshold reaches it, the one of least risk that leaves a twentieth of the images.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    # A threshold cannot part equal confidences.
    ends = np.append(np.diff(confidence[order]) != 0, True)
    allowed = np.flatnonzero(ends & (wrong <= risk))
    if not len(allowed):
        enough = np.flatnonzero(ends & (np.arange(1, len(order) + 1) >= _FEWEST * len(order)))
        allowed = enough[[np.argmin(wrong[enough])]]
    return max(LEAST_SURE, float(confidence[order[allowed[-1]]]))


def expected_error(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15
) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over equal bins."""
    if not len(confidence):
        return 0.0
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    gaps = np.abs(
        np.bincount(which, right, minlength=bins) - np.bincount(which, confidence, minlength=bins)
    )
    return float(gaps.sum() / max(1, counts.sum()))
