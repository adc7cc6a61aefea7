"""Pomona: from a bucket of fruit photographs to features, a reduced matrix, a report."""

from __future__ import annotations

__version__ = "0.1.0"
