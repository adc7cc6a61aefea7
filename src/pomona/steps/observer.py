"""Who watches a run."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """The command line's progress bar, a notebook, or nobody."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """Something was found or chosen."""

    def progress(self, done: int, total: int, rejected: int) -> None:
        """Images done, of how many, and how many of them were rejected."""


class Silent:
    """An observer that does nothing."""

    def stage(self, name: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def progress(self, done: int, total: int, rejected: int) -> None:
        """Ignore it."""
