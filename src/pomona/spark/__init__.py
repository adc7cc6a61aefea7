"""Spark: its session, its Java, its jobs, and its errors in a few lines."""

from __future__ import annotations

from pomona.spark.notebook import start_session

__all__ = ["start_session"]
