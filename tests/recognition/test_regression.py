"""Softmax regression against scikit-learn's."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from pomona.recognition import learning, regression
from pomona.recognition.learning import Block, Thin
from pomona.recognition.linear import LinearClassifier, Spread, softmax
from pomona.recognition.regression import PASSES, Descent, Problem, Slopes
from pomona.recognition.statistics import ClassStatistics

_RNG = np.random.default_rng(5)
_COUNTS = (300, 60, 12, 90)
_LABELS = np.repeat(np.arange(4), _COUNTS)
_MIX = _RNG.normal(size=(16, 16))
_ROWS = ((_RNG.normal(size=(4, 16))[_LABELS] + _RNG.normal(size=(462, 16))) @ _MIX + 3).astype(
    np.float32
)
_ROWS[:, 6] = 0.25
_FOLDS = _RNG.integers(0, 3, len(_LABELS)).astype(np.int8)


def _down(descent: Descent, pieces: int, most: int = PASSES) -> tuple[LinearClassifier, int]:
    parts = np.array_split(_RNG.permutation(len(_ROWS)), pieces)
    for passed in range(most):
        if descent.done:
            return descent.best, passed
        at = [(descent.problem, descent.classifier)]
        slopes = reduce(
            Slopes.merge, [Slopes.of(_ROWS[p], _LABELS[p], _FOLDS[p], at) for p in parts]
        )
        descent.tell(float(slopes.losses[0]), slopes.gradients[0])
    return descent.best, most


def _theirs(rows: np.ndarray, labels: np.ndarray, penalty: float) -> LogisticRegression:
    return LogisticRegression(
        C=1 / (penalty * len(rows)), class_weight="balanced", tol=1e-8, max_iter=5000
    ).fit(rows, labels)


@pytest.mark.parametrize("left_out", [None, 1])
@pytest.mark.parametrize("penalty", [0.1, 0.01])
def test_the_end_is_scikit_learns(
    penalty: float, left_out: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balanced classes, rows of a fold left out, correlated features, one that is constant."""
    monkeypatch.setattr(regression, "ENOUGH", 1e-9)
    spread = Spread(ClassStatistics.of(_ROWS, _LABELS, 4))
    trains = np.ones(len(_ROWS), bool) if left_out is None else left_out != _FOLDS
    counts = np.bincount(_LABELS[trains]).astype(np.float64)
    found, _ = _down(Descent(spread, Problem.balanced(penalty, counts, left_out)), 5, 300)
    standard = (_ROWS - spread.mean) / spread.scale
    theirs = _theirs(standard[trains], _LABELS[trains], penalty)
    np.testing.assert_allclose(
        softmax(found.logits(_ROWS)), theirs.predict_proba(standard), atol=2e-3
    )


def test_few_passes_come_near_the_end_and_fewer_do_from_a_good_start() -> None:
    spread = Spread(ClassStatistics.of(_ROWS, _LABELS, 4))
    problem = Problem.balanced(0.01, np.array(_COUNTS, np.float64))
    found, passes = _down(Descent(spread, problem), 3)
    standard = (_ROWS - spread.mean) / spread.scale
    theirs = _theirs(standard, _LABELS, 0.01)

    def objective(probabilities: np.ndarray, coefficients: np.ndarray) -> float:
        exact = probabilities.astype(np.float64)
        exact /= exact.sum(axis=1, keepdims=True)
        loss = log_loss(_LABELS, exact, sample_weight=problem.weights[_LABELS])
        return float(loss) + 0.005 * float((coefficients**2).sum())

    ours = objective(softmax(found.logits(_ROWS)), found.coef_ * found.scale_)
    assert ours - objective(theirs.predict_proba(standard), theirs.coef_) < 0.02
    _, again = _down(Descent(spread, problem, found), 3)
    assert again < passes < PASSES


def test_a_start_in_other_units_is_the_same_classifier() -> None:
    spread = Spread(ClassStatistics.of(_ROWS, _LABELS, 4))
    other = Spread(ClassStatistics.of(_ROWS[::2] * 2 + 1, _LABELS[::2], 4))
    problem = Problem.balanced(0.1, np.array(_COUNTS, np.float64))
    found, _ = _down(Descent(spread, problem), 1)
    moved = Descent(other, problem, found).classifier
    np.testing.assert_allclose(moved.logits(_ROWS), found.logits(_ROWS), atol=1e-3)


def test_of_many_rows_the_same_number_of_each_class_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A class of few keeps all of them, and a fold its first of each class."""
    monkeypatch.setattr(learning, "ENOUGH_ROWS", 90)
    labels = np.repeat([0, 1, 2], [300, 60, 9])
    folds = np.where(np.arange(len(labels)) % 60 == 17, 0, -1).astype(np.int8)
    rows = np.arange(len(labels), dtype=np.float32)[:, None]
    some = Thin(np.bincount(labels).astype(np.float64))(Block(rows, labels, folds))
    assert np.bincount(some.labels).tolist() == [31, 31, 9]
    assert set(zip(some.labels, some.folds, strict=True)) == set(zip(labels, folds, strict=True))
    gaps = np.diff(some.features[(some.labels == 0) & (some.folds < 0), 0])
    assert gaps.min() >= 10 and gaps.max() <= 11
