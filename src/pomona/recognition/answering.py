"""Probabilities to an answer: a class, a fruit of uncertain variety, or an honest "not sure"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pomona.recognition.calibration import Calibration, by_fruit
from pomona.recognition.fruits import NOT_FRUIT, with_article

if TYPE_CHECKING:
    from numpy.typing import NDArray

Verdict = Literal["sure", "fruit", "unsure", "strange", "not_fruit"]

_SHOWN = 3


@dataclass(frozen=True)
class Answer:
    """What is said of one image.

    Attributes:
        verdict: ``sure`` names a class; ``fruit`` a fruit, whose variety is uncertain; ``unsure``
            and ``strange`` name nothing, the latter since the image is unlike anything trained
            on; ``not_fruit`` says that no fruit is shown.
        text: the answer in words.
        label: the best class, whatever the verdict.
        confidence: its probability.
        fruit: the best fruit, classes of one fruit summed up.
        fruit_confidence: its probability.
        top: the three best classes and their probabilities.
        novelty: how unlike the training images it is; None where that is not known.
    """

    verdict: Verdict
    text: str
    label: str
    confidence: float
    fruit: str
    fruit_confidence: float
    top: tuple[tuple[str, float], ...]
    novelty: float | None

    def facts(self) -> dict[str, Any]:
        """As plain values, probabilities to four digits."""
        return {
            "verdict": self.verdict,
            "text": self.text,
            "label": self.label,
            "confidence": round(self.confidence, 4),
            "fruit": self.fruit,
            "fruit_confidence": round(self.fruit_confidence, 4),
            "top": [{"label": name, "confidence": round(p, 4)} for name, p in self.top],
            "novelty": None if self.novelty is None else round(self.novelty, 3),
        }


@dataclass(frozen=True)
class Naming:
    """What is needed to turn probabilities into answers.

    Attributes:
        classes: their names.
        fruits: the fruit of each.
        calibration: thresholds.
    """

    classes: tuple[str, ...]
    fruits: tuple[str, ...]
    calibration: Calibration

    @property
    def fruit_names(self) -> tuple[str, ...]:
        """The fruits, each once, sorted."""
        return tuple(sorted(set(self.fruits)))

    @property
    def fruit_index(self) -> NDArray[np.intp]:
        """Where each class's fruit stands in :attr:`fruit_names`: int [c]."""
        at = {name: index for index, name in enumerate(self.fruit_names)}
        return np.array([at[fruit] for fruit in self.fruits], np.intp)

    def verdicts(
        self, probabilities: NDArray[np.float32], novelty: NDArray[np.float32] | None
    ) -> list[Verdict]:
        """The verdict on each image.

        Args:
            probabilities: [n, c].
            novelty: [n]; None where it is not known.
        """
        limits = self.calibration
        summed = by_fruit(probabilities, self.fruit_index)
        best, best_fruit = probabilities.max(axis=1), summed.max(axis=1)
        fruit = summed.argmax(axis=1)
        strange = np.zeros(len(best), bool) if novelty is None else novelty > limits.strange
        names = self.fruit_names
        found: list[Verdict] = []
        for row in range(len(best)):
            if strange[row]:
                found.append("strange")
            elif best_fruit[row] >= limits.fruit_sure and names[fruit[row]] == NOT_FRUIT:
                found.append("not_fruit")
            elif best[row] >= limits.sure:
                found.append("sure")
            else:
                found.append("fruit" if best_fruit[row] >= limits.fruit_sure else "unsure")
        return found

    def answers(
        self, probabilities: NDArray[np.float32], novelty: NDArray[np.float32] | None
    ) -> list[Answer]:
        """The answer to each image; arguments as for :meth:`verdicts`."""
        summed = by_fruit(probabilities, self.fruit_index)
        names = self.fruit_names
        verdicts = self.verdicts(probabilities, novelty)
        found = []
        for row, verdict in enumerate(verdicts):
            order = np.argsort(-probabilities[row], kind="stable")[:_SHOWN]
            top = tuple((self.classes[c], float(probabilities[row, c])) for c in order)
            fruit = int(summed[row].argmax())
            found.append(
                Answer(
                    verdict=verdict,
                    text=self._text(verdict, top[0][0], names[fruit]),
                    label=top[0][0],
                    confidence=top[0][1],
                    fruit=names[fruit],
                    fruit_confidence=float(summed[row, fruit]),
                    top=top,
                    novelty=None if novelty is None else float(novelty[row]),
                )
            )
        return found

    def _text(self, verdict: Verdict, label: str, fruit: str) -> str:
        if verdict == "sure":
            return label
        if verdict == "fruit":
            varieties = self.fruits.count(fruit)
            return with_article(fruit) + ("; variety uncertain" if varieties > 1 else "")
        if verdict == "strange":
            return "not sure: unlike anything it was trained on"
        return "not a fruit" if verdict == "not_fruit" else "not sure"
