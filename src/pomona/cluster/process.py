"""Processes that a cluster started: told from others that got the same number later, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

_GRACE = 10.0
"""Seconds that a process has to end in order before it is killed."""


def born(pid: int) -> str:
    """When a process began, in a form that no other process of this machine shares.

    Returns:
        An empty string where there is no such process, or it is a zombie.
    """
    try:
        after = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        fields = after.rsplit(")", 1)[1].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, IndexError):
        return "" if Path("/proc/self/stat").exists() else _asked(pid)
    return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def runs(pid: int, since: str) -> bool:
    """Whether the process that began at ``since`` still runs, and not only one of its number."""
    return bool(since) and born(pid) == since


def end(processes: list[tuple[int, str]]) -> None:
    """End processes, first in order and then by force; those that are others by now are let be.

    Args:
        processes: number and beginning of each, as :func:`born` told it.
    """
    for strike, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        for pid, since in processes:
            if runs(pid, since):
                _strike(pid, strike)
        until = time.monotonic() + patience
        while any(runs(pid, since) for pid, since in processes):
            if time.monotonic() > until:
                break
            time.sleep(0.05)
        else:
            return


def _strike(pid: int, strike: signal.Signals) -> None:
    try:
        os.kill(pid, strike)
    except ProcessLookupError:
        return


def _asked(pid: int) -> str:
    """The beginning as ``ps`` tells it, to the second: where there is no /proc."""
    told = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, since = told.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else since.strip()
