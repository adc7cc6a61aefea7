"""A lock in a bucket: an object that one process holds for a minute at a time.

It is taken by a conditional put, renewed by a thread, given back at the end, and taken over by
another process once its holder has not renewed it in time. Ages are told by the service's clock
alone, so clocks that differ do no harm.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pomona.errors import BusyError, PomonaError, StorageError
from pomona.storage import answers
from pomona.storage.store import NotFound

if TYPE_CHECKING:
    from pomona.storage.s3 import S3Store

KEY = ".lock"
SECONDS = 60.0
"""How long a lease is valid after its last renewal."""
RENEWED_EVERY = 15.0
_TRIES = 5

_held_here: set[str] = set()
"""Owners of the leases that this process holds at present."""


@dataclass(frozen=True)
class _Seen:
    """A lease as it stands in the bucket."""

    etag: str
    age: float
    facts: dict[str, Any]


class Lease:
    """The right to write below one prefix.

    Args:
        store: of OUTPUT.
        seconds: validity; shorter in tests.
        every: seconds between renewals.
    """

    def __init__(
        self, store: S3Store, *, seconds: float | None = None, every: float | None = None
    ) -> None:
        self._store = store
        self._seconds = seconds or SECONDS
        self._every = every or RENEWED_EVERY
        self._owner = uuid.uuid4().hex
        self._etag = ""
        self._created = False
        self._renewed = 0.0
        self._lost: str | None = None
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="pomona-lease", daemon=True)

    def take(self) -> None:
        """Take the lease and begin to renew it.

        Raises:
            BusyError: another process holds it.
            StorageError: OUTPUT cannot be written, or the service does not know conditional puts.
        """
        for _ in range(_TRIES):
            before = time.monotonic()
            etag = self._try_to_take()
            if etag is not None:
                self._etag, self._renewed = etag, before
                self._probe()
                _held_here.add(self._owner)
                self._heart.start()
                return
        raise BusyError(
            f"Others are taking the lock of {self._store.root} at the same time.", "Try again."
        )

    def check(self) -> None:
        """Make sure that the lease is still this process's.

        Raises:
            BusyError: another process took it over, or it may have.
        """
        if self._lost is None and time.monotonic() - self._renewed > self._seconds:
            self._lost = "it could not be renewed in time"
        if self._lost is not None:
            raise BusyError(
                f"The lock of {self._store.root} was lost: {self._lost}.",
                "See whether another run writes there; if none does, run the same command again: "
                "it goes on where it was.",
            )

    def give_back(self) -> None:
        """Let others in; where OUTPUT holds nothing else, remove the object too."""
        self._ended.set()
        self._heart.join()
        _held_here.discard(self._owner)
        if self._lost is not None:
            return
        # What the run did is done: a lease that cannot be given back runs out by itself.
        with suppress(PomonaError):
            returned = self._store.replace(KEY, self._facts(returned=True), self._etag)
            if returned and self._created and self._store.holds_only(KEY):
                self._store.delete(KEY)

    def _try_to_take(self) -> str | None:
        etag = self._conditionally(self._store.create, KEY, self._facts())
        if etag is not None:
            self._created = True
            return etag
        seen = self._look()
        if seen is None:
            return None
        if seen.facts.get("owner") == self._owner:
            return seen.etag  # the put had worked, only its answer was lost
        if not (seen.facts.get("returned") or seen.age > self._seconds or _is_dead(seen.facts)):
            raise BusyError(
                f"Another run is writing to {self._store.root} (process {seen.facts.get('pid')} "
                f"on {seen.facts.get('host')}, last heard of {max(0, seen.age):.0f} s ago).",
                "Wait until it ends, or choose another OUTPUT. If it died, its lock is free "
                f"{self._seconds:.0f} s after it was last heard of.",
            )
        return self._conditionally(self._store.replace, KEY, self._facts(), seen.etag)

    def _probe(self) -> None:
        """Make sure that the service refuses what a condition forbids."""
        facts = self._facts()
        if (
            self._conditionally(self._store.create, KEY, facts) is not None
            or self._conditionally(self._store.replace, KEY, facts, "0" * 32) is not None
        ):
            with suppress(PomonaError):
                self._store.delete(KEY)
            raise StorageError(
                f"The service of {self._store.root} overwrites objects though it is asked not to "
                "(it knows no conditional put), so that two runs could destroy each other's "
                "results.",
                "Use another service for OUTPUT, or give --sole-writer if nothing else writes "
                "there.",
            )

    def _conditionally(self, put: Any, *arguments: Any) -> str | None:
        try:
            found: str | None = put(*arguments)
        except StorageError as error:
            code = answers.code_of(error.__cause__ or error)
            if code in ("NotImplemented", "501"):
                raise StorageError(
                    f"The service of {self._store.root} refuses conditional puts ({code}), "
                    "without which no table can be committed.",
                    "Use another service for OUTPUT.",
                ) from error
            raise
        return found

    def _look(self) -> _Seen | None:
        try:
            data, etag, headers = self._store.read_with_headers(KEY)
        except NotFound:
            return None
        now, written = (parsedate_to_datetime(headers[name]) for name in ("date", "last-modified"))
        try:
            facts = json.loads(data)
        except ValueError:
            facts = {}
        return _Seen(etag, (now - written).total_seconds(), facts if type(facts) is dict else {})

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            before = time.monotonic()
            try:
                etag = self._store.replace(KEY, self._facts(), self._etag)
                if etag is None:
                    seen = self._look()
                    if seen is None or seen.facts.get("owner") != self._owner:
                        self._lost = "another process took it over"
                        return
                    etag = seen.etag
                self._etag, self._renewed = etag, before
            except Exception as error:  # noqa: BLE001 - told by check(), if it lasts
                if time.monotonic() - self._renewed > self._seconds:
                    self._lost = f"it could not be renewed ({type(error).__name__})"
                    return

    def _facts(self, *, returned: bool = False) -> bytes:
        facts = {
            "owner": self._owner,
            "host": platform.node(),
            "machine": _machine(),
            "pid": os.getpid(),
            "returned": returned,
            # A version of its own for every renewal, whatever the service makes ETags of.
            "renewal": uuid.uuid4().hex,
        }
        return json.dumps(facts).encode()


def _is_dead(facts: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is gone, or an earlier run of it."""
    pid = facts.get("pid")
    if not isinstance(pid, int) or pid <= 0 or facts.get("machine") != _machine():
        return False
    if pid == os.getpid():
        return facts.get("owner") not in _held_here
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _machine() -> str:
    """What tells one set of process numbers from another: host, boot and container."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))  # noqa: PTH116
    return "/".join(parts)
