"""What a run needs besides OUTPUT: an identity, a scratch folder and a log file on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_log_path

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "pomona-"
_LOGS_KEPT = 20


@dataclass(frozen=True)
class Workspace:
    """One run's place on the driver's machine.

    Attributes:
        run: its identity: UTC time and four random digits.
        scratch: an empty folder, removed at the end.
        log: a file that stays; the full story of every failure goes there.
    """

    run: str
    scratch: Path
    log: Path


@contextmanager
def open_workspace() -> Iterator[Workspace]:
    """A workspace that is cleaned up on the way out; those of killed runs are cleaned up too."""
    run = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(2)
    _remove_orphans()
    scratch = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield Workspace(run, scratch, _log_file(run, scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _log_file(run: str, scratch: Path) -> Path:
    try:
        folder = user_log_path("pomona", ensure_exists=True)
        log = folder / f"{run}.log"
        log.touch()
    except OSError:
        # A home that cannot be written: the log then lies beside the scratch folder, and stays.
        log = scratch.with_suffix(".log")
        log.touch()
        return log
    for old in sorted(folder.glob("*.log"))[:-_LOGS_KEPT]:
        old.unlink(missing_ok=True)
    return log


def _remove_orphans() -> None:
    """Remove scratch folders of this user whose process is gone (it was killed)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}[0-9]*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        try:
            if not owner.isdigit() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
                continue
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
