"""A folder into a prefix of a bucket: in parallel, checked, and going on where it stopped."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pomona.errors import InputError, StorageError
from pomona.storage import answers, open_store, transfer
from pomona.storage.checksum import PART, md5_of, part_size, proves_same, sha256_of_file
from pomona.storage.inspection import SHA256, inspect
from pomona.storage.local import LocalStore
from pomona.storage.multipart import PARTS_AT_A_TIME, send_in_parts
from pomona.storage.packing import SHARD_NAME, LocalFile, Shard, build, plan_shards
from pomona.storage.s3 import S3Store
from pomona.storage.transfer import Budget, Outcome, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pomona.storage.location import Location
    from pomona.storage.store import Status
    from pomona.storage.transfer import Progress

_LONGEST_KEY = 1_024
_NOT_KNOWN = ("NotImplemented", "501")
_ADD = "the storage refuses it (AccessDenied)"
_REPLACE = "it is there with other content, which these credentials may not replace"


def upload(
    source: Location,
    target: Location,
    progress: Progress,
    *,
    pack: int | None = None,
    jobs: int = transfer.JOBS,
) -> Transfer:
    """Send what lies in a local folder, and is not there yet, to a prefix.

    Files that are there with the same content are left alone; those with another content are
    replaced, where the credentials allow it. Nothing is removed. Hidden files and links that leave
    the folder are left out, as the listing of INPUT leaves them out.

    Args:
        source: a local folder, or one file.
        target: bucket and prefix.
        progress: told how far it is.
        pack: send small files in tar shards of so many bytes.
        jobs: objects at a time.

    Raises:
        InputError: the folder does not exist.
        StorageError: the storage fails, or the prefix holds shards of other files.
    """
    account = Transfer()
    files = list(_local_files(source, account))
    account.files = len(files)
    present = _present(target)
    parcels: list[LocalFile | Shard] = list(plan_shards(files, pack) if pack else files)
    if pack:
        _check_shards(parcels, present, target)
    sender = _Sender(S3Store(target), present, account)
    transfer.run(account, parcels, sender.send, progress, jobs)
    return account


def _local_files(source: Location, account: Transfer) -> Iterator[LocalFile]:
    root = os.fsencode(source.path)
    if os.path.isfile(root):  # noqa: PTH113 - bytes, since names need not be UTF-8
        yield LocalFile(source.name, root, os.path.getsize(root))  # noqa: PTH202
        return
    if not os.path.isdir(root):  # noqa: PTH112
        raise InputError(f"There is no folder {source}.", "Check the spelling.")
    for batch in LocalStore(source).scan(account.leave_out):
        for row in batch.to_pylist():
            path, name = row["path"], row["address"] or os.fsencode(row["path"])
            if row["size"] < 0:
                account.leave_out("link to nothing", path)
            elif not path.isprintable():
                account.leave_out("control characters in the name", path)
            else:
                yield LocalFile(path, root + b"/" + name, row["size"])


def _present(target: Location) -> dict[str, tuple[int, str]]:
    """Size and ETag of what is below the prefix."""
    found: dict[str, tuple[int, str]] = {}
    for batch in open_store(target).scan(lambda *_: None):
        columns = (batch.column(name).to_pylist() for name in ("path", "size", "etag"))
        for path, size, etag in zip(*columns, strict=True):
            found[path] = (size, etag)
    return found


def _check_shards(
    parcels: Iterable[LocalFile | Shard], present: dict[str, tuple[int, str]], target: Location
) -> None:
    """See that no file would be there twice, in two shards, or in a shard and by itself.

    Raises:
        StorageError: one would.
    """
    shards = [parcel for parcel in parcels if isinstance(parcel, Shard)]
    names = {shard.name for shard in shards}
    stale = sorted(name for name in present if SHARD_NAME.match(name) and name not in names)
    single = next((f.path for s in shards for f in s.files if f.path in present), None)
    if stale or single:
        what = f"a shard of other files: {stale[0]}" if stale else f"{single} by itself"
        raise StorageError(
            f"{target} holds {what}; images would be listed twice.",
            "Remove what is there, or choose another prefix for these files.",
        )


class _Sender:
    """What the workers do with one parcel."""

    def __init__(
        self, store: S3Store, present: dict[str, tuple[int, str]], account: Transfer
    ) -> None:
        self._store = store
        self._present = present
        self._account = account
        self._budget = Budget()
        self._conditional = True
        self._proved = False

    def send(self, parcel: LocalFile | Shard) -> Outcome:
        """Send a file or a shard unless it is there."""
        if isinstance(parcel, Shard):
            return self._send_shard(parcel)
        length = len(self._store.root.join(parcel.path).key.encode())
        if length > _LONGEST_KEY:
            return _failed(parcel.path, f"its key has {length:,} bytes; S3 takes {_LONGEST_KEY:,}")
        try:
            if parcel.size > PART:
                return self._send_large(parcel)
            with self._budget.take(parcel.size), open(parcel.address, "rb") as stream:  # noqa: PTH123
                return self._send_bytes(parcel.path, stream.read(), 1)
        except OSError as error:
            return _failed(parcel.path, error.strerror or str(error))

    def _send_shard(self, shard: Shard) -> Outcome:
        unread: list[tuple[str, str]] = []

        def failed(file: LocalFile, error: OSError) -> None:
            unread.append((file.path, error.strerror or str(error)))

        with self._budget.take(sum(file.size for file in shard.files)):
            data = build(shard, failed)
            outcome = self._send_bytes(shard.name, data, len(shard.files))
        if outcome.kind == "failed":
            why = outcome.failed[0][1]
            return replace(outcome, failed=tuple((file.path, why) for file in shard.files))
        return replace(outcome, failed=tuple(unread))

    def _send_bytes(self, key: str, data: bytes, files: int) -> Outcome:
        digest = md5_of(data)
        attributes = _attributes(key, hashlib.sha256(data).hexdigest())
        known = self._present.get(key)
        if known == (len(data), digest) or (
            known is not None and known[0] == len(data) and self._noted(key) == attributes[SHA256]
        ):
            return Outcome("unchanged", files)

        def put(create: bool) -> tuple[str, str] | None:
            if create and not self._proved:
                etag = self._store.create(key, data, attributes)
            else:
                etag = self._store.put(key, data, create=create, attributes=attributes)
            return None if etag is None else (etag, digest)

        def same(status: Status) -> bool:
            return status.etag == digest

        return self._put(key, put, same, files, len(data))

    def _send_large(self, file: LocalFile) -> Outcome:
        known = self._present.get(file.path)
        digest = sha256_of_file(file.address)
        if (
            known is not None
            and known[0] == file.size
            and (proves_same(file.address, *known) or self._noted(file.path) == digest)
        ):
            return Outcome("unchanged")
        attributes = _attributes(file.path, digest)
        target = self._store.root.join(file.path)

        def put(create: bool) -> tuple[str, str] | None:
            with self._budget.take(PARTS_AT_A_TIME * part_size(file.size)):
                return send_in_parts(file.address, target, create=create, attributes=attributes)

        def same(status: Status) -> bool:
            return status.size == file.size and proves_same(file.address, *status)

        return self._put(file.path, put, same, 1, file.size)

    def _put(
        self,
        key: str,
        put: Callable[[bool], tuple[str, str] | None],
        same: Callable[[Status], bool],
        files: int,
        size: int,
    ) -> Outcome:
        """Put an object that is not there, or replace it; then compare what is stored."""
        known = key in self._present
        try:
            etags = self._create(put) if not known else put(False)
            if etags is None:
                # It appeared after the listing: most likely it is ours, and the answer was lost.
                status = self._store.stat(key)
                if status is not None and same(status):
                    return Outcome("moved", files, size)
                known = True
                etags = put(False)
        except StorageError as error:
            if not transfer.refused(error):
                raise
            return replace(_failed(key, _REPLACE if known else _ADD), refused=not known)
        if etags is None:
            return _failed(key, "it changed while it was sent")
        stored, sent = etags
        verified = stored == sent
        if not verified and self._encrypted(key) is False:
            return _failed(key, f"the storage holds other bytes than were sent (ETag {stored})")
        return Outcome("moved", files, size, verified=verified)

    def _create(self, put: Callable[[bool], tuple[str, str] | None]) -> tuple[str, str] | None:
        """Put without replacing, where the service knows that."""
        if self._conditional:
            try:
                etags = put(True)
                self._proved = True
                return etags
            except StorageError as error:
                cause = error.__cause__
                if cause is None or answers.code_of(cause) not in _NOT_KNOWN:
                    raise
                self._conditional = False
        return put(False)

    def _noted(self, key: str) -> str | None:
        """The SHA-256 that an object carries whose ETag does not tell its content."""
        found = inspect(self._store.root.join(key))
        return found.sha256 if found is not None and found.opaque else None

    def _encrypted(self, key: str) -> bool | None:
        """Whether an object's ETag is no checksum; None where these credentials may not look."""
        found = inspect(self._store.root.join(key))
        return None if found is None else found.encrypted


def _attributes(key: str, digest: str) -> dict[str, str]:
    kind = mimetypes.guess_type(key)[0]
    return {SHA256: digest} | ({"Content-Type": kind} if kind else {})


def _failed(path: str, why: str) -> Outcome:
    return Outcome("failed", failed=((path, why),))
