"""Pictures that Pomona draws itself: fruit to try it on, and broken files to test it with."""

from __future__ import annotations

from pomona.samples.dataset import SampleSummary, write_samples
from pomona.samples.faults import write_faults

__all__ = ["SampleSummary", "write_faults", "write_samples"]
