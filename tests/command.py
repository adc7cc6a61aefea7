"""The ``pomona`` command as a user starts it: in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_LIMIT = 240


def pomona(
    *arguments: str | Path,
    env: dict[str, str] | None = None,
    before: Sequence[str] = (),
    limit: float = _LIMIT,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with another one before it where given."""
    return subprocess.run(
        [*before, sys.executable, "-m", "pomona", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=limit,
        env=os.environ | (env or {}),
        **options,
    )


def facts(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """Run the command with ``--json``; its one object."""
    done = pomona(*arguments, "--json")
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


class Started:
    """The command in the background, to be struck at a moment of the test's choice."""

    def __init__(self, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pomona", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the driver."""
        return self._process.pid

    def children(self) -> list[int]:
        """Process ids of everything that the driver has started, directly or not."""
        found: list[int] = []
        pending = [self.pid]
        while pending:
            pid = pending.pop()
            try:
                tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
                for task in tasks:
                    with open(f"/proc/{pid}/task/{task}/children") as stream:  # noqa: PTH123
                        below = [int(child) for child in stream.read().split()]
                    found += below
                    pending += below
            except OSError:
                continue
        return found

    def await_sight(self, seen: Callable[[], bool], every: float = 0.002) -> None:
        """Wait until something can be seen."""
        until = time.monotonic() + _LIMIT
        while not seen():
            assert self._process.poll() is None, self._process.communicate()[1]
            assert time.monotonic() < until, "it was never seen"
            time.sleep(every)

    def when(self, seen: Callable[[], bool], strike: int) -> None:
        """Send a signal as soon as something can be seen."""
        self.await_sight(seen)
        self._process.send_signal(strike)

    def end(self) -> tuple[int, str]:
        """Wait for the end; exit code and stderr."""
        _, told = self._process.communicate(timeout=_LIMIT)
        return self._process.returncode, told

    def kill(self) -> None:
        """End it without ceremony."""
        self._process.send_signal(signal.SIGKILL)
        self.end()


def gone(pids: list[int], within: float = 20) -> bool:
    """Whether all of these processes end in time."""
    until = time.monotonic() + within
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:  # noqa: PTH123
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
