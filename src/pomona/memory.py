"""How much memory a process has taken at most, and how much is left."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path

_NO_LIMIT = 1 << 60
"""Control groups say 'unlimited' with numbers near 2**63."""


def own_peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    exact = peak_of(os.getpid())
    if exact:
        return exact
    # What the parent had taken before it started this process may be counted in here.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_of(pid: int) -> int:
    """Largest resident memory of a running process so far, in bytes; 0 where nothing tells."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def free_memory() -> int | None:
    """Bytes that can still be used: the machine's, or what the control group leaves."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        free = int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):
            return None
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            most, now = (int(Path(name).read_text(encoding="ascii")) for name in (limit, used))
        except (OSError, ValueError):
            continue
        if most < _NO_LIMIT:
            free = min(free, max(0, most - now))
    return free
