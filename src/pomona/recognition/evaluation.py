"""How good a recogniser is, counted on the workers and told with its uncertainty.

A :class:`Tally` is what one task counts; tallies merge, and :func:`told` makes of the sum what
``evaluation.json`` and the report say.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pomona.recognition.calibration import by_fruit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pomona.recognition.answering import Naming

BINS = 15
"""Of the reliability diagram."""
_FINE = 1_000
"""Bins of confidence for risk against coverage."""
_WORST = 24
_PAIRS = 40
_COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


class Mistake(NamedTuple):
    """A wrong answer."""

    confidence: float
    path: str
    label: str
    answer: str


@dataclass
class Tally:
    """Counts over some images that were answered; mergeable.

    Attributes:
        confusion: int64 [c, c], images by true class and answer.
        top3: images whose true class is among the best three.
        fruit_right: images whose fruit is right, whatever the variety.
        loss: negative log-likelihoods, summed.
        bins: float64 [3, BINS]: images, right ones, and confidences summed, by confidence.
        fine: int64 [2, 1000]: images and right ones, by confidence.
        verdicts: images and right ones by verdict; for ``fruit`` the fruit has to be right.
        parts: images and right ones by (kind, name): of split, group, or duplicate.
        worst: the most confident mistakes.
        pairs: the most confident mistake of each (true class, answer).
        shown: a right answer of each class, to be shown beside a mistake.
    """

    confusion: NDArray[np.int64]
    top3: int = 0
    fruit_right: int = 0
    loss: float = 0.0
    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, BINS)))
    fine: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, _FINE), np.int64))
    verdicts: Counter[tuple[str, bool]] = field(default_factory=Counter)
    parts: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    worst: list[Mistake] = field(default_factory=list)
    pairs: dict[tuple[int, int], Mistake] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)

    @classmethod
    def none(cls, classes: int) -> Tally:
        """The tally of no images."""
        return cls(np.zeros((classes, classes), np.int64))

    @classmethod
    def of(
        cls,
        naming: Naming,
        probabilities: NDArray[np.float32],
        novelty: NDArray[np.float32] | None,
        labels: NDArray[np.integer],
        paths: Sequence[str],
        parts: Mapping[str, Sequence[str]],
    ) -> Tally:
        """The tally of some images.

        Args:
            naming: classes and thresholds.
            probabilities: [n, c].
            novelty: [n], where known.
            labels: [n], true classes.
            paths: of the images.
            parts: by kind, what each image belongs to.
        """
        tally = cls.none(len(naming.classes))
        if not len(labels):
            return tally
        rows = np.arange(len(labels))
        answers = probabilities.argmax(axis=1)
        confidence = probabilities.max(axis=1)
        right = answers == labels
        np.add.at(tally.confusion, (labels, answers), 1)
        true = probabilities[rows, labels]
        tally.top3 = int(((probabilities > true[:, None]).sum(axis=1) < 3).sum())
        tally.loss = float(-np.log(np.maximum(true, 1e-12), dtype=np.float64).sum())
        fruits = naming.fruit_index
        fruit_right = by_fruit(probabilities, fruits).argmax(axis=1) == fruits[labels]
        tally.fruit_right = int(fruit_right.sum())
        for counts, bins in ((tally.bins, BINS), (tally.fine, _FINE)):
            at = np.minimum((confidence * bins).astype(int), bins - 1)
            counts[0] += np.bincount(at, minlength=bins)
            counts[1] += np.bincount(at, right, minlength=bins).astype(counts.dtype)
            if bins == BINS:
                counts[2] += np.bincount(at, confidence, minlength=bins)
        for row, verdict in enumerate(naming.verdicts(probabilities, novelty)):
            good = fruit_right[row] if verdict == "fruit" else right[row]
            tally.verdicts[verdict, bool(good)] += 1
        for kind, names in parts.items():
            tally.parts.update(zip([kind] * len(names), names, right.tolist(), strict=True))
        tally._show(naming, confidence, answers, labels, paths)
        return tally

    def _show(
        self,
        naming: Naming,
        confidence: NDArray[np.float32],
        answers: NDArray[np.intp],
        labels: NDArray[np.integer],
        paths: Sequence[str],
    ) -> None:
        for row in np.flatnonzero(answers == labels).tolist():
            self.shown.setdefault(naming.classes[labels[row]], paths[row])
        for row in np.flatnonzero(answers != labels).tolist():
            true, answer = int(labels[row]), int(answers[row])
            mistake = Mistake(
                float(confidence[row]), paths[row], naming.classes[true], naming.classes[answer]
            )
            self.worst.append(mistake)
            self.pairs[true, answer] = max(mistake, self.pairs.get((true, answer), mistake))
        self.worst = sorted(self.worst, reverse=True)[:_WORST]

    def merge(self, other: Tally) -> Tally:
        """The tally of both sets of images."""
        pairs = dict(self.pairs)
        for key, mistake in other.pairs.items():
            pairs[key] = max(mistake, pairs.get(key, mistake))
        return Tally(
            self.confusion + other.confusion,
            self.top3 + other.top3,
            self.fruit_right + other.fruit_right,
            self.loss + other.loss,
            self.bins + other.bins,
            self.fine + other.fine,
            self.verdicts + other.verdicts,
            self.parts + other.parts,
            sorted(self.worst + other.worst, reverse=True)[:_WORST],
            pairs,
            other.shown | self.shown,
        )

    @property
    def images(self) -> int:
        """Images that were answered."""
        return int(self.confusion.sum())


def wilson(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (E. B. Wilson, 1927); 0 to 1 where nothing counted."""
    if not count:
        return 0.0, 1.0
    share, square = right / count, z * z
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = (
        z
        / (1 + square / count)
        * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    )
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if right == 0 else low), (1.0 if right == count else high)


def share(right: int, count: int) -> dict[str, Any]:
    """A proportion with its counts and its 95 % interval."""
    low, high = wilson(right, count)
    value = right / count if count else None
    return {"share": value, "low": low, "high": high, "right": int(right), "images": int(count)}


def told(tally: Tally, naming: Naming) -> dict[str, Any]:
    """A tally as plain values."""
    confusion = tally.confusion
    count = tally.images
    right = int(np.trace(confusion))
    return {
        "images": count,
        "accuracy": share(right, count),
        "top3": share(tally.top3, count),
        "fruit": share(tally.fruit_right, count),
        "macro_f1": _macro_f1(confusion),
        "log_loss": tally.loss / max(1, count),
        "calibration_error": float(np.abs(tally.bins[1] - tally.bins[2]).sum() / max(1, count)),
        "reliability": _reliability(tally.bins),
        "risk_coverage": _risk_coverage(tally.fine),
        "verdicts": {
            name: share(
                tally.verdicts[name, True],
                tally.verdicts[name, True] + tally.verdicts[name, False],
            )
            for name in ("sure", "fruit", "unsure", "strange", "not_fruit")
        },
        "classes": _classes(confusion, naming),
        **{f"by_{kind}": _parts(tally.parts, kind) for kind in ("split", "group", "duplicate")},
        "confusions": _confusions(tally, naming),
        "worst": [mistake._asdict() for mistake in tally.worst],
    }


def _macro_f1(confusion: NDArray[np.int64]) -> float | None:
    """Mean F1 over the classes that were tested."""
    hits = np.diagonal(confusion)
    tested = confusion.sum(axis=1) > 0
    if not tested.any():
        return None
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float((2 * hits[tested] / both[tested]).mean())


def _reliability(bins: NDArray[np.float64]) -> list[dict[str, Any]]:
    return [
        {
            "from": index / BINS,
            "to": (index + 1) / BINS,
            "confidence": float(summed / images),
            **share(int(right), int(images)),
        }
        for index, (images, right, summed) in enumerate(bins.T)
        if images
    ]


def _risk_coverage(fine: NDArray[np.int64]) -> list[dict[str, float]]:
    """Accuracy among the most confident answers, at some coverages."""
    images, right = (np.cumsum(row[::-1]) for row in fine)
    total = int(images[-1])
    if not total:
        return []
    found = []
    for wanted in _COVERAGES:
        at = int(np.searchsorted(images, wanted * total))
        found.append(
            {
                "coverage": float(images[at] / total),
                "accuracy": float(right[at] / images[at]),
                "from_confidence": 1 - (at + 1) / _FINE,
            }
        )
    return found


def _classes(confusion: NDArray[np.int64], naming: Naming) -> list[dict[str, Any]]:
    found = []
    for index, name in enumerate(naming.classes):
        tested, answered = int(confusion[index].sum()), int(confusion[:, index].sum())
        hits = int(confusion[index, index])
        found.append(
            {
                "label": name,
                "fruit": naming.fruits[index],
                "recall": share(hits, tested),
                "precision": share(hits, answered),
            }
        )
    return found


def _parts(parts: Counter[tuple[str, str, bool]], kind: str) -> dict[str, dict[str, Any]]:
    names = sorted({name for of, name, _ in parts if of == kind})
    return {
        name: share(parts[kind, name, True], parts[kind, name, True] + parts[kind, name, False])
        for name in names
    }


def _confusions(tally: Tally, naming: Naming) -> list[dict[str, Any]]:
    """Pairs of classes by the number of mistakes, with a picture of each side."""
    counts = tally.confusion.copy()
    np.fill_diagonal(counts, 0)
    found = []
    for at in np.argsort(-counts, axis=None, kind="stable")[:_PAIRS]:
        true, answer = np.unravel_index(at, counts.shape)
        number = int(counts[true, answer])
        if not number:
            break
        found.append(
            {
                "label": naming.classes[true],
                "answer": naming.classes[answer],
                "images": number,
                "share": number / int(tally.confusion[true].sum()),
                "same_fruit": naming.fruits[true] == naming.fruits[answer],
                "path": tally.pairs[int(true), int(answer)].path,
                "answer_path": tally.shown.get(naming.classes[answer]),
            }
        )
    return found
