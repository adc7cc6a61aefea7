"""What ``doctor`` finds of INPUT and OUTPUT: whether one can be read and the other written."""

from __future__ import annotations

import itertools
import os
import tarfile
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pomona.access.check import Check, fail, ok, warn
from pomona.access.machine import existing
from pomona.errors import StorageError
from pomona.images.decoding import DecodeLimits, RejectedImage, decode
from pomona.images.listing import SkippedFiles, Source, open_source
from pomona.images.sniffing import SUPPORTED_EXTENSIONS, extension
from pomona.storage import (
    Changed,
    Location,
    NotFound,
    NotPermitted,
    ReadFailed,
    Store,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_AT = 1_000
"""Names of INPUT that are looked at; the rest is not listed."""
_TRIED = 5
"""Images that are read and decoded."""


def check_input(location: Location) -> Check:
    """Whether INPUT can be listed and its first images read and decoded."""
    source = open_source(location)
    store = open_store(source.root)
    seen = Counter[str]()
    examples: list[str] = []
    tars: list[str] = []
    for path in itertools.islice(_names(store, source), LOOK_AT):
        kind = extension(path)
        seen[
            "images" if kind in SUPPORTED_EXTENSIONS else "tars" if kind == "tar" else "other"
        ] += 1
        if kind in SUPPORTED_EXTENSIONS and len(examples) < _TRIED:
            examples.append(path)
        elif kind == "tar":
            tars.append(path)
    total = seen.total() + len(tars)
    first = f"the first {LOOK_AT:,}" if total == LOOK_AT else f"its {total:,}"
    found = f"{location}: {seen['images']:,} images in {first} files"
    if tars:
        members, blob = _look_into(store, tars[0])
        found += f", {len(tars):,} tars ({members:,} images at the start of {tars[0]})"
        if not examples and blob is None:
            return fail("input", found, "Give a tar of images, or a folder of them.")
        blobs = [(tars[0], blob)] if blob is not None else []
    elif not total:
        return fail("input", f"{location}: no files", "Put images there, or check the path.")
    else:
        blobs = []
    if not examples and not tars:
        return warn(
            "input",
            found,
            "Images are known by extension or content; if they lie deeper, all may be well.",
        )
    return _decoded(found, itertools.chain(_read(store, examples), blobs))


def check_output(location: Location) -> Check:
    """Whether OUTPUT can be written, read back and cleaned; nothing is left behind."""
    name = f".pomona-doctor-{uuid.uuid4().hex}"
    at = location
    if location.scheme == "file":
        path = Path(location.path)
        at = Location.parse(existing(path))
        first = next(iter(Path(location.path).relative_to(at.path).parts), None)
        if first is not None and os.path.lexists(Path(at.path) / first):
            return fail(
                "output", f"{location}: {at.join(first)} is no folder", "Choose another OUTPUT."
            )
    store = open_store(at)
    data = name.encode()
    if location.scheme == "s3":
        store.delete(name)  # where that is refused, a probe would stay: none is written
    store.write(name, data)
    try:
        back = store.read(name)
    finally:
        store.delete(name)
    if back != data:
        return fail(
            "output", f"{location}: reads back other bytes than were written", "Do not use it."
        )
    new = "" if at == location else f" (does not exist yet; created in {at})"
    return ok("output", f"{location}: writes, reads back and deletes{new}")


def check_conditions(location: Location) -> Check:
    """Whether the service of OUTPUT keeps conditions on writes, which commits and lock rest on."""
    from pomona.storage.answers import code_of
    from pomona.storage.s3 import S3Store

    store, name = S3Store(location), f".pomona-doctor-{uuid.uuid4().hex}"
    store.delete(name)  # where that is refused, a probe would stay: none is written
    try:
        kept = (
            store.create(name, b"probe") is not None
            and store.create(name, b"probe") is None
            and store.replace(name, b"probe", "0" * 32) is None
        )
    except StorageError as error:
        if code_of(error.__cause__ or error) not in ("NotImplemented", "501"):
            raise
        return fail(
            "commits",
            f"the service of {location} refuses conditional puts, which tables are committed by",
            "Choose another service for OUTPUT.",
        )
    finally:
        store.delete(name)
    if kept:
        return ok("commits", "the service keeps conditions on puts, so that commits are atomic")
    return warn(
        "commits",
        f"the service of {location} overwrites objects though it is asked not to",
        "Give --sole-writer to the chain, and be the only writer; or choose another service.",
    )


def _names(store: Store, source: Source) -> Iterator[str]:
    if source.only is not None:
        yield source.only
        return
    for batch in store.scan(SkippedFiles()):
        yield from batch.column("path").to_pylist()


def _look_into(store: Store, key: str) -> tuple[int, bytes | None]:
    """Images among the first members of a tar, and the bytes of the first of them."""
    count, blob = 0, None
    try:
        with (
            store.open(key) as stream,
            tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape") as archive,
        ):
            for member in itertools.islice(archive, LOOK_AT):
                if member.isreg() and extension(member.name) in SUPPORTED_EXTENSIONS:
                    count += 1
                    if blob is None and member.size <= DecodeLimits().max_bytes:
                        content = archive.extractfile(member)
                        blob = content.read() if content is not None else None
    except tarfile.TarError:
        pass  # what was found so far tells enough
    return count, blob


def _read(store: Store, paths: list[str]) -> Iterator[tuple[str, bytes | str]]:
    """Each path with its bytes, or with why there are none."""
    for path in paths:
        try:
            yield path, store.read(path, limit=DecodeLimits().max_bytes + 1)
        except (NotFound, NotPermitted, Changed, ReadFailed) as error:
            yield path, f"{type(error).__name__}: {error}"


def _decoded(found: str, blobs: Iterator[tuple[str, bytes | str]]) -> Check:
    """The check, after trying to decode some images."""
    faults = []
    tried = 0
    for path, blob in blobs:
        tried += 1
        if isinstance(blob, str):
            faults.append(f"{path} cannot be read ({blob})")
            continue
        try:
            decode(blob, wanted=100, limits=DecodeLimits(), path=path)
        except RejectedImage as rejected:
            faults.append(f"{path} is rejected ({rejected.reason})")
    if not faults:
        return ok("input", f"{found}; {tried} read and decoded")
    found = f"{found}; of {tried} tried, {len(faults)} failed: {faults[0]}"
    if len(faults) == tried:
        return fail("input", found, "Check that you may read them and that they are images.")
    return warn("input", found, "The chain lists such images in the table of rejects.")
