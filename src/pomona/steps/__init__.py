"""The steps of the chain, each on what one run shares; only ``pomona.pipeline`` orders them."""

from __future__ import annotations

from pomona.steps.observer import Observer, Silent
from pomona.steps.shared import Run, timed

__all__ = ["Observer", "Run", "Silent", "timed"]
