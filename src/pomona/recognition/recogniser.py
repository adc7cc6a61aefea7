"""All that was learned from a features table: classifier, novelty, names and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomona.recognition.linear import LinearClassifier, softmax
from pomona.recognition.normalising import normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pomona.recognition.answering import Naming
    from pomona.recognition.novelty import Novelty


@dataclass(frozen=True)
class Recogniser:
    """Features to probabilities and a novelty score, and what to make of them.

    Attributes:
        naming: classes, fruits and thresholds.
        classifier: features to logits.
        novelty: features to strangeness.
    """

    naming: Naming
    classifier: LinearClassifier
    novelty: Novelty

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        return len(self.classifier.mean_)

    def recognise(
        self, features: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Calibrated probabilities, float32 [n, c], and novelty, float32 [n].

        Args:
            features: [n, d], as the network gives them.

        Raises:
            RecognitionError: rows of another length.
        """
        return self.recognise_normalised(normalise(features))

    def recognise_normalised(
        self, rows: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The same for features that are normalised already."""
        logits = self.classifier.logits(rows)
        return softmax(logits, self.naming.calibration.temperature), self.novelty.score(rows)
