"""What upload and download have in common on the terminal."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pomona.cli.terminal import Watcher
    from pomona.errors import PomonaError
    from pomona.storage.transfer import Transfer

_SHOWN = 5
_RESUME = "What was moved stays; run the same command again to go on."


def move(
    doing: str,
    done: str,
    work: Callable[[Watcher], Transfer],
    target: str,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Do a transfer and tell what came of it; exit code 1 if a file failed.

    Args:
        doing: such as ``uploading``.
        done: such as ``uploaded``.
        work: the transfer.
        target: where to.
        as_json: whether stdout gets one JSON object.
        quiet: whether stderr gets errors alone.
        verbose: whether errors come with their traceback.
    """
    import time

    from pomona.cli.terminal import Watcher, print_json, reporting, result, say

    begin = time.perf_counter()
    watcher = Watcher(quiet=quiet, doing=doing, things="files", bad="failed")
    with _prompt_end(), reporting(verbose=verbose, resume=_RESUME):
        try:
            account = work(watcher)
        finally:
            watcher.close()
        seconds = time.perf_counter() - begin
        if as_json:
            print_json(facts(account, target, seconds))
        elif not quiet:
            for why, count in account.left_out.items():
                say(f"left out {count:,}: {why} (such as {account.examples[why]})")
            if account.unverified:
                say(f"{account.unverified:,} objects have no checksum to compare with (encrypted)")
            result(
                f"{account.files:,} files = {account.moved:,} {done} + {account.unchanged:,} "
                f"there already + {len(account.failed):,} failed; {account.bytes / 1e6:,.1f} MB "
                f"in {account.objects:,} objects, {seconds:.1f} s"
            )
        if account.failed:
            raise _failure(account, done)


@contextmanager
def _prompt_end() -> Iterator[None]:
    """End the process at once after Ctrl-C, not when the requests under way have given up."""
    from pomona.cli.terminal import INTERRUPTED

    try:
        yield
    except SystemExit as error:
        if error.code == INTERRUPTED:
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise


def facts(account: Transfer, target: str, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "output": target,
        "files": account.files,
        "moved": account.moved,
        "unchanged": account.unchanged,
        "failed": account.failed,
        "objects": account.objects,
        "bytes": account.bytes,
        "left_out": dict(account.left_out),
        "unverified": account.unverified,
        "seconds": round(seconds, 3),
    }


def _failure(account: Transfer, done: str) -> PomonaError:
    from pomona.errors import StorageError

    shown = [f"{path}: {why}" for path, why in list(account.failed.items())[:_SHOWN]]
    more = len(account.failed) - len(shown)
    told = "\n  ".join(shown) + (f"\n  and {more:,} more" if more else "")
    return StorageError(
        f"{len(account.failed):,} of {account.files:,} files were not {done}:\n  {told}",
        "Mend the cause, then run the same command again: only these are tried.",
    )
