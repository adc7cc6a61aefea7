"""What the tests of upload and download look at, and how they interrupt them."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pomona.storage.transfer import Transfer
    from tests.servers.guard import Guard


class Watcher:
    """Who is told how far it is; may do something at the first time."""

    def __init__(self, at_first: Callable[[], None] | None = None) -> None:
        self.told: list[tuple[int, int, int]] = []
        self._at_first = at_first

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def progress(self, done: int, total: int, rejected: int) -> None:
        if not self.told and self._at_first is not None:
            self._at_first()
        self.told.append((done, total, rejected))


def local(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def remote(bucket: Any, prefix: str) -> dict[str, bytes]:
    return {
        item.key.removeprefix(prefix): item.get()["Body"].read()
        for item in bucket.objects.filter(Prefix=prefix)
    }


def counts(account: Transfer) -> tuple[int, int, int, int]:
    return account.files, account.moved, account.unchanged, len(account.failed)


def stopped_after(
    guard: Guard, how: signal.Signals, method: str, count: int, *arguments: str | Path
) -> tuple[int, str]:
    """Run the command, and send it a signal while the server holds up a request after ``count``.

    Returns:
        Exit code and stderr; the request is held up until the process has ended.
    """
    seen = itertools.count()
    reached, release = threading.Event(), threading.Event()

    def hold(environ: dict[str, Any]) -> None:
        is_object = environ["RAW_URI"].split("?")[0].count("/") > 1
        if environ["REQUEST_METHOD"] == method and is_object and next(seen) >= count:
            reached.set()
            release.wait(100)

    guard.before = hold
    process = subprocess.Popen(
        [sys.executable, "-m", "pomona", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert reached.wait(60)
        process.send_signal(how)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        release.set()
        guard.before = None
    return process.returncode, told
