"""The parts that need no Spark, against scikit-learn and by hand."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from pomona.errors import RecognitionError
from pomona.recognition.answering import Naming
from pomona.recognition.calibration import (
    TEMPERATURES,
    Answers,
    Calibration,
    Likelihoods,
    expected_error,
    sure_from,
)
from pomona.recognition.duplicates import Duplicates
from pomona.recognition.evaluation import Tally, told, wilson
from pomona.recognition.fruits import load_fruits, with_article
from pomona.recognition.linear import LinearClassifier, Spread, softmax
from pomona.recognition.normalising import normalise
from pomona.recognition.novelty import fit_novelty
from pomona.recognition.recogniser import Recogniser
from pomona.recognition.saving import load_recogniser, save_recogniser
from pomona.recognition.statistics import ClassStatistics
from pomona.storage import open_store

_RNG = np.random.default_rng(11)
_COUNTS = (200, 40, 5, 90)
_CENTRES = _RNG.normal(size=(4, 9))
_LABELS = np.repeat(np.arange(4), _COUNTS)
_ROWS = (_CENTRES[_LABELS] + _RNG.normal(size=(len(_LABELS), 9))).astype(np.float32)
_ROWS[:, 2] = 0.25


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_statistics_of_merged_pieces_are_those_of_all_rows(offset: float) -> None:
    rows = _ROWS.astype(np.float64) + offset
    order = _RNG.permutation(len(rows))
    pieces = [ClassStatistics.of(rows[part], _LABELS[part], 4) for part in np.array_split(order, 7)]
    found = reduce(ClassStatistics.merge, pieces)
    assert found.counts.tolist() == list(_COUNTS)
    for label in range(4):
        np.testing.assert_allclose(found.means[label], rows[label == _LABELS].mean(axis=0))
    within = sum(
        np.cov(rows[label == _LABELS], rowvar=False, bias=True) * count
        for label, count in enumerate(_COUNTS)
    )
    np.testing.assert_allclose(found.within, within, rtol=1e-4, atol=1e-3)


def test_one_class_and_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(RecognitionError, match="at least 2"):
        Spread(ClassStatistics.of(_ROWS[:9], np.zeros(9, int), 1))
    rows = _ROWS.copy()
    rows[0, 0] = np.nan
    with pytest.raises(RecognitionError, match="not finite"):
        Spread(ClassStatistics.of(rows, _LABELS, 4))


def test_normalise_by_hand() -> None:
    rows = np.array([[4.0, -8.0, 0.0], [0.0, 0.0, 0.0]])
    expected = np.array([[1.1**0.5 - 0.1**0.5, 0.1**0.5 - 2.1**0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(normalise(rows * 3), normalise(rows), rtol=1e-5)
    np.testing.assert_allclose(normalise(rows), expected, rtol=1e-5, atol=1e-7)


def _exact(probabilities: np.ndarray) -> np.ndarray:
    """In float64, rows adding up to one."""
    exact: np.ndarray = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return exact


def test_likelihoods_are_scikit_learns_and_the_temperature_is_found() -> None:
    logits = _RNG.normal(size=(4000, 5)).astype(np.float32) * 3
    labels = np.array([_RNG.choice(5, p=p) for p in _exact(softmax(logits))])
    parts = np.array_split(np.arange(4000), 3)
    found = reduce(Likelihoods.merge, [Likelihoods.of([4 * logits[p]], labels[p]) for p in parts])
    at = 20
    expected = log_loss(labels, _exact(softmax(4 * logits, TEMPERATURES[at]))) * 4000
    assert found.losses[0, at] == pytest.approx(expected, rel=1e-4)
    chosen, temperature = found.best()
    assert chosen == 0
    assert temperature == pytest.approx(4.0, rel=0.1)


def test_novelty_tells_strangers_from_the_trained() -> None:
    rows = normalise(np.abs(_ROWS))
    novelty = fit_novelty(Spread(ClassStatistics.of(rows, _LABELS, 4)))
    strange = normalise(np.abs(_RNG.normal(size=(300, 9)) * 5))
    scores = np.concatenate([novelty.score(rows), novelty.score(strange)])
    is_strange = np.repeat([0, 1], [len(rows), len(strange)])
    assert roc_auc_score(is_strange, scores) > 0.7


@pytest.mark.parametrize(
    ("confidence", "right", "risk", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1], 0.0, 0.8),
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1], 0.25, 0.6),
        ([0.9, 0.9, 0.6], [1, 0, 0], 0.0, 0.9),  # equal ones go together; none reaches the risk
        ([0.4, 0.3], [1, 1], 0.0, 0.5),  # never below one half
    ],
)
def test_sure_from(confidence: list[float], right: list[int], risk: float, expected: float) -> None:
    found = sure_from(np.array(confidence, np.float32), np.array(right, bool), risk)
    assert found == pytest.approx(expected)


def test_expected_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False])
    assert expected_error(confidence, right, bins=10) == pytest.approx(0.05)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (50, 100), (986, 1000)])
def test_wilson_solves_its_equation(right: int, count: int) -> None:
    """The interval's ends are where the observed share lies z standard errors away."""
    z = NormalDist().inv_cdf(0.975)
    for end in wilson(right, count):
        if 0 < end < 1:
            away = abs(right / count - end) / np.sqrt(end * (1 - end) / count)
            assert away == pytest.approx(z, rel=1e-4)


@pytest.mark.parametrize(
    ("label", "fruit"),
    [
        ("Apple Golden 3", "apple"),
        ("Granny-Smith", "apple"),
        ("Braeburn", "apple"),
        ("Apple Something New 9", "apple"),
        ("Red-Grapefruit", "grapefruit"),
        ("Grape White 4", "grape"),
        ("Passion-Fruit", "passion fruit"),
        ("Cactus fruit", "cactus fruit"),
        ("Potato Sweet", "sweet potato"),
        ("Potato Blue", "potato"),
        ("Durian Monthong", "durian"),
        ("Not fruit", "none"),
    ],
)
def test_fruit_of(label: str, fruit: str) -> None:
    assert load_fruits().fruit_of(label) == fruit


def test_the_table_can_be_replaced(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("class,fruit\nApple Golden,golden apple\n")
    assert load_fruits(table).fruits_of(["Apple Golden 2", "Kiwi"]) == ("golden apple", "kiwi")
    assert with_article("apple") == "an apple"


def _naming() -> Naming:
    return Naming(
        ("Apple Golden", "Apple Red", "Kiwi", "Not fruit"),
        ("apple", "apple", "kiwi", "none"),
        Calibration(1.0, 0.8, 0.8, 10.0, 0.02),
    )


@pytest.mark.parametrize(
    ("probabilities", "novelty", "verdict", "text"),
    [
        ([0.9, 0.05, 0.03, 0.02], 0.0, "sure", "Apple Golden"),
        ([0.5, 0.4, 0.05, 0.05], 0.0, "fruit", "an apple; variety uncertain"),
        ([0.4, 0.2, 0.3, 0.1], 0.0, "unsure", "not sure"),
        ([0.9, 0.05, 0.03, 0.02], 11.0, "strange", "not sure: unlike anything it was trained on"),
        ([0.02, 0.03, 0.05, 0.9], 0.0, "not_fruit", "not a fruit"),
    ],
)
def test_verdicts(probabilities: list[float], novelty: float, verdict: str, text: str) -> None:
    (answer,) = _naming().answers(
        np.array([probabilities], np.float32), np.array([novelty], np.float32)
    )
    assert (answer.verdict, answer.text) == (verdict, text)
    assert [p for _, p in answer.top] == sorted([p for _, p in answer.top], reverse=True)
    json.dumps(answer.facts())


def test_a_tally_of_merged_pieces_tells_what_scikit_learn_does() -> None:
    naming = _naming()
    labels = _RNG.integers(0, 4, 500)
    probabilities = softmax(_RNG.normal(size=(500, 4)) + 2 * np.eye(4)[labels])
    paths = [f"{n}.jpg" for n in range(500)]
    splits = ["a" if n % 2 else "b" for n in range(500)]
    tally = Tally.none(4)
    for part in np.array_split(np.arange(500), 4):
        tally = tally.merge(
            Tally.of(
                naming,
                probabilities[part],
                None,
                labels[part],
                [paths[n] for n in part],
                {"split": [splits[n] for n in part]},
            )
        )
    facts = told(tally, naming)
    answers = probabilities.argmax(axis=1)
    right = answers == labels
    assert facts["accuracy"]["right"] == right.sum()
    assert facts["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"))
    assert facts["log_loss"] == pytest.approx(log_loss(labels, _exact(probabilities)), rel=1e-4)
    assert facts["calibration_error"] == pytest.approx(
        expected_error(probabilities.max(axis=1), right), abs=1e-6
    )
    top3 = np.mean(
        [label in np.argsort(-p)[:3] for p, label in zip(probabilities, labels, strict=True)]
    )
    assert facts["top3"]["share"] == pytest.approx(top3)
    by_split = facts["by_split"]
    assert by_split["a"]["images"] + by_split["b"]["images"] == 500
    assert facts["worst"][0]["confidence"] == pytest.approx(probabilities.max(axis=1)[~right].max())
    assert sum(pair["images"] for pair in facts["confusions"]) == (~right).sum()
    coverage = facts["risk_coverage"]
    assert coverage[0]["accuracy"] > coverage[-1]["accuracy"] == pytest.approx(right.mean())


def test_duplicates_are_found_and_others_are_not() -> None:
    training = _RNG.normal(size=(50, 40)).astype(np.float32)
    test = _RNG.normal(size=(20, 40)).astype(np.float32)
    test[3] = training[7] * 1.5
    test[4] = training[8] + 0.1 * _RNG.normal(size=40)
    test[5] = training[9] + 0.45 * _RNG.normal(size=40)
    names = [f"a/{n * 10}_100.jpg" for n in range(50)]
    others = [f"b/{n * 10 + 500}_100.jpg" for n in range(20)]
    others[5] = "b/92_100.jpg"  # two frames beside the training image
    found = Duplicates.between(training, names, test, others)
    assert found.exact == {others[3]}
    assert found.near == {others[4], others[5]}
    apart = Duplicates.between(training, names, test[6:], others[6:])
    assert not apart.near and not apart.exact
    assert apart.merge(found).images == 34


def _recogniser() -> Recogniser:
    rows = normalise(_ROWS)
    found = Spread(ClassStatistics.of(rows, _LABELS, 4))
    classifier = LinearClassifier(
        found.mean.astype(np.float32),
        found.scale.astype(np.float32),
        (found.centres / found.scale).astype(np.float32),
        np.zeros(4, np.float32),
    )
    return Recogniser(_naming(), classifier, fit_novelty(found))


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    store, recogniser = open_store(tmp_path), _recogniser()
    save_recogniser(store, recogniser, {"run": "x"})
    loaded, manifest = load_recogniser(store)
    assert loaded.naming == recogniser.naming
    assert manifest["run"] == "x"
    for ours, theirs in zip(loaded.recognise(_ROWS), recogniser.recognise(_ROWS), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    import hashlib
    import io

    store = open_store(tmp_path)
    save_recogniser(store, _recogniser(), {})
    folder = tmp_path / "models" / "classifier"
    sink = io.BytesIO()
    np.savez(sink, mean_=np.array([object()], dtype=object), allow_pickle=True)
    (folder / "classifier.npz").write_bytes(sink.getvalue())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"] = hashlib.sha256(sink.getvalue()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecognitionError, match="damaged"):
        load_recogniser(store)


def test_features_of_another_network_are_refused() -> None:
    with pytest.raises(RecognitionError, match="9 features"):
        _recogniser().recognise(np.zeros((2, 8), np.float32))


def test_answers_join() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]], np.float32)
    fruits = np.array([0, 0, 1])
    one = Answers.of(probabilities, np.array([0, 0]), fruits, np.zeros(2, np.float32))
    assert one.right.tolist() == [True, False]
    assert one.fruit_right.tolist() == [True, True]
    np.testing.assert_allclose(one.fruit_confidence, [0.9, 0.7], rtol=1e-6)
    assert len(one.merge(one).confidence) == 4
