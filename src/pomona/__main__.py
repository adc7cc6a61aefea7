"""The ``pomona`` command: the one place where errors become text and exit codes."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

DONE, FAILED, MISUSED, TOO_MANY_REJECTS = 0, 1, 2, 3
INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 misuse, 3 too many rejects."""
    from pomona.cli.app import app

    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(app(standalone_mode=True))


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    """End in order, as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
