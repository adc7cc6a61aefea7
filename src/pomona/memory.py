"""How much memory a process has taken at most."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path


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
