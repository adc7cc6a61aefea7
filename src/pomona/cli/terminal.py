"""What a person sees of a run: progress and notes on stderr, results on stdout, errors last."""

from __future__ import annotations

import json
import sys
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pomona.errors import PomonaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.progress import Progress

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
_EVERY = 5.0
"""Seconds between progress lines where stderr is no terminal."""
_TOLD = {
    "list": "listing",
    "choose": "trying what runs the network fastest",
    "start": "waiting for Spark",
    "reduce": "reducing",
    "train": "training the classifier",
    "evaluate": "evaluating the classifier",
    "report": "writing the report",
}
"""Stages that are worth a line."""


def say(text: str) -> None:
    """One line on stderr, where everything goes that is not the result."""
    print(printable(text), file=sys.stderr, flush=True)  # noqa: T201


def result(text: str) -> None:
    """One line on stdout."""
    print(printable(text), flush=True)  # noqa: T201


def printable(text: str) -> str:
    """Text without control characters, which a file name may hold to deceive a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def print_json(facts: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(facts), flush=True)  # noqa: T201


@contextmanager
def reporting(
    log: Path | None = None, *, verbose: bool = False, resume: str = ""
) -> Iterator[None]:
    """Turn errors into at most a few lines and an exit code.

    Args:
        log: where the full story goes; its path is printed.
        verbose: whether the traceback is printed too.
        resume: what to say after Ctrl-C.
    """
    try:
        yield
    except PomonaError as error:
        _tell_log(log)
        say(f"pomona: {error.what}")
        if error.fix:
            say(f"  fix: {error.fix}")
        if log is not None and not isinstance(error, UsageError):
            say(f"  log: {log}")
        if verbose:
            traceback.print_exc()
        raise SystemExit(MISUSED if isinstance(error, UsageError) else FAILED) from None
    except KeyboardInterrupt:
        _tell_log(log)
        say(f"\npomona: stopped.{' ' + resume if resume else ''}")
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of stdout has gone (`pomona ... | head`).
        sys.stderr.close()
        raise SystemExit(FAILED) from None
    except Exception as error:  # noqa: BLE001 - the last resort: a fault of ours, told as such
        _tell_log(log)
        say(f"pomona: unexpected {type(error).__name__}: {str(error).splitlines()[:1]}")
        say("  This is a fault of Pomona; please report it with the log file.")
        if log is not None:
            say(f"  log: {log}")
        if verbose or log is None:
            traceback.print_exc()
        raise SystemExit(FAILED) from None


def _tell_log(log: Path | None) -> None:
    if log is not None:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            traceback.print_exc(file=stream)


class Watcher:
    """Shows a run on stderr: a bar on a terminal, else a line every few seconds, or nothing.

    Args:
        quiet: show nothing.
        doing: what the bar says.
        things: what is counted.
        bad: what becomes of those that fail.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        doing: str = "embedding",
        things: str = "images",
        bad: str = "rejected",
    ) -> None:
        self._quiet = quiet
        self._doing, self._things, self._bad = doing, things, bad
        self._bar: Progress | None = None
        self._task: Any = None
        self._begun: float | None = None
        self._told = 0.0

    def stage(self, name: str) -> None:
        """A stage begins."""
        self.close()
        if name in _TOLD:
            self.note(_TOLD[name])

    def note(self, text: str) -> None:
        """Something was found or chosen."""
        if not self._quiet:
            say(text)

    def progress(self, done: int, total: int, rejected: int) -> None:
        """Images done of how many."""
        if self._quiet:
            return
        now = time.monotonic()
        self._begun = self._begun or now
        if sys.stderr.isatty():
            self._advance(done, total, rejected)
        elif done and now - max(self._told, self._begun) >= _EVERY:
            self._told = now
            rate = done / max(now - self._begun, 1e-9)
            left = f", {(total - done) / rate:,.0f} s left" if 0 < done < total else ""
            bad = f"{rejected:,} {self._bad}"
            say(f"{done:,} of {total:,} {self._things}, {rate:,.0f}/s{left}, {bad}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _advance(self, done: int, total: int, rejected: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn(self._doing),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:,.0f}/s"),
                TimeRemainingColumn(),
                TextColumn(f"{{task.fields[rejected]:,}} {self._bad}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("embed", total=total, rate=0.0, rejected=0)
        rate = done / max(time.monotonic() - (self._begun or 0), 1e-9)
        self._bar.update(self._task, completed=done, rate=rate, rejected=rejected)
