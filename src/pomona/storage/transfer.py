"""What upload and download have in common: many at a time, bounded memory, one account of it."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from pomona.errors import StorageError
from pomona.storage import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

JOBS = 16
"""Files that are moved at a time."""
_IN_FLIGHT_BYTES = 192 << 20
"""Content that is held in memory at a time."""
_TRUSTING = 8
"""Refusals before the first success, after which the transfer stops."""

Item = TypeVar("Item")


class Progress(Protocol):
    """Who watches a transfer."""

    def note(self, text: str) -> None:
        """Something was found."""

    def progress(self, done: int, total: int, rejected: int) -> None:
        """Files done, of how many, and how many of them failed."""


@dataclass(frozen=True)
class Outcome:
    """What became of one object.

    Attributes:
        kind: moved, found to be there already, or failed.
        files: that it holds; a shard holds many.
        bytes: that were moved.
        failed: path and reason of each file that could not be moved.
        verified: whether the storage's checksum was compared.
        refused: whether it failed for want of rights.
    """

    kind: Literal["moved", "unchanged", "failed"]
    files: int = 1
    bytes: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    verified: bool = True
    refused: bool = False


@dataclass
class Transfer:
    """The account of a transfer: files = moved + unchanged + failed.

    Attributes:
        files: to be moved.
        moved: files that were.
        unchanged: files that were there already, by checksum.
        objects: that were written.
        bytes: that were moved.
        failed: path to reason.
        left_out: how many files were not to be moved, by why.
        examples: of what was left out.
        unverified: objects that were moved, but whose checksum the storage does not tell.
        refused: objects that failed for want of rights.
    """

    files: int = 0
    moved: int = 0
    unchanged: int = 0
    objects: int = 0
    bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    unverified: int = 0
    refused: int = 0

    def leave_out(self, why: str, path: str) -> None:
        """Take note of a file that is not to be moved."""
        self.left_out[why] += 1
        self.examples.setdefault(why, path)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        good = outcome.files - len(outcome.failed)
        if outcome.kind == "moved":
            self.moved += good
            self.objects += 1
            self.bytes += outcome.bytes
            self.unverified += not outcome.verified
        elif outcome.kind == "unchanged":
            self.unchanged += good
        self.failed.update(outcome.failed)
        self.refused += outcome.refused

    @property
    def done(self) -> int:
        """Files that were dealt with."""
        return self.moved + self.unchanged + len(self.failed)


class Budget:
    """Memory that the workers share."""

    def __init__(self, most: int = _IN_FLIGHT_BYTES) -> None:
        self._most, self._taken = most, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes fit; one that is larger than all has it to itself."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + size <= self._most)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


def run(
    account: Transfer,
    items: Iterable[Item],
    work: Callable[[Item], Outcome],
    progress: Progress,
    jobs: int = JOBS,
) -> None:
    """Do ``work`` on every item, some at a time, and keep the account.

    Raises:
        StorageError: one that no other item would escape; what was moved stays moved.
        KeyboardInterrupt: likewise; requests may still be under way.
    """
    pending: set[Future[Outcome]] = set()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="pomona-transfer")
    patient = True
    try:
        for item in items:
            pending.add(pool.submit(work, item))
            if len(pending) >= 4 * jobs:
                pending = _collect(account, pending, progress)
        while pending:
            pending = _collect(account, pending, progress)
    except KeyboardInterrupt:
        # A request may take minutes to give up; what it leaves undone, the next run does.
        patient = False
        raise
    finally:
        pool.shutdown(wait=patient, cancel_futures=True)


def refused(error: StorageError) -> bool:
    """Whether the storage refused one object; another may be allowed."""
    cause = error.__cause__
    return cause is not None and answers.code_of(cause) in (answers.ACCESS_DENIED, "403")


def _collect(
    account: Transfer, pending: set[Future[Outcome]], progress: Progress
) -> set[Future[Outcome]]:
    done, left = wait(pending, timeout=1, return_when=FIRST_COMPLETED)
    for future in done:
        account.add(future.result())
    if not account.moved + account.unchanged and account.refused >= _TRUSTING:
        path, why = next(reversed(account.failed.items()))
        raise StorageError(
            f"Nothing can be moved; the last of {account.refused} refusals: {path}: {why}.",
            "Check the rights of these credentials with `pomona doctor`.",
        )
    progress.progress(account.done, account.files, len(account.failed))
    return left
