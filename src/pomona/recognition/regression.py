"""Softmax regression with a penalty, fitted by quasi-Newton steps from sums that can be added.

Per step one pass over the rows gives losses and gradients. They are descended by L-BFGS (Nocedal
and Wright, Numerical Optimization, algorithm 7.4) that starts from an upper bound of the curvature
instead of the identity: half the covariance of the features (Böhning, "Multinomial logistic
regression algorithm", 1992) plus the penalty. Features that go together cost no steps then, and
the first step lands near discriminant analysis. docs/decisions/0019 has what that saves.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pomona.recognition.linear import LinearClassifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pomona.recognition.linear import Spread

PASSES = 20
"""Over the rows, at most."""
ENOUGH = 0.0003
"""Nats an image that one more step would promise, below which there is none."""
_CURVATURE = 0.25
"""Of Böhning's one half: a bound is larger than the curvature near the end."""
_MEMORY = 10
_SUFFICIENT = 1e-4


@dataclass(frozen=True)
class Problem:
    """What is to be learned from which rows.

    Attributes:
        penalty: half of it times the squared coefficients, in standard units, is added to the
            mean loss (scikit-learn's 1 / (n C), spark.ml's regParam).
        left_out: rows of this fold do not train; None lets all of them.
        weights: float64 [c], what a row of each class counts; rows that train sum up to one.
    """

    penalty: float
    left_out: int | None
    weights: NDArray[np.float64]

    @classmethod
    def balanced(
        cls, penalty: float, counts: NDArray[np.float64], left_out: int | None = None
    ) -> Problem:
        """Every class counts the same, however many rows it has.

        Args:
            penalty: see above.
            counts: [c], training rows of each class; a class without any counts nothing.
            left_out: see above.
        """
        have = counts > 0
        weights = np.divide(1.0, counts * have.sum(), out=np.zeros(len(counts)), where=have)
        return cls(penalty, left_out, weights)


@dataclass(frozen=True)
class Slopes:
    """Losses and gradients of some problems over some rows; they can be added.

    Attributes:
        losses: float64 [p].
        gradients: float64 [p, c, d + 1], by coefficients of centred features and the intercept.
    """

    losses: NDArray[np.float64]
    gradients: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        rows: NDArray[np.float32],
        labels: NDArray[np.integer],
        folds: NDArray[np.integer],
        problems: Sequence[tuple[Problem, LinearClassifier]],
    ) -> Slopes:
        """Those of some rows.

        Args:
            rows: [n, d], normalised.
            labels: [n].
            folds: [n].
            problems: and where each of them stands; their ``mean_`` is the same.
        """
        centred = rows - problems[0][1].mean_
        training: dict[int | None, tuple[NDArray[np.float32], NDArray[np.integer]]] = {
            None: (centred, labels)
        }
        losses, gradients = [], []
        for problem, at in problems:
            if problem.left_out not in training:
                mine = folds != problem.left_out
                training[problem.left_out] = centred[mine], labels[mine]
            some, true = training[problem.left_out]
            weights = problem.weights[true].astype(np.float32)
            index = np.arange(len(true))
            values = some @ at.coef_.T
            values += at.intercept_
            values -= values.max(axis=1, keepdims=True, initial=-np.inf)
            correct = values[index, true]
            np.exp(values, out=values)
            sums = values.sum(axis=1)
            losses.append(float((weights * (np.log(sums) - correct)).sum(dtype=np.float64)))
            values *= (weights / sums)[:, None]
            values[index, true] -= weights
            gradients.append(
                np.concatenate(
                    [
                        (values.T @ some).astype(np.float64),
                        values.sum(axis=0, dtype=np.float64)[:, None],
                    ],
                    axis=1,
                )
            )
        return cls(np.array(losses), np.stack(gradients))

    def merge(self, other: Slopes) -> Slopes:
        """Those of both sets of rows."""
        return Slopes(self.losses + other.losses, self.gradients + other.gradients)


class _Step(NamedTuple):
    moved: NDArray[np.float64]
    turned: NDArray[np.float64]
    product: float


class Descent:
    """One problem on its way down; ask :attr:`classifier`, then :meth:`tell` its slope there.

    Args:
        found: gives the units in which coefficients are penalised, and the curvature.
        problem: what is learned.
        start: a classifier to begin at; None begins at nothing.
    """

    def __init__(
        self, found: Spread, problem: Problem, start: LinearClassifier | None = None
    ) -> None:
        self.problem = problem
        self.done = False
        self._found = found
        values, axes = found.axes
        self._inverse = (axes / (_CURVATURE * values + problem.penalty)) @ axes.T
        self._at = np.zeros((len(problem.weights), len(found.mean) + 1))
        if start is not None:
            moved = found.mean - start.mean_
            self._at[:, :-1] = start.coef_ * found.scale
            self._at[:, -1] = start.intercept_ + start.coef_ @ moved
        self._tried = self._at
        self._loss = np.inf
        self._slope = np.zeros_like(self._at)
        self._step = np.zeros_like(self._at)
        self._share = 1.0
        self._steps: deque[_Step] = deque(maxlen=_MEMORY)

    @property
    def classifier(self) -> LinearClassifier:
        """Where the slope is wanted."""
        return self._classifier(self._tried)

    @property
    def best(self) -> LinearClassifier:
        """The lowest that was reached."""
        return self._classifier(self._at)

    def _classifier(self, at: NDArray[np.float64]) -> LinearClassifier:
        found = self._found
        return LinearClassifier(
            found.mean.astype(np.float32),
            found.scale.astype(np.float32),
            (at[:, :-1] / found.scale).astype(np.float32),
            at[:, -1].astype(np.float32),
        )

    def tell(self, loss: float, gradient: NDArray[np.float64]) -> None:
        """Go on from what the rows say of :attr:`classifier`.

        Args:
            loss: summed over the rows, by weight.
            gradient: [c, d + 1], likewise, by coefficients of centred features.
        """
        coefficients = self._tried[:, :-1]
        loss += 0.5 * self.problem.penalty * float((coefficients * coefficients).sum())
        slope = gradient.copy()
        slope[:, :-1] /= self._found.scale
        slope[:, :-1] += self.problem.penalty * coefficients
        promised = self._share * float((self._slope * self._step).sum())
        if loss > self._loss + _SUFFICIENT * promised and self._share > 1e-3:
            self._share /= 2
            self._tried = self._at + self._share * self._step
            return
        moved, turned = self._tried - self._at, slope - self._slope
        product = float((moved * turned).sum())
        if np.isfinite(self._loss) and product > 0:
            self._steps.append(_Step(moved, turned, product))
        self._at, self._loss, self._slope = self._tried, loss, slope
        self._step = -self._direction(slope)
        self._share = 1.0
        if -float((slope * self._step).sum()) < ENOUGH:
            self.done = True
            return
        self._tried = self._at + self._step

    def _direction(self, slope: NDArray[np.float64]) -> NDArray[np.float64]:
        """The two loops of L-BFGS."""
        rest, shares = slope.copy(), []
        for moved, turned, product in reversed(self._steps):
            shares.append(float((moved * rest).sum()) / product)
            rest -= shares[-1] * turned
        rest = self._scaled(rest)
        if self._steps:
            last = self._steps[-1]
            rest *= last.product / float((last.turned * self._scaled(last.turned)).sum())
        for (moved, turned, product), share in zip(self._steps, reversed(shares), strict=True):
            rest += moved * (share - float((turned * rest).sum()) / product)
        return rest

    def _scaled(self, slope: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.empty_like(slope)
        found[:, :-1] = slope[:, :-1] @ self._inverse
        found[:, -1] = slope[:, -1] / _CURVATURE
        return found
