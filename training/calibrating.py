"""How sure the network's own names are: a temperature and a threshold from held-out photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engines import Floats

RISK = 0.1
"""Share of wrong names among the sure ones that the threshold aims at."""
NEVER = 1e30
"""A threshold that nothing reaches: logits say nothing of novelty."""


def calibration(logits: Floats, kinds: NDArray[np.int64]) -> dict[str, float]:
    """The temperature of the least cross-entropy, and the lowest threshold that keeps the risk.

    Args:
        logits: float32 [n, classes], of photographs that trained nothing.
        kinds: int64 [n], their classes.
    """
    temperatures = np.arange(0.2, 2.0, 0.01)
    rows = np.arange(len(kinds))
    surprise = [-np.log(softmax(logits / t)[rows, kinds] + 1e-9).mean() for t in temperatures]
    temperature = float(temperatures[int(np.argmin(surprise))])
    chances = softmax(logits / temperature)
    confidence, right = chances.max(1), chances.argmax(1) == kinds
    order = np.argsort(-confidence)
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    allowed = np.flatnonzero(wrong <= RISK)
    sure = float(confidence[order[allowed[-1]]]) if len(allowed) else 0.99
    return {
        "temperature": round(temperature, 3),
        "sure": round(sure, 3),
        "fruit_sure": round(sure, 3),
        "strange": NEVER,
        "risk": RISK,
    }


def softmax(logits: Floats) -> Floats:
    """Probabilities of each row."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    chances: Floats = powers / powers.sum(1, keepdims=True)
    return chances
