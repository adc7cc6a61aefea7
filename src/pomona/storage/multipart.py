"""Sending a large file in parts, each checked, that become an object all at once."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pomona.errors import StorageError
from pomona.storage import answers, aws
from pomona.storage.checksum import etag_of_parts, md5_of, part_size
from pomona.storage.s3 import described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pomona.storage.location import Location

PARTS_AT_A_TIME = 4
"""Parts of one file that are sent, and held in memory, at the same time."""


def send_in_parts(
    path: str | bytes, target: Location, *, create: bool, attributes: dict[str, str]
) -> tuple[str, str] | None:
    """Send a file as a multipart upload.

    boto3's own transfers cannot refuse to replace an object, which is what an uploader's rights
    may be limited to; hence this one. If it fails the parts are given up.

    Args:
        path: local file.
        target: bucket and key.
        create: refuse to replace an object.
        attributes: ``Content-Type`` and metadata.

    Returns:
        The object's ETag, and the one it should have; None where ``create`` was asked and there is
        an object.

    Raises:
        StorageError: the storage refused or failed.
        OSError: the file cannot be read.
    """
    options = target.options
    if options is None:
        raise ValueError("an s3 location needs options")
    client = aws.client(options)
    place: dict[str, Any] = {"Bucket": target.bucket, "Key": target.key}
    extra = described(attributes)
    if options.sse:
        extra["ServerSideEncryption"] = options.sse
    if options.kms_key:
        extra["SSEKMSKeyId"] = options.kms_key
    try:
        place["UploadId"] = client.create_multipart_upload(**place, **extra)["UploadId"]
    except Exception as error:
        raise answers.failure("write", str(target), error) from error
    try:
        sent = _send_all(client, place, path)
        parts = {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag, _ in sent]}
        condition = {"IfNoneMatch": "*"} if create else {}
        done = client.complete_multipart_upload(**place, **condition, MultipartUpload=parts)
    except BaseException as error:
        with suppress(Exception):
            client.abort_multipart_upload(**place)
        if create and answers.code_of(error) in ("PreconditionFailed", "412"):
            return None
        if isinstance(error, OSError | StorageError) or not isinstance(error, Exception):
            raise
        raise answers.failure("write", str(target), error) from error
    return done["ETag"].strip('"'), etag_of_parts(digest for _, _, digest in sent)


def _send_all(client: Any, place: dict[str, Any], path: str | bytes) -> list[tuple[int, str, str]]:
    """Number, ETag and MD5 of each part."""
    room = threading.Semaphore(PARTS_AT_A_TIME)

    def send(number: int, data: bytes) -> tuple[int, str, str]:
        try:
            answer = client.upload_part(**place, PartNumber=number, Body=data)
            return number, answer["ETag"], md5_of(data)
        finally:
            room.release()

    with ThreadPoolExecutor(PARTS_AT_A_TIME, thread_name_prefix="pomona-part") as pool:
        futures: list[Future[tuple[int, str, str]]] = []
        for number, data in _parts_of(path):
            room.acquire()
            if any(f.done() and f.exception() is not None for f in futures):
                break
            futures.append(pool.submit(send, number, data))
        return [future.result() for future in futures]


def _parts_of(path: str | bytes) -> Iterator[tuple[int, bytes]]:
    with open(path, "rb") as stream:  # noqa: PTH123 - the path may be bytes
        stream.seek(0, 2)
        length = part_size(stream.tell())
        stream.seek(0)
        for number in itertools.count(1):
            data = stream.read(length)
            if not data and number > 1:
                return
            yield number, data
