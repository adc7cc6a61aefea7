"""Many small reads with enough of them in flight, so that the distance to the storage is hidden.

Threads rather than coroutines: obstore's blocking calls cost 110 to 150 us of processor time each
that way, its coroutines 160 to 300 us (docs/storage.md has the figures).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomona.storage.store import Changed, NotFound, NotPermitted, Outcome, ReadFailed, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pomona.storage.store import Store

IN_FLIGHT = 64
"""Requests at a time: 3,200 a second at 20 ms each."""
BYTES_AHEAD = 64 << 20
"""Bytes asked for and not yet handed out, unless a single object is larger."""
_JOINED = 1 << 20
"""Ranges of one object that lie together are read at once, up to this size."""
_GAP = 8 << 10
"""Ranges this far apart still lie together; a tar has at most 1.5 kB between small members."""


@dataclass
class _Request:
    """One request, and the reads that it answers."""

    key: str | bytes
    etag: str | None
    start: int | None
    length: int
    parts: list[Wanted]

    @property
    def cost(self) -> int:
        """Bytes that it may hold in memory; a little even for an empty object."""
        return max(self.length, 1_024)

    def takes(self, wanted: Wanted) -> bool:
        """Whether ``wanted`` was added."""
        if self.start is None or wanted.start is None or self.key != wanted.key:
            return False
        gap = wanted.start - (self.start + self.length)
        if not 0 <= gap <= _GAP or self.etag != wanted.etag:
            return False
        length = wanted.start + wanted.length - self.start
        if length > _JOINED:
            return False
        self.length = length
        self.parts.append(wanted)
        return True


def read_ahead(store: Store, wanted: Iterable[Wanted]) -> Iterator[bytes | Outcome]:
    """Read in order, with requests in flight for what comes next.

    Raises:
        StorageError: the storage refuses everything, or there are no credentials.
    """
    plan = list(_requests(wanted))
    if not plan:
        return
    crew = _Crew(store, plan)
    try:
        for index, request in enumerate(plan):
            yield from _handed_out(request, crew.take(index))
    finally:
        crew.dismiss()


class _Crew:
    """Threads that work through a plan, some bytes ahead of whoever takes the results."""

    def __init__(self, store: Store, plan: list[_Request]) -> None:
        self._store, self._plan = store, plan
        self._done: list[bytes | BaseException | None] = [None] * len(plan)
        self._next = self._awaited = self._ahead = 0
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._dismissed = False
        for _ in range(min(IN_FLIGHT, len(plan))):
            threading.Thread(target=self._work, name="pomona-read", daemon=True).start()

    def take(self, index: int) -> bytes | Outcome:
        """The result of one request; they are taken in order."""
        with self._lock:
            self._awaited = index
            while (found := self._done[index]) is None:
                self._ready.wait()
            self._done[index] = None
            self._ahead -= self._plan[index].cost
            self._room.notify()
        if isinstance(found, bytes | Outcome):
            return found
        raise found

    def dismiss(self) -> None:
        """Ask the threads to end; those that wait for an answer end when it has come."""
        with self._lock:
            self._dismissed = True
            self._room.notify_all()

    def _work(self) -> None:
        plan = self._plan
        while True:
            with self._lock:
                # What is awaited is always begun, however large it is.
                while (
                    not self._dismissed
                    and self._next < len(plan)
                    and self._next > self._awaited
                    and self._ahead + plan[self._next].cost > BYTES_AHEAD
                ):
                    self._room.wait()
                if self._dismissed or self._next == len(plan):
                    return
                index = self._next
                self._next += 1
                self._ahead += plan[index].cost
            found: bytes | BaseException
            try:
                found = _answer(self._store, plan[index])
            except BaseException as error:  # noqa: BLE001 - it is raised where it is taken
                found = error
            with self._lock:
                self._done[index] = found
                if index == self._awaited:
                    self._ready.notify()


def _requests(wanted: Iterable[Wanted]) -> Iterator[_Request]:
    open_request: _Request | None = None
    for item in wanted:
        if open_request is not None and open_request.takes(item):
            continue
        if open_request is not None:
            yield open_request
        open_request = _Request(item.key, item.etag, item.start, item.length, [item])
        if item.start is None:
            yield open_request
            open_request = None
    if open_request is not None:
        yield open_request


def _answer(store: Store, request: _Request) -> bytes | Outcome:
    try:
        if request.start is None:
            return store.read(request.key, etag=request.etag, limit=request.length)
        key = request.key.decode() if isinstance(request.key, bytes) else request.key
        return store.read_range(key, request.start, request.length, etag=request.etag)
    except (NotFound, NotPermitted, Changed, ReadFailed) as outcome:
        return outcome


def _handed_out(request: _Request, found: bytes | Outcome) -> Iterator[bytes | Outcome]:
    if not isinstance(found, bytes) or len(request.parts) == 1:
        for _ in request.parts:
            yield found
        return
    for part in request.parts:
        begin = (part.start or 0) - (request.start or 0)
        yield found[begin : begin + part.length]
