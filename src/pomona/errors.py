"""The errors that Pomona raises: what happened, to which thing, and what to do about it."""

from __future__ import annotations


class PomonaError(Exception):
    """Base of every error that is meant for a user.

    It is raised where the cause is known and printed once, by the command line, as at most
    a few lines: ``what`` happened (naming the file, table or setting), and the ``fix``.

    Attributes:
        what: one sentence that names what happened and to which thing.
        fix: one sentence that says what to do, or an empty string.
    """

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n{self.fix}" if self.fix else self.what


class UsageError(PomonaError):
    """The command was called in a way that cannot work: exit code 2."""


class InputError(PomonaError):
    """INPUT cannot be listed or read."""


class LayoutError(UsageError):
    """A layout template is malformed or fits no path of INPUT."""


class ModelError(PomonaError):
    """A network file is broken, is no network, or does not take images."""


class StorageError(PomonaError):
    """A path or object cannot be read or written."""


class TableError(PomonaError):
    """A table under OUTPUT is missing, unreadable or not what the step needs."""


class BusyError(PomonaError):
    """Another run is writing to the same OUTPUT."""


class SparkError(PomonaError):
    """Spark or Java did not start, or a worker failed for a reason outside the images."""


class ClusterError(PomonaError):
    """A cluster cannot be started, reached, changed or stopped."""


class ReductionError(PomonaError):
    """The features do not allow the reduction that was asked for."""


class RecognitionError(PomonaError):
    """A recogniser cannot be trained, evaluated or used as asked."""


class LedgerError(PomonaError):
    """listed = embedded + rejected + unchanged does not hold."""


class CloudError(PomonaError):
    """AWS refuses or fails, or a cluster there is not what the command needs."""
