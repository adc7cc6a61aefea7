"""Which Pomona this is: two machines with the same answer compute the same features."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

SOURCE_VARIABLE = "POMONA_SOURCE"
"""Tells a worker which source the driver has."""


@cache
def source_hash() -> str:
    """SHA-256 of every file of the package, names and contents, in hexadecimal.

    What Python compiles and what a packager may add beside the sources does not count.
    """
    root = Path(__file__).parents[1]
    found = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).as_posix()
        if not path.is_file() or "__pycache__" in inside or path.name.startswith("."):
            continue
        data = path.read_bytes()
        found.update(f"{inside}\0{len(data)}\0".encode())
        found.update(data)
    return found.hexdigest()


@cache
def differs() -> bool:
    """Whether this worker has another source than its driver; False where no driver told its own.

    A worker that joins in the middle of a run is told by this.
    """
    told = os.environ.get(SOURCE_VARIABLE)
    return bool(told) and told != source_hash()
