"""What images INPUT holds: files below a folder, members of tars, or both."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pomona.errors import InputError, StorageError
from pomona.images import tar
from pomona.images.sniffing import (
    HEAD_BYTES,
    OTHER_IMAGE_EXTENSIONS,
    SUPPORTED_EXTENSIONS,
    extension,
    sniff,
)
from pomona.schema import MANIFEST, Reason
from pomona.storage import (
    LISTING,
    Location,
    NotPermitted,
    ReadFailed,
    Store,
    Wanted,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMAGE_NAME = (
    r"(?i)[^/]\.(?:" + "|".join(sorted(SUPPORTED_EXTENSIONS | OTHER_IMAGE_EXTENSIONS)) + r")$"
)
_NO_IMAGE_EXTENSIONS = frozenset(
    [
        "txt", "md", "csv", "tsv", "json", "jsonl", "yaml", "yml", "toml", "xml", "html", "htm",
        "css", "js", "py", "ipynb", "sh", "log", "parquet", "arrow", "npy", "npz", "pkl", "h5",
        "onnx", "pt", "pth", "zip", "gz", "tgz", "bz2", "xz", "zst", "7z", "mp4", "mov", "avi",
        "mkv", "mp3", "wav", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "db", "sqlite", "lock",
        "tmp",
    ]
)  # fmt: skip
_COMPRESSED_TARS = (
    *(".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4", ".tar.lzma"),
    *(".tgz", ".tbz2", ".txz", ".tzst"),
)
_BATCH = 16_384


@dataclass
class SkippedFiles:
    """Files that a listing leaves out: how many, why, and one example of each kind."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def __call__(self, why: str, path: str) -> None:
        """Take note of one file."""
        self.counts[why] += 1
        self.examples.setdefault(why, path.encode("utf-8", "backslashreplace").decode())


@dataclass(frozen=True)
class Source:
    """INPUT, looked at: a folder of images and tars, one tar, or one image.

    Attributes:
        location: as the user named it.
        root: what keys are relative to: the folder, or the folder that holds the one file.
        only: the name of the one file, or None for a folder.
    """

    location: Location
    root: Location
    only: str | None

    @property
    def is_tar(self) -> bool:
        """Whether INPUT is one tar, whose members then are the paths."""
        return self.only is not None and self.only.lower().endswith(".tar")


def open_source(text: str | Location) -> Source:
    """Find out what INPUT is.

    Raises:
        InputError: it does not exist, or it is a compressed tar.
    """
    location = Location.parse(text)
    name = location.name
    if name.lower().endswith(_COMPRESSED_TARS):
        raise InputError(
            f"INPUT is a compressed tar: {location}",
            "Images are compressed already: decompress it (gunzip and the like) and give the .tar.",
        )
    above = open_store(location.parent)
    # In a bucket a name may be both; then what lies below it counts.
    if location.is_root or above.is_folder(name):
        return Source(location, location, None)
    if above.stat(name) is not None:
        return Source(location, location.parent, name)
    if above.exists(name):
        raise InputError(
            f"INPUT is neither a folder nor a file: {location}", "Give a folder, a file or a tar."
        )
    raise InputError(f"INPUT does not exist: {location}", _nearest(location))


def list_images(source: Source, skipped: SkippedFiles) -> Iterator[pa.RecordBatch]:
    """List every image of INPUT, lazily and in a fixed order, as batches of ``MANIFEST``.

    Names with the extension of an image format are listed (also of formats that are not decoded,
    which become rejects); names with no or an unknown extension by their first bytes; ``.tar``
    files are opened and their members listed in their place.

    Raises:
        InputError: a folder or tar that cannot be read.
    """
    store = open_store(source.root)
    batches = store.scan(skipped) if source.only is None else iter([_single(store, source.only)])
    for batch in batches:
        paths = batch.column("path")
        is_image = pc.match_substring_regex(paths, _IMAGE_NAME)
        if pc.all(is_image).as_py():
            yield _files(batch)
        else:
            yield from _sort_out(store, batch, is_image, source, skipped)


def _sort_out(
    store: Store,
    batch: pa.RecordBatch,
    is_image: pa.BooleanArray,
    source: Source,
    skipped: SkippedFiles,
) -> Iterator[pa.RecordBatch]:
    """Keep the order while some rows are dropped and tars are replaced by their members."""
    keep = is_image.to_pylist()
    tars: list[int] = []
    unsure: list[int] = []
    paths, addresses = batch.column("path").to_pylist(), batch.column("address").to_pylist()
    for row in pc.indices_nonzero(pc.invert(is_image)).to_pylist():
        kind = extension(paths[row])
        if kind == "tar":
            tars.append(row)
        elif paths[row].lower().endswith(_COMPRESSED_TARS):
            skipped("compressed tar, to be decompressed first", paths[row])
        elif kind in _NO_IMAGE_EXTENSIONS:
            skipped("not an image", paths[row])
        else:
            unsure.append(row)
    heads = store.read_many(
        Wanted(addresses[row] or paths[row], None, None, HEAD_BYTES) for row in unsure
    )
    for row, head in zip(unsure, heads, strict=True):
        if isinstance(head, bytes) and sniff(head)[0] is not None:
            keep[row] = True
        else:
            skipped("not an image", paths[row])
    mask = pa.array(keep, pa.bool_())
    begin = 0
    for row in [*tars, batch.num_rows]:
        part = batch.slice(begin, row - begin).filter(mask.slice(begin, row - begin))
        if part.num_rows:
            yield _files(part)
        if row < batch.num_rows:
            yield from _members(store, batch.slice(row, 1).to_pylist()[0], source, skipped)
        begin = row + 1


def _files(batch: pa.RecordBatch) -> pa.RecordBatch:
    rows = batch.num_rows
    empty = [pa.nulls(rows, f.type) for f in list(MANIFEST)[batch.num_columns :]]
    return pa.RecordBatch.from_arrays([*batch.columns, *empty], schema=MANIFEST)


def _single(store: Store, name: str) -> pa.RecordBatch:
    status = store.stat(name)
    if status is None:
        raise InputError(f"INPUT does not exist: {name}", "Check the path.")
    address = os.fsencode(name)
    path = address.decode("utf-8", "backslashreplace")
    row = {
        "path": path,
        "etag": status.etag,
        "size": status.size,
        "address": None if path == name else address,
    }
    return pa.RecordBatch.from_pylist([row], schema=LISTING)


def _members(
    store: Store, row: dict[str, Any], source: Source, skipped: SkippedFiles
) -> Iterator[pa.RecordBatch]:
    key, etag = row["path"], row["etag"]
    prefix = "" if source.is_tar else key
    rows: list[dict[str, Any]] = []
    try:
        for member in _index(store, row, skipped):
            rows.append(
                {
                    "path": posixpath.join(prefix, member.path) if member.path else key,
                    "etag": f"{etag}:{member.offset:x}+{member.size:x}",
                    "size": member.size,
                    "container": key,
                    "offset": member.offset,
                    "label": member.label,
                    "reason": None if member.reason is None else str(member.reason),
                    "message": member.message,
                }
            )
            if len(rows) == _BATCH:
                yield pa.RecordBatch.from_pylist(rows, schema=MANIFEST)
                rows = []
    except NotPermitted as error:
        raise InputError(
            f"Cannot read the tar {key}: {error}.", "Check that you may read it."
        ) from error
    except ReadFailed as error:
        raise InputError(f"Cannot read the tar {key}: {error}.", "Check the disk.") from error
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=MANIFEST)


def _index(store: Store, row: dict[str, Any], skipped: SkippedFiles) -> Iterator[tar.Member]:
    if row["address"] is None:
        return tar.index(store, row["path"], row["size"], row["etag"], skipped)
    message = "the tar's name is not UTF-8: rename it"
    return iter([tar.Member("", 0, 0, reason=Reason.READ_FAILED, message=message)])


def _nearest(location: Location) -> str:
    """Advice that names the part of a path that does exist."""
    at = location
    try:
        while not at.is_root and not open_store(at.parent).exists(at.name):
            at = at.parent
    except StorageError:
        return "Check the spelling; what lies above it may not be listed with these credentials."
    return f"Check the spelling: {at} exists, what follows it does not."
