"""A prefix of a bucket as a :class:`~pomona.storage.store.Store`.

Objects are read and written through obstore, which does it in a tenth of boto3's processor time.
Listing, and the keys that obstore has no name for (``a//b``, ``a/../b``), go through boto3.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pomona.errors import StorageError
from pomona.storage import answers, aws
from pomona.storage.ahead import read_ahead
from pomona.storage.positioned import PositionedFile
from pomona.storage.store import (
    LISTING,
    Changed,
    NotFound,
    NotPermitted,
    Outcome,
    ReadFailed,
    Skipped,
    Status,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pomona.storage.location import Location
    from pomona.storage.options import StorageOptions

_BATCH = 16_384
_ODD = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\0-\x1f\x7f]")
_TAIL = 64 << 10
"""What is read first of a file that is opened: a Parquet footer lies at its end."""
_ONE_PUT = 64 << 20
"""Larger objects are written in parts."""
_ROW = 8
"""Reads in a row that fail, or are refused before any has worked, after which the run ends."""


class S3Store:
    """Objects below one prefix.

    A read that is refused or fails is the object's own affair (:class:`NotPermitted`,
    :class:`ReadFailed`) as long as listing goes on to work and it is not the fate of many reads in
    a row. Otherwise, and where the credentials themselves are refused, it is a
    :class:`~pomona.errors.StorageError` that ends the run.
    """

    def __init__(self, root: Location) -> None:
        if root.options is None:
            raise ValueError("an s3 location needs options")
        self._root = root
        self._options = root.options
        self._base = f"{root.key}/" if root.key else ""
        self._objects = _store(root.bucket, root.options, aws.credentials())
        self._worked = False
        self._in_a_row = 0

    @property
    def root(self) -> Location:
        """The bucket and prefix that keys are relative to."""
        return self._root

    def scan(self, skipped: Skipped) -> Iterator[pa.RecordBatch]:
        """List every object below the prefix, in the order of the keys' bytes.

        Hidden keys (a segment that begins with a dot) are left out and counted; so are, silently,
        the empty objects with a trailing slash that stand for folders.

        Raises:
            StorageError: the listing is refused or fails.
        """
        paths: list[str] = []
        etags: list[str] = []
        sizes: list[int] = []
        for item in self._listed(self._base):
            path = item["Key"][len(self._base) :]
            if (path.endswith("/") and not item["Size"]) or not path:
                continue
            if path.startswith(".") or "/." in path:
                skipped("hidden", path)
                continue
            paths.append(path)
            etags.append(_bare(item["ETag"]))
            sizes.append(item["Size"])
            if len(paths) == _BATCH:
                yield _batch(paths, etags, sizes)
                paths, etags, sizes = [], [], []
        if paths:
            yield _batch(paths, etags, sizes)

    def read(self, key: str | bytes, *, etag: str | None = None, limit: int = -1) -> bytes:
        """The content of an object; ``etag`` is checked by the service."""
        name = self._key(key)
        if limit < 0:
            return self._get(name, etag, None)
        try:
            return self._get(name, etag, (0, limit)) if limit else b""
        except _BeyondEnd:
            return b""

    def read_many(self, wanted: Iterable[Wanted]) -> Iterator[bytes | Outcome]:
        """Read in order, with many requests in flight; neighbouring ranges are read at once."""
        return read_ahead(self, wanted)

    def read_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """``length`` bytes from ``start``, fewer where the object ends."""
        if length <= 0:
            return b""
        try:
            return self._get(self._key(key), etag, (start, start + length))
        except _BeyondEnd:
            return b""

    def open(self, key: str) -> pa.NativeFile:
        """An object for reading at any position."""
        return pa.PythonFile(_RangeFile(self, self._key(key)), mode="r")

    def stat(self, key: str) -> Status | None:
        """Size and version of an object; None where there is none."""
        name = self._key(key)
        try:
            found = self._page(Prefix=name, MaxKeys=1)
        except StorageError as refused:
            return self._asked(name, refused)
        for item in found:
            if item["Key"] == name:
                return Status(item["Size"], _bare(item["ETag"]))
        return None

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Put an object, as a whole or in parts that become visible at once."""
        name = self._key(key)
        try:
            if _is_odd(name):
                raise StorageError(
                    f"{self._place(name)} is no key to write to.", "Choose another OUTPUT."
                )
            self._objects.put(
                name,
                data,
                use_multipart=len(data) > _ONE_PUT,
                chunk_size=_ONE_PUT // 4,
                max_concurrency=4,
            )
        except Exception as error:
            raise answers.failure("write", self._place(name), error) from error

    def put(
        self,
        key: str,
        data: bytes | memoryview,
        *,
        create: bool = False,
        attributes: dict[str, str] | None = None,
    ) -> str | None:
        """Put an object whole; its ETag, or None where ``create`` was asked and there is one.

        Args:
            key: below the root.
            data: the content.
            create: refuse to replace an object.
            attributes: ``Content-Type`` and the like; other names become metadata.
        """
        from obstore.exceptions import AlreadyExistsError

        name = self._key(key)
        try:
            found = self._objects.put(
                name,
                data,
                mode="create" if create else "overwrite",
                attributes=attributes,
                use_multipart=False,
            )
        except AlreadyExistsError:
            return None
        except Exception as error:
            raise answers.failure("write", self._place(name), error) from error
        return _bare(found["e_tag"] or "")

    def create(self, key: str, data: bytes, attributes: dict[str, str] | None = None) -> str | None:
        """Put a small object unless there is one; its version, or None where there was one.

        Unlike :meth:`put` it learns at once that a service does not know the condition.
        """
        return self._put_if(self._key(key), data, IfNoneMatch="*", **described(attributes))

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        """Put a small object over the version ``etag``; None where another is the present one."""
        return self._put_if(self._key(key), data, IfMatch=_quoted(etag))

    def delete(self, key: str) -> None:
        """Remove an object; in a versioned bucket its versions stay."""
        name = self._key(key)
        try:
            if _is_odd(name):
                self._client.delete_object(Bucket=self._root.bucket, Key=name)
            else:
                self._objects.delete(name)
        except FileNotFoundError:
            return
        except Exception as error:
            raise answers.failure("remove", self._place(name), error) from error

    def exists(self, key: str) -> bool:
        """Whether there is such an object, or any below ``key/``."""
        return self.stat(key) is not None or self.is_folder(key)

    def is_folder(self, key: str) -> bool:
        """Whether any object lies below ``key/``."""
        return bool(self._page(Prefix=f"{self._key(key)}/", MaxKeys=1))

    def holds_only(self, key: str) -> bool:
        """Whether the prefix has this one object and no other."""
        found = [item["Key"] for item in self._page(Prefix=self._base, MaxKeys=2)]
        return found == [self._key(key)]

    def read_with_headers(self, key: str) -> tuple[bytes, str, dict[str, str]]:
        """Content, version and HTTP headers (lower case) of a small object."""
        name = self._key(key)
        try:
            found = self._client.get_object(Bucket=self._root.bucket, Key=name)
            data: bytes = found["Body"].read()
        except Exception as error:
            raise self.outcome(name, error) from error
        return data, _bare(found["ETag"]), found["ResponseMetadata"]["HTTPHeaders"]

    def names(self, folder: str) -> list[str]:
        """Names of the objects directly in ``folder``, sorted."""
        prefix = self._key(folder)
        found = [item["Key"][len(prefix) :] for item in self._listed(prefix, Delimiter="/")]
        return sorted(name for name in found if name and not name.startswith("."))

    @property
    def _client(self) -> Any:
        return aws.client(self._options)

    def _key(self, key: str | bytes) -> str:
        return self._base + (key.decode() if isinstance(key, bytes) else key)

    def _place(self, key: str) -> str:
        return f"s3://{self._root.bucket}/{key}"

    def _page(self, **arguments: Any) -> list[dict[str, Any]]:
        try:
            found = self._client.list_objects_v2(Bucket=self._root.bucket, **arguments)
        except Exception as error:
            raise answers.failure("list", self._place(arguments["Prefix"]), error) from error
        items: list[dict[str, Any]] = found.get("Contents", [])
        return items

    def _asked(self, name: str, refused: StorageError) -> Status | None:
        """An object's status where its bare name may not be listed.

        The rights to ``in/`` do not include listing ``in``, which would show ``in-other/`` too. A
        missing object is then refused as a forbidden one is.
        """
        if answers.code_of(refused.__cause__ or refused) != answers.ACCESS_DENIED:
            raise refused
        try:
            found = self._client.head_object(Bucket=self._root.bucket, Key=name)
        except Exception as error:
            if answers.code_of(error) in ("404", "403"):
                return None
            raise refused from error
        return Status(found["ContentLength"], _bare(found["ETag"]))

    def _listed(self, prefix: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._root.bucket, Prefix=prefix, **arguments
        )
        try:
            for page in pages:
                yield from page.get("Contents", ())
        except Exception as error:
            raise answers.failure("list", self._place(prefix), error) from error

    def _get(self, key: str, etag: str | None, span: tuple[int, int] | None) -> bytes:
        try:
            if _is_odd(key):
                data = self._get_odd(key, etag, span)
            else:
                options: dict[str, Any] = {}
                if etag:
                    options["if_match"] = _quoted(etag)
                if span is not None:
                    options["range"] = span
                data = self._objects.get(key, options=options).bytes().to_bytes()
        except Exception as error:
            raise self.outcome(key, error) from error
        self._worked, self._in_a_row = True, 0
        return data

    def _get_odd(self, key: str, etag: str | None, span: tuple[int, int] | None) -> bytes:
        arguments: dict[str, Any] = {"IfMatch": _quoted(etag)} if etag else {}
        if span is not None:
            arguments["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        found = self._client.get_object(Bucket=self._root.bucket, Key=key, **arguments)
        data: bytes = found["Body"].read()
        return data

    def outcome(self, key: str, error: Exception) -> Exception:
        """What a failed read means: one of the store's outcomes, or an error that ends the run."""
        place = self._place(key)
        whole = answers.whole_run_failure(error, place)
        if whole is not None:
            return whole
        code = answers.code_of(error)
        if isinstance(error, FileNotFoundError) or code in ("NoSuchKey", "404"):
            return NotFound(key)
        if code in ("PreconditionFailed", "412"):
            return Changed(key)
        if code in ("InvalidRange", "416"):
            return _BeyondEnd(key)
        if code in (answers.ACCESS_DENIED, "403"):
            return self._doubted(place, error, NotPermitted(code), hopeless=not self._worked)
        if isinstance(error, StorageError):
            return error
        return self._doubted(place, error, ReadFailed(answers.explain(error)), hopeless=True)

    def _doubted(
        self, place: str, error: Exception, outcome: Exception, *, hopeless: bool
    ) -> Exception:
        """``outcome``, or the error that ends the run where more than one object is affected.

        Args:
            place: the object.
            error: as it came.
            outcome: what it means for the object alone.
            hopeless: whether many of these in a row end the run.
        """
        self._in_a_row += 1
        try:
            self._page(Prefix=self._base, MaxKeys=1)
        except StorageError as whole:
            return whole
        if hopeless and self._in_a_row >= _ROW:
            return answers.failure("read", place, error)
        return outcome

    def _put_if(self, key: str, data: bytes, **condition: Any) -> str | None:
        # Through boto3, which unlike obstore does not try again what is not implemented.
        options = self._options
        if options.sse:
            condition["ServerSideEncryption"] = options.sse
        if options.kms_key:
            condition["SSEKMSKeyId"] = options.kms_key
        try:
            found = self._client.put_object(
                Bucket=self._root.bucket, Key=key, Body=data, **condition
            )
        except Exception as error:
            if answers.code_of(error) in ("PreconditionFailed", "412", "NoSuchKey", "404"):
                return None
            raise answers.failure("write", self._place(key), error) from error
        return _bare(found["ETag"])


def described(attributes: dict[str, str] | None) -> dict[str, Any]:
    """An object's attributes as boto3 takes them."""
    if attributes is None:
        return {}
    noted = {name: text for name, text in attributes.items() if name != "Content-Type"}
    kind = attributes.get("Content-Type")
    return {"Metadata": noted} | ({"ContentType": kind} if kind else {})


class _BeyondEnd(ReadFailed):
    """The range begins where the object has ended."""


class _RangeFile(PositionedFile):
    """An object as a file: its tail is read when it is opened, the rest by ranges."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._store, self._key = store, key
        try:
            found = store._objects.get(key, options={"range": {"suffix": _TAIL}})
            self._tail: bytes = found.bytes().to_bytes()
        except Exception as error:
            raise store.outcome(key, error) from error
        super().__init__(found.meta["size"])
        self._etag = found.meta["e_tag"]

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        begin = self._position
        end = self._size if size < 0 else min(self._size, begin + size)
        if end <= begin:
            return b""
        tail_begin = self._size - len(self._tail)
        if begin >= tail_begin:
            data = self._tail[begin - tail_begin : end - tail_begin]
        else:
            data = self._store._get(self._key, self._etag, (begin, end))
        self._position += len(data)
        return data

    def size(self) -> int:
        """Of the object, in bytes; asked for by Arrow."""
        return int(self._size)


@lru_cache(maxsize=16)
def _store(bucket: str, options: StorageOptions, credentials: aws.Credentials) -> Any:
    """Obstore's client of a bucket; its connections are kept for the process's lifetime."""
    from obstore.store import S3Store as Client

    url = options.url_of(bucket)
    config: dict[str, Any] = {
        # Both, since obstore would take the second from the environment where it is not given.
        "endpoint": url,
        "aws_endpoint_url_s3": url,
        "region": options.region,
        "virtual_hosted_style_request": not options.path_style,
        "conditional_put": "etag",
        "disable_bulk_delete": True,
    }
    if options.sse:
        config["server_side_encryption"] = options.sse
    if options.kms_key:
        config["sse_kms_key_id"] = options.kms_key
    return Client(
        bucket,
        config=config,  # type: ignore[arg-type]
        client_options={
            "allow_http": options.plain_http,
            "connect_timeout": timedelta(seconds=aws.CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=options.silence_seconds),
            "timeout": timedelta(seconds=aws.REQUEST_SECONDS),
        },
        retry_config={
            "max_retries": aws.RETRIES,
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=aws.LONGEST_PAUSE),
                "base": 2,
            },
            "retry_timeout": timedelta(seconds=options.retry_seconds),
        },
        credential_provider=credentials,
    )


def _is_odd(key: str) -> bool:
    """Whether obstore would read the key as another one, or refuse it."""
    return _ODD.search(key) is not None


def _bare(etag: str) -> str:
    """An ETag without its quotes."""
    return etag[1:-1] if len(etag) > 1 and etag[0] == etag[-1] == '"' else etag


def _quoted(etag: str) -> str:
    return etag if etag.startswith(('"', "W/")) else f'"{etag}"'


def _batch(paths: list[str], etags: list[str], sizes: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array(paths, pa.string()),
            pa.array(etags, pa.string()),
            pa.array(sizes, pa.int64()),
            pa.nulls(len(paths), pa.binary()),
        ],
        schema=LISTING,
    )
